"""Rows of flags beyond plans, and of the segments that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from rollout.core.flags import STALE_SECONDS, Flag
from rollout.db.engine import Tx
from rollout.db.tables import flag, flag_extra, flag_metric, segment

_ASKED_AT = (
    sa.select(sa.func.max(flag_metric.c.hour))
    .where(flag_metric.c.environment == flag.c.environment, flag_metric.c.flag == flag.c.name)
    .scalar_subquery()
)
_FLAGS = sa.select(flag, _ASKED_AT.label("asked_at"))


def stamp(tx: Tx) -> object:
    """Changes whenever a live flag, a segment or an extra member does: while it stays, nothing need be loaded again."""
    flags = sa.select(sa.func.count(), sa.func.sum(flag.c.version), sa.func.max(flag.c.updated_at))
    segments = sa.select(
        sa.func.count(),
        sa.func.sum(segment.c.version),
        sa.func.sum(segment.c.id),
        sa.func.max(segment.c.updated_at),
    )
    extras = tx.execute(sa.select(flag_extra).order_by(flag_extra.c.environment)).all()
    return tuple(tx.execute(flags).one()), tuple(tx.execute(segments).one()), repr(extras)


def documents(tx: Tx) -> dict[str, Mapping[str, Any]]:
    """By environment the client-features document of its live flags, in order of name, with all segments."""
    segments = [row.document for row in tx.execute(sa.select(segment.c.document).order_by(segment.c.id))]
    extras = {row.environment: row.members for row in tx.execute(sa.select(flag_extra))}
    live = sa.select(flag.c.environment, flag.c.document).where(flag.c.archived_at.is_(None))
    features: dict[str, list[Any]] = {}
    for row in tx.execute(live.order_by(flag.c.environment, flag.c.name)):
        features.setdefault(row.environment, []).append(row.document)
    return {
        name: {"version": 2, **extras.get(name, {}), "features": found, "segments": segments}
        for name, found in features.items()
    }


def get(tx: Tx, environment: str, name: str) -> Flag | None:
    query = _FLAGS.where(flag.c.environment == environment, flag.c.name == name)
    row = tx.execute(query).mappings().one_or_none()
    return Flag(**row) if row else None


def page(
    tx: Tx,
    *,
    environment: str,
    archived: bool,
    search: str | None,
    unasked_at: int | None,
    after: str | None,
    limit: int,
) -> list[Flag]:
    """In order of name, beginning after `after`, those that live or those that do not. `search`: a part of the name; `unasked_at`: only
    those that were stale then."""
    query = _FLAGS.where(flag.c.environment == environment, flag.c.archived_at.is_not(None) == archived)
    if search:
        query = query.where(flag.c.name.icontains(search, autoescape=True))
    if unasked_at is not None:
        query = query.where(sa.func.coalesce(_ASKED_AT, flag.c.created_at) <= unasked_at - STALE_SECONDS)
    if after is not None:
        query = query.where(flag.c.name > after)
    return [Flag(**row) for row in tx.execute(query.order_by(flag.c.name).limit(limit)).mappings()]


def environments(tx: Tx) -> list[str]:
    """Those that have flags, in order of name."""
    return list(tx.execute(sa.select(flag.c.environment).distinct().order_by(flag.c.environment)).scalars())


def live(tx: Tx, environment: str) -> list[Flag]:
    """All flags of the environment that are served."""
    query = _FLAGS.where(flag.c.environment == environment, flag.c.archived_at.is_(None))
    return [Flag(**row) for row in tx.execute(query.order_by(flag.c.name)).mappings()]


def everywhere(tx: Tx) -> list[Flag]:
    """All flags of all environments, archived ones too."""
    return [Flag(**row) for row in tx.execute(_FLAGS.order_by(flag.c.environment, flag.c.name)).mappings()]


def extras(tx: Tx, environment: str) -> dict[str, Any]:
    """The members that an import brought beside flags and segments."""
    found = sa.select(flag_extra.c.members).where(flag_extra.c.environment == environment)
    return dict(tx.execute(found).scalar() or {})


def put_extras(tx: Tx, environment: str, members: Mapping[str, Any]) -> None:
    tx.execute(sa.delete(flag_extra).where(flag_extra.c.environment == environment))
    if members:
        tx.execute(sa.insert(flag_extra).values(environment=environment, members=members))


def add(tx: Tx, new: Flag) -> None:
    tx.execute(sa.insert(flag).values(_values(new)))


def put(tx: Tx, changed: Flag) -> None:
    this = (flag.c.environment == changed.environment, flag.c.name == changed.name)
    tx.execute(sa.update(flag).where(*this).values(_values(changed)))


def _values(one: Flag) -> dict[str, Any]:
    return {name: value for name, value in vars(one).items() if name != "asked_at"}
