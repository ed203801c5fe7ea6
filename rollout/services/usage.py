"""Usage reports: what tenants used and what it cost, straight from the books."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.core.usage import ADMIN_DIMENSIONS, DIMENSIONS, Figures, Report, dimensions, period, report
from rollout.db import usage
from rollout.db.engine import Database
from rollout.errors import InvalidRequest
from rollout.services.tenants import require

MAX_GROUPS = 100_000
"""So many groups (of a quarter of an hour, where it is by day) the database may hand over for one report."""


class UsageReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, tenant_id: str, since: str | None, until: str | None, by: str | None) -> Report[Figures]:
        """A tenant's own: days in its time zone, cut by its own words. Raises InvalidRequest."""
        return self._report(tenant_id, since, until, dimensions(by, DIMENSIONS))

    def overview(
        self, tenant_id: str | None, since: str | None, until: str | None, by: str | None
    ) -> Report[Figures]:
        """For admins: of one tenant in its time zone, or (None) of all in UTC; cut by more words.

        Raises InvalidRequest, NotFound.
        """
        return self._report(tenant_id, since, until, dimensions(by, ADMIN_DIMENSIONS))

    def _report(
        self, tenant_id: str | None, since: str | None, until: str | None, by: Sequence[str]
    ) -> Report[Figures]:
        with self._database.read() as tx:
            tz = "UTC" if tenant_id is None else require(tx, tenant_id).tz
            asked = period(since, until, tz, self._database.now(tx))
            tenants = None if tenant_id is None else (tenant_id,)
            found = usage.tallies(tx, tenants, asked, by, limit=MAX_GROUPS + 1)
            corrected = usage.corrections(tx, tenants, asked, limit=MAX_GROUPS + 1)
        check_length(found)
        check_length(corrected)
        return report(asked, tuple(by), [*found, *(one.tally() for one in corrected)])


def check_length(groups: Sequence[object]) -> None:
    """Raises InvalidRequest for more groups than a report may have."""
    if len(groups) > MAX_GROUPS:
        raise InvalidRequest(
            "This report would be too long.",
            param="by",
            remedy="Ask for a shorter period, or for fewer words in `by`.",
        )
