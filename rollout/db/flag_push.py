"""Rows of pushes: how far the flag of each plan has got at Unleash."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.flag_push import FlagPush
from rollout.db.engine import Tx
from rollout.db.tables import flag_push


def all_(tx: Tx) -> list[FlagPush]:
    """In order of feature."""
    return [_push(row) for row in tx.execute(sa.select(flag_push).order_by(flag_push.c.feature)).mappings()]


def get(tx: Tx, feature: str) -> FlagPush | None:
    row = tx.execute(sa.select(flag_push).where(flag_push.c.feature == feature)).mappings().one_or_none()
    return _push(row) if row else None


def want(tx: Tx, feature: str, revision: int, now: int) -> None:
    """The flag is to be as it is here at `revision`; the caller holds the revision row, or the push of this feature."""
    before = get(tx, feature)
    if before is None:
        values = {"feature": feature, "wanted_revision": revision, "at": now}
        tx.execute(sa.insert(flag_push).values(values))
    else:
        tx.execute(_of(feature).values(wanted_revision=revision))


def reached(tx: Tx, feature: str, revision: int | None, drift: list[dict[str, object]], now: int) -> None:
    """What was read back; `revision`: what it was written for, None: it was only looked at."""
    written = {} if revision is None else {"pushed_revision": revision}
    tx.execute(_of(feature).values(**written, drift=drift, error=None, at=now))


def failed(tx: Tx, feature: str, error: str, now: int) -> None:
    tx.execute(_of(feature).values(error=error, at=now))


def _of(feature: str) -> sa.Update:
    return sa.update(flag_push).where(flag_push.c.feature == feature)


def _push(row: sa.RowMapping) -> FlagPush:
    return FlagPush(**{**row, "drift": tuple(row["drift"] or ())})
