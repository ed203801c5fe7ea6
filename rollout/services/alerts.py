"""Alerts: what was told of full windows, and when. The ledger writes them."""

from __future__ import annotations

from rollout.core.alerts import Told, parse_place
from rollout.core.meters import PLATFORM
from rollout.db import alerts
from rollout.db.engine import Database
from rollout.services import tenants


class Alerts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        *,
        tenant: str | None = None,
        meter: str | None = None,
        since: int = 0,
        cursor: str | None = None,
        limit: int,
    ) -> list[Told]:
        """Newest first, from before `cursor`; of one tenant (PLATFORM: what all share), of one meter, since a time.

        Raises NotFound, InvalidRequest.
        """
        before = None if cursor is None else parse_place(cursor)
        with self._database.read() as tx:
            if tenant not in (None, PLATFORM):
                tenants.require(tx, tenant)
            return alerts.page(tx, tenant=tenant, meter_id=meter, since=since, before=before, limit=limit)
