"""Tenants: added, renamed, suspended, activated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rollout.core.audit import Actor
from rollout.core.schedule import revise
from rollout.core.tenants import Tenant, TenantState
from rollout.db import meters, tenants
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.services import meter_changes
from rollout.services.changes import Change, Changes, as_json
from rollout.services.providers import VENDORS


class Tenants:
    def __init__(self, database: Database, changes: Changes) -> None:
        self._database, self._changes = database, changes

    def page(
        self,
        *,
        after: str | None,
        limit: int,
        search: str | None = None,
        state: TenantState | None = None,
    ) -> list[Tenant]:
        """In order of id, beginning after the id `after`; `search`: how the id begins, or any part of the name."""
        with self._database.read() as tx:
            return tenants.page(tx, after=after, limit=limit, search=search, state=state)

    def get(self, tenant_id: str) -> Tenant:
        """Raises NotFound."""
        with self._database.read() as tx:
            return require(tx, tenant_id)

    def add(self, actor: Actor, new: Tenant, reason: str | None, *, dry_run: bool = False) -> Tenant:
        """Raises Conflict when the id is taken, InvalidRequest for a vendor that there is not."""
        _check_vendors(new)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            if tenants.get(change.tx, new.id):
                raise Conflict(
                    f"There is a tenant {new.id!r} already.",
                    param="id",
                    remedy="Choose another id, or change that tenant.",
                )
            added = dataclasses.replace(new, created_at=change.now)
            tenants.add(change.tx, added)
            change.record(
                "tenant.added", subject=added.id, tenant=added.id, before=None, after=as_json(added)
            )
        return added

    def change(
        self,
        actor: Actor,
        tenant_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Tenant:
        """Set `fields` (name, tz, attributes, vendors, retired_models, thinking_budgets); raises NotFound, StaleVersion, InvalidRequest.

        Meters that count in the tenant's time zone follow it from the end of their open window on; one in another zone keeps it.
        """
        return self._revise(
            actor, "tenant.changed", tenant_id, fields, reason, based_on=based_on, dry_run=dry_run
        )

    def set_state(
        self, actor: Actor, tenant_id: str, state: TenantState, reason: str | None, *, dry_run: bool = False
    ) -> Tenant:
        """`suspended`: its keys open nothing; `active`: they do again. Setting the state it has changes nothing."""
        return self._revise(
            actor, f"tenant.{state}", tenant_id, {"state": state}, reason, based_on=None, dry_run=dry_run
        )

    def _revise(
        self,
        actor: Actor,
        action: str,
        tenant_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        based_on: int | None,
        dry_run: bool,
    ) -> Tenant:
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = require(change.tx, tenant_id)
            check_version(based_on, before.version, as_json(before))
            after = dataclasses.replace(before, **fields)
            if after == before:
                return before
            _check_vendors(after)
            after = dataclasses.replace(after, version=before.version + 1)
            tenants.put(change.tx, after)
            change.record(
                action, subject=after.id, tenant=after.id, before=as_json(before), after=as_json(after)
            )
            if after.tz != before.tz:
                _carry_meters(change, before, after.tz)
        return after


def _carry_meters(change: Change, before: Tenant, tz: str) -> None:
    for meter in meters.live(change.tx, before.id):
        if meter.last_tz == before.tz:
            meter_changes.lock(change, before.id, meter.feature)
            meter_changes.put(change, meter, revise(meter, {"tz": tz}, change.now))


def _check_vendors(tenant: Tenant) -> None:
    unknown = sorted(set(tenant.vendors or ()) - VENDORS.keys())
    if unknown:
        raise InvalidRequest(
            f"There is no vendor {unknown[0]!r}; there are {', '.join(VENDORS)}.", param="vendors"
        )


def require(tx: Tx, tenant_id: str) -> Tenant:
    """Raises NotFound."""
    found = tenants.get(tx, tenant_id)
    if found is None:
        raise NotFound(f"There is no tenant {tenant_id!r}.", param="tenant")
    return found


def check_version(based_on: int | None, version: int, current: Mapping[str, Any]) -> None:
    """Raises StaleVersion, which carries the value as it is now, when the caller saw another version."""
    if based_on is not None and based_on != version:
        raise StaleVersion(current=dict(current), current_version=version)
