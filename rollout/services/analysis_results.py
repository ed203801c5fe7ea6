"""What named tasks were answered, kept for a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.tasks import AnalysisResult
from rollout.db import analyses, analysis_results
from rollout.db.engine import Database, Tx
from rollout.errors import NotFound, ResultPurged
from rollout.services.writer import Also

FORGOTTEN_AT_ONCE = 500


class AnalysisResults:
    """`retention_days` is how long answers are kept."""

    def __init__(self, database: Database, *, retention_days: int) -> None:
        self._database, self._retention = database, retention_days * 86_400

    def kept(self, tenant_id: str, answer: Mapping[str, Any]) -> Also:
        """Writes the answer down, to commit with what settles its work."""

        def write(tx: Tx, now: int) -> None:
            new = AnalysisResult(tenant_id, answer["id"], answer["task"], answer, now, now + self._retention)
            analysis_results.add(tx, new)

        return write

    def get(self, tenant_id: str, analysis_id: str) -> AnalysisResult:
        """Raises NotFound, ResultPurged."""
        with self._database.read() as tx:
            found = analysis_results.get(tx, tenant_id, analysis_id)
            known = found is not None or analyses.is_of(tx, tenant_id, analysis_id)
            now = self._database.now(tx)
        if not known:
            raise _not_found(analysis_id)
        if found is None or found.expires_at <= now:
            raise ResultPurged(
                "This answer is no longer kept.", remedy="Ask again; answers are kept for a time."
            )
        return found

    def find(self, analysis_id: str) -> AnalysisResult:
        """Of any tenant, for admins. Raises NotFound."""
        with self._database.read() as tx:
            found = analysis_results.find(tx, analysis_id)
        if found is None:
            raise _not_found(analysis_id)
        return found

    def page(
        self, *, tenant: str, task: str | None = None, cursor: str | None, limit: int
    ) -> list[AnalysisResult]:
        """Newest first, from before the id `cursor`."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            return analysis_results.page(tx, tenant, task=task, before=cursor, now=now, limit=limit)

    def purge(self) -> None:
        """Forget answers whose time is over."""
        gone = FORGOTTEN_AT_ONCE
        while gone >= FORGOTTEN_AT_ONCE:
            with self._database.write() as tx:
                gone = analysis_results.forget(tx, self._database.now(tx), FORGOTTEN_AT_ONCE)


def _not_found(analysis_id: str) -> NotFound:
    return NotFound(f"There is no analysis {analysis_id[:100]!r}.", param="id")
