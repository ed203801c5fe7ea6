"""Statements: a month of a tenant's, straight from the books, beside what its money meters booked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from rollout.core.statements import (
    CUT_BY,
    MoneyMonth,
    Month,
    Statement,
    check,
    month_of,
    period_of,
    statement,
)
from rollout.core.tenants import Tenant
from rollout.core.usage import Figures, Period, Tally
from rollout.db import tenants, usage
from rollout.db.engine import Database, Tx
from rollout.services.tenants import require
from rollout.services.usage import MAX_GROUPS, check_length

VERIFIED_SECONDS = 93 * 86_400
"""How far back months are compared with their holds: this one and the two before it. Older windows are compared with their
entries only, as all are."""

METERS_A_QUERY = 500


class Statements:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant_id: str, name: str | None) -> Statement:
        """Of the month `name` such as 2026-11, in the tenant's time zone; None: this one. Raises InvalidRequest, NotFound."""
        with self._database.read() as tx:
            tenant, now = require(tx, tenant_id), self._database.now(tx)
            month = month_of(name, tenant.tz, now, first=tenant.created_at)
            asked = month.period
            tallies = usage.tallies(tx, (tenant_id,), asked, CUT_BY, limit=MAX_GROUPS + 1)
            corrections = usage.corrections(tx, (tenant_id,), asked, limit=MAX_GROUPS + 1)
            meters = usage.money_months(tx, (tenant_id,), since=asked.since)
        check_length(tallies)
        check_length(corrections)
        same = [meter for meter in meters if (meter.start, meter.ends) == (asked.since, asked.until)]
        return statement(tenant, month, tallies, corrections, same, now)

    def month(self, name: str | None) -> Month:
        """The month `name`, None: this one, of UTC. Raises InvalidRequest, NotFound."""
        with self._database.read() as tx:
            return month_of(name, "UTC", self._database.now(tx))

    def page(self, month: str, *, after: str | None, limit: int) -> list[tuple[Tenant, Figures]]:
        """What each tenant's statement comes to, in order of tenants' ids, beginning after the id `after`."""
        with self._database.read() as tx:
            found = tenants.page(tx, after=after, limit=limit)
            used: dict[str, list[Tally]] = {}
            for tz in {tenant.tz for tenant in found}:
                ids = [tenant.id for tenant in found if tenant.tz == tz]
                used |= _used(tx, ids, period_of(month, tz))
        return [
            (tenant, sum((tally.figures for tally in used.get(tenant.id, ())), Figures())) for tenant in found
        ]

    def verify(self) -> list[str]:
        """A sentence for each money meter that booked in one of the last months anything but what its calls cost."""
        windows: dict[tuple[int, int], list[MoneyMonth]] = defaultdict(list)
        wrong: list[str] = []
        with self._database.read() as tx:
            for meter in usage.money_months(tx, None, since=self._database.now(tx) - VERIFIED_SECONDS):
                windows[meter.start, meter.ends].append(meter)
            for (start, ends), meters in windows.items():
                for first in range(0, len(meters), METERS_A_QUERY):
                    some = meters[first : first + METERS_A_QUERY]
                    used = _used(tx, {meter.tenant_id for meter in some}, Period(start, ends, "UTC"))
                    found = (check(meter, used.get(meter.tenant_id, ())) for meter in some)
                    wrong += [str(one) for one in found if not one.agrees]
        return wrong


def _used(tx: Tx, tenant_ids: Collection[str], asked: Period) -> dict[str, list[Tally]]:
    """What tenants used in a period and how that was corrected, by tenant, cut by feature."""
    found: dict[str, list[Tally]] = defaultdict(list)
    corrections = [one.tally() for one in usage.corrections(tx, tenant_ids, asked)]
    for tally in (*usage.tallies(tx, tenant_ids, asked, ("tenant", "feature")), *corrections):
        found[str(tally.names["tenant"])].append(tally)
    return found
