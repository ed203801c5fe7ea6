"""Reading the audit log. It is written in one place only: `services.changes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rollout.core.audit import GENESIS, first_break
from rollout.core.times import rfc3339
from rollout.db import audit, revision
from rollout.db.engine import Database

AUDIT_COLUMNS = (
    "seq", "revision", "at", "actor", "action", "subject", "tenant", "before", "after", "reason", "request_id", "hash",
)  # fmt: skip
"""The members of a row as admins see it."""


def audit_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as admins see it."""
    return {
        "seq": row["seq"],
        "revision": row["revision"],
        "at": rfc3339(row["at"]),
        "actor": row["actor"],
        "action": row["action"],
        "subject": row["subject"],
        "tenant": row["tenant_id"],
        "before": row["before"],
        "after": row["after"],
        "reason": row["reason"],
        "request_id": row["request_id"],
        "hash": row["hash"],
    }


EXAMINED = 10_000
"""Rows that one search looks at when no index finds them."""

PAGE = 500


@dataclass(frozen=True)
class Search:
    """Which changes are wanted; None: any. `since` and `until` in UTC epoch seconds, `until` itself not."""

    tenant: str | None = None
    subject: str | None = None
    actor: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def is_by_index(self) -> bool:
        return self.subject is not None or (self.actor is None and self.action is None)


@dataclass(frozen=True)
class Found:
    """Rows of the chain, newest first; `next` is the `seq` to go on before, None at the end.

    A search for what is rare may find nothing in the rows that it looked at, and still have a `next`.
    """

    rows: Sequence[Mapping[str, Any]]
    next: int | None


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, wanted: Search, *, before: int | None, limit: int) -> Found:
        """What there is among the next EXAMINED rows below the `seq` `before`; `at` in UTC epoch seconds."""
        with self._database.read() as tx:
            first = 1 if wanted.since is None else audit.first_since(tx, wanted.since)
            if wanted.until is not None:
                ended = audit.first_since(tx, wanted.until)
                before = ended if before is None else min(before, ended)
            reach = first
            if not wanted.is_by_index:
                reach = max(first, audit.reach(tx, tenant=wanted.tenant, before=before, rows=EXAMINED))
            rows = audit.page(
                tx,
                tenant=wanted.tenant,
                subject=wanted.subject,
                actor=wanted.actor,
                action=wanted.action,
                before=before,
                floor=reach,
                limit=limit + 1,
            )
        if len(rows) > limit:
            return Found(rows[:limit], rows[limit - 1]["seq"])
        return Found(rows, reach if reach > first else None)

    def walk(
        self, wanted: Search, *, before: int | None = None, at_once: int = PAGE
    ) -> Iterator[Mapping[str, Any]]:
        """All of them, newest first, read page by page."""
        found = self.search(wanted, before=before, limit=at_once)
        yield from found.rows
        while found.next is not None:
            found = self.search(wanted, before=found.next, limit=at_once)
            yield from found.rows

    def page(
        self, *, tenant: str | None = None, subject: str | None = None, before: int | None = None, limit: int
    ) -> list[Mapping[str, Any]]:
        """The first `limit` of them."""
        rows = self.walk(Search(tenant, subject), before=before, at_once=min(limit, PAGE))
        return list(islice(rows, limit))

    def verify(self, newest: int | None = None) -> str | None:
        """The first place where the chain does not hold, in words; among the `newest` rows only, if that is said.

        None: nothing was changed, removed or slipped in.
        """
        with self._database.read() as tx:
            before = 0 if newest is None else max(0, audit.last_seq(tx) - newest)
            start = (before, audit.hash_of(tx, before) or GENESIS)
            return first_break(audit.walk(tx, after=before), revision.audit_end(tx), after=start)
