"""Times on the wire: RFC 3339 in UTC; inside, UTC epoch seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from rollout.core.times import rfc3339

__all__ = ["Moment", "epoch", "epoch_or_none", "rfc3339"]


def epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def epoch_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else epoch(moment)


def _in_range(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 2200:
        raise ValueError("must lie between the years 2000 and 2200")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
"""A time in a request: RFC 3339 with a zone."""
