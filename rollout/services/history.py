"""What held at a time that is past, rebuilt from the audit log: who a tenant was, what it had been given, where the plan stood."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rollout.core.contents import parse_phase
from rollout.core.decisions import TenantFacts
from rollout.core.explanations import Basis
from rollout.core.grants import Grant
from rollout.core.kills import Kill
from rollout.core.plans import Plan, Run, RunningPlan
from rollout.core.tenants import Tenant
from rollout.core.times import epoch, rfc3339
from rollout.db import audit, history, plans
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest, NotFound

T = TypeVar("T")


class History:
    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self, tenant_id: str, feature: str, at: int) -> Basis:
        """What a decision at `at` (UTC epoch seconds) was made from, after all changes of that second.

        Raises InvalidRequest for a time to come, NotFound when there was no such tenant then.
        """
        with self._database.read() as tx:
            if at > self._database.now(tx):
                raise InvalidRequest(
                    f"`at` must not lie in the future; {rfc3339(at)} does.",
                    param="at",
                    remedy="Leave `at` out for what holds now, or simulate a step of the plan.",
                )
            until = audit.first_since(tx, at + 1)
            return Basis(
                facts=_facts(tx, tenant_id, feature, at, until),
                feature=feature,
                plan=_plan(tx, feature, until),
                kill=_kill(history.kill(tx, feature, None, until)),
                revision=history.revision(tx, until),
                now=at,
            )


def _facts(tx: Tx, tenant_id: str, feature: str, at: int, until: int) -> TenantFacts:
    tenant = history.tenant(tx, tenant_id, until)
    if tenant is None:
        raise NotFound(
            f"There was no tenant {tenant_id!r} at {rfc3339(at)}.",
            param="tenant",
            remedy="Name a time after it was added: its first entry in the audit log.",
        )
    grant = history.grant(tx, tenant_id, feature, until)
    halt = _kill(history.kill(tx, feature, tenant_id, until))
    return TenantFacts(
        restored(Tenant, tenant),
        {feature: restored(Grant, grant)} if grant else {},
        {feature: halt} if halt else {},
    )


def _kill(row: Mapping[str, Any] | None) -> Kill | None:
    kill = restored(Kill, row) if row else None
    return kill if kill and kill.killed else None


def _plan(tx: Tx, feature: str, until: int) -> RunningPlan | None:
    """The run of the newest change, and the phases of the newest that tells them: moves once told the run alone.

    The salt is nobody's to see, so that no log has it; it never changes while there is the plan. None for one that has ended since.
    """
    known, newest = plans.get(tx, feature), None
    if known is None or history.has_ended(tx, feature, until):
        return None
    for row in history.plans(tx, feature, until):
        if row is None:
            break
        newest = newest or row
        if "phases" in row:
            phases = tuple(parse_phase(phase, feature, phase["key"]) for phase in row["phases"])
            salt, four_eyes = known.plan.salt, row.get("four_eyes", False)
            plan = Plan(feature, salt, phases, newest["version"], four_eyes)
            return RunningPlan(plan, _run(newest["run"]))
    return None


def _run(row: Mapping[str, Any]) -> Run:
    left = None if row["left_at"] is None else epoch(row["left_at"])
    return Run(
        row["run"],
        row["phase"],
        row["state"],
        epoch(row["entered_at"]),
        row["entered_by"],
        left,
        row.get("open_to"),
    )


@dataclass(frozen=True)
class Past:
    """What a tenant was and had been given, from each of `since` (UTC epoch seconds, in order) on; None: it was not there."""

    since: Sequence[int]
    facts: Sequence[TenantFacts | None]

    def at(self, moment: int) -> TenantFacts | None:
        position = bisect_right(self.since, moment) - 1
        return self.facts[position] if position >= 0 else None


def pasts_of(tx: Tx, feature: str, known: Mapping[str, TenantFacts], since: int, now: int) -> dict[str, Past]:
    """Of those who from `since` to `now` changed, or had a grant that began or ended by its time; `known` are the tenants as they are.

    Without stops: `Past` tells what plans look at.
    """
    rows: dict[str, list[Mapping[str, Any]]] = {
        tenant_id: [] for tenant_id, one in known.items() if _turns(one.grants.get(feature), since, now)
    }
    for row in history.changes(tx, feature, audit.first_since(tx, since)):
        if row["tenant_id"] in known:
            rows.setdefault(row["tenant_id"], []).append(row)
    return {tenant_id: _past(known[tenant_id], feature, changes) for tenant_id, changes in rows.items()}


def _turns(grant: Grant | None, since: int, now: int) -> bool:
    moments = (grant.starts_at, grant.expires_at) if grant else ()
    return any(moment is not None and since < moment <= now for moment in moments)


def _past(known: TenantFacts, feature: str, changes: Sequence[Mapping[str, Any]]) -> Past:
    """From what there is now back to what was before the first change."""
    tenant: Tenant | None = known.tenant
    grant = known.grants.get(feature)
    found: list[tuple[int, TenantFacts | None]] = []
    for change in reversed(changes):
        found.append((change["at"], _having(tenant, grant)))
        before = change["before"]
        if change["action"].startswith("tenant."):
            tenant = restored(Tenant, before) if before else None
        else:
            grant = restored(Grant, before) if before else None
    found.append((0, _having(tenant, grant)))
    found.reverse()
    return Past([at for at, _ in found], [facts for _, facts in found])


def _having(tenant: Tenant | None, grant: Grant | None) -> TenantFacts | None:
    return TenantFacts(tenant, {grant.feature: grant} if grant else {}) if tenant else None


def restored(kind: type[T], row: Mapping[str, Any]) -> T:
    """A value from what the audit log keeps of it; what it has not got is as by default."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in row.items() if name in names})
