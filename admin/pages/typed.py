"""Values as people type them into fields, and back: times in the reader's zone, money in dollars."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from rollout.core.meters import Unit
from rollout.errors import InvalidRequest
from rollout.web.language import reader

_DOLLARS = re.compile(r"\d{1,12}(\.\d{1,6})?")
_WHOLE = re.compile(r"\d{1,16}")


def moment(at: int | None) -> str:
    """UTC epoch seconds as `forms.LocalMoment` takes them: `2027-03-01T17:00`; seconds only where there are some."""
    if at is None:
        return ""
    local = datetime.fromtimestamp(at, reader().zone).replace(tzinfo=None)
    return local.isoformat(timespec="seconds" if local.second else "minutes")


def amount(value: int, unit: Unit) -> str:
    """As the ledger counts it, but micro-dollars in dollars: 20000000 -> `20`."""
    return f"{Decimal(value) / 1_000_000:f}" if unit == "usd_micro" else str(value)


def parse_amount(text: str, unit: Unit, param: str) -> int:
    """What `amount` showed, as the ledger counts it. Raises InvalidRequest."""
    is_money = unit == "usd_micro"
    if not (_DOLLARS if is_money else _WHOLE).fullmatch(text.strip()):
        wanted = "dollars from 0, such as 20 or 0.05" if is_money else "a whole number from 0"
        raise InvalidRequest(f"{param} is {wanted}.", param=param)
    return int(Decimal(text) * 1_000_000) if is_money else int(text)
