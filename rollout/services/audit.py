"""Reading the audit log. It is written in one place only: `services.changes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.audit import first_break
from rollout.core.times import rfc3339
from rollout.db import audit, revision
from rollout.db.engine import Database


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


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, *, tenant: str | None = None, subject: str | None = None, before: int | None = None, limit: int
    ) -> list[Mapping[str, Any]]:
        """Rows of the chain, newest first, beginning below the `seq` `before`; `at` in UTC epoch seconds."""
        with self._database.read() as tx:
            return list(audit.page(tx, tenant=tenant, subject=subject, before=before, limit=limit))

    def verify(self) -> str | None:
        """The first place where the chain does not hold, in words.

        None: nothing was changed, removed or slipped in.
        """
        with self._database.read() as tx:
            return first_break(audit.walk(tx), revision.audit_end(tx))
