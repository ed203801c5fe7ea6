"""What a worker needs to know of a tenant, and whose a key is: read on first use, by primary key or unique
index."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.grants import Grant
from rollout.core.tenants import Key, Tenant
from rollout.db import kills, meters, tenants
from rollout.db.engine import Tx
from rollout.db.tables import analysis, api_key, generation, grant, quota_owner, tenant


def key_by_hash(tx: Tx, hash_: str) -> Key | None:
    row = tx.execute(sa.select(api_key).where(api_key.c.hash == hash_)).mappings().one_or_none()
    return Key(**{**row, "scopes": tuple(row["scopes"])}) if row else None


def get(tx: Tx, tenant_id: str) -> TenantFacts | None:
    found = tenants.get(tx, tenant_id)
    if found is None:
        return None
    grants = tx.execute(sa.select(grant).where(grant.c.tenant_id == tenant_id)).mappings()
    meter_rev = sa.select(quota_owner.c.meter_rev).where(quota_owner.c.tenant_id == tenant_id)
    return TenantFacts(
        tenant=found,
        grants={row["feature"]: Grant(**row) for row in grants},
        halts=kills.for_tenant(tx, tenant_id),
        meters=meters.live(tx, tenant_id),
        meter_rev=tx.execute(meter_rev).scalar_one_or_none() or 0,
    )


def page(tx: Tx, feature: str, *, after: str, limit: int) -> list[TenantFacts]:
    """Active tenants in order of id, with what decides on `feature`; without meters."""
    query = (
        sa.select(tenant)
        .where(tenant.c.id > after, tenant.c.state == "active")
        .order_by(tenant.c.id)
        .limit(limit)
    )
    return for_tenants(tx, [Tenant(**row) for row in tx.execute(query).mappings()], feature)


def for_tenants(tx: Tx, found: Sequence[Tenant], feature: str) -> list[TenantFacts]:
    """What decides on `feature` for each of these tenants, without meters: two queries for all of them."""
    ids = [one.id for one in found]
    grants = sa.select(grant).where(grant.c.tenant_id.in_(ids), grant.c.feature == feature)
    granted = {row["tenant_id"]: {feature: Grant(**row)} for row in tx.execute(grants).mappings()}
    halted = {halt.tenant_id: {feature: halt} for halt in kills.halts(tx, feature, among=ids)}
    return [TenantFacts(one, granted.get(one.id, {}), halted.get(one.id, {})) for one in found]


def last_use(tx: Tx, feature: str, tenant_id: str | None) -> int | None:
    """When a use of the feature was last admitted, for this tenant or (None) for any: one probe of an index
    a tenant."""
    uses = generation if feature == GENERATION else analysis
    of_tenant = (
        sa.select(uses.c.created_at)
        .where(uses.c.tenant_id == tenant.c.id)
        .order_by(uses.c.created_at.desc())
        .limit(1)
        .correlate(tenant)
        .scalar_subquery()
    )
    query = sa.select(of_tenant.label("at")).select_from(tenant)
    if tenant_id is not None:
        query = query.where(tenant.c.id == tenant_id)
    last = query.subquery()
    at: int | None = tx.execute(sa.select(sa.func.max(last.c.at))).scalar_one()
    return at
