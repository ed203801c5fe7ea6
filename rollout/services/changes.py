"""The one way in for a change: the new value, its audit entries and the new revision share one transaction.

    with changes.begin(actor, reason) as change:
        before = db.meters.get(change.tx, ...)
        db.meters.put(change.tx, after)
        change.record("meter.changed", subject=after.id, tenant=after.tenant_id, before=before, after=after)

The revision row is locked first, so changes happen one after another: a version read inside the block is still true when it is written.
A block that records nothing leaves no trace. Failure behaviour: an exception in the block, a full or read-only database undo all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from rollout.core.audit import Actor, Entry
from rollout.core.webhooks import EventType
from rollout.db import audit, revision
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest
from rollout.services.events import Events
from rollout.services.ids import new_id

log = structlog.get_logger()

MAX_REASON = 2000


class Change:
    """An open change; `tx` and `now` are for the block, `revision` is the number it will have."""

    def __init__(self, tx: Tx, now: int, revision: int, actor: Actor, reason: str, events: Events) -> None:
        self.tx, self.now, self.revision, self.actor, self.reason = tx, now, revision, actor, reason
        self._events = events
        self.records: list[dict[str, Any]] = []

    def record(
        self,
        action: str,
        *,
        subject: str,
        tenant: str | None,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Write down one thing that changed; `before` and `after` are JSON values."""
        self.records.append(
            {"action": action, "subject": subject, "tenant_id": tenant, "before": before, "after": after}
        )

    def tell(self, type: EventType, tenant: str | None, data: Mapping[str, Any]) -> None:
        """Tell webhooks of it, if it comes to be: the tenant's and the operators' own, or (None) only these."""
        self._events.emit(self.tx, self.now, type, tenant, data)


class Changes:
    """`follow` is told of each change before it is written down, and may add to its transaction; `landed`, when it is over."""

    def __init__(
        self,
        database: Database,
        events: Events | None = None,
        follow: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self._database, self._events, self._follow = database, events or Events(new_id), follow
        self.landed: Callable[[], object] = lambda: None

    @contextmanager
    def begin(self, actor: Actor, reason: str | None, *, dry_run: bool = False) -> Iterator[Change]:
        """Open a change. `reason` must say something; with `dry_run` all checks run and nothing is kept."""
        why = check_reason(reason)
        try:
            with self._database.write() as tx:
                number, chain_end = revision.lock(tx)
                change = Change(tx, self._database.now(tx), number + 1, actor, why, self._events)
                yield change
                if change.records:
                    self._follow(change)
                    _write_down(change, chain_end)
                if dry_run:
                    raise _Undo
        except _Undo:
            return
        self.landed()
        for record in change.records:
            log.info("changed", actor=actor.name, reason=why, revision=change.revision, **record)


class _Undo(Exception):
    pass


def check_reason(reason: str | None) -> str:
    if not reason or not reason.strip():
        raise InvalidRequest(
            "A change needs a reason.", param="reason", remedy="Say in `reason` why you make this change."
        )
    if len(reason) > MAX_REASON:
        raise InvalidRequest(f"A reason has at most {MAX_REASON} characters.", param="reason")
    return reason.strip()


def _write_down(change: Change, chain_end: str) -> None:
    seq = audit.last_seq(change.tx)
    entries: list[Entry] = []
    for record in change.records:
        seq += 1
        entries.append(
            Entry(
                seq=seq,
                revision=change.revision,
                at=change.now,
                actor=change.actor.name,
                reason=change.reason,
                request_id=change.actor.request_id,
                previous_hash=entries[-1].hash() if entries else chain_end,
                **record,
            )
        )
    audit.add(change.tx, entries)
    revision.set_to(change.tx, change.revision, entries[-1].hash())


def as_json(value: Any) -> dict[str, Any]:
    """A frozen dataclass as a JSON object for the audit log; sets become sorted lists."""
    return {
        name: sorted(item) if isinstance(item, (set, frozenset)) else item
        for name, item in dataclasses.asdict(value).items()
    }
