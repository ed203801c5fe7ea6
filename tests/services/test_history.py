"""What held at a time past, by the audit log: what was decided then is what explains it now."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, BOB
from phases import wire_phases

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, Resume, RollBack
from rollout.core.tenants import Tenant
from rollout.core.times import rfc3339
from rollout.db import tables
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound

MINUTE = 60


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def answer(found: dict[str, Any]) -> dict[str, Any]:
    """What an explanation says, but for when it was asked."""
    return {name: value for name, value in found.items() if name != "at"}


def test_any_past_moment_is_explained_as_it_was_at_that_time(services: SimpleNamespace, clock: Any) -> None:
    chance, acts = random.Random(7), _acts(services, clock)
    told: list[tuple[int, str, str, dict[str, Any]]] = []
    for _ in range(60):
        clock.advance(MINUTE)
        try:
            chance.choice(acts)()
        except (Conflict, InvalidRequest, NotFound):
            continue
        tenant, feature = chance.choice(["acme", "globex"]), chance.choice([GENERATION, GENERATION, ANALYSIS])
        told.append((int(clock()), tenant, feature, answer(services.explain.explain(tenant, feature))))
    assert len({found["decision"]["reason"] for *_, found in told}) > 5
    for at, tenant, feature, then in told:
        found = services.explain.explain(tenant, feature, at)
        assert found["at"] == rfc3339(at)
        assert answer(found) == then
        assert (
            services.explain.explain(tenant, feature, at + MINUTE - 1)["decision"]["id"]
            == then["decision"]["id"]
        )


def _acts(services: SimpleNamespace, clock: Any) -> list[Any]:
    grants, features, tenants = services.grants, services.features, services.tenants

    def step(step: Any) -> Any:
        return lambda: services.change_requests.submit(BOB, GENERATION, step, "on we go")

    def grant(tenant: str, cohort: str | None, seconds: int | None) -> Any:
        def give() -> None:
            expires_at = None if seconds is None else int(clock()) + seconds
            grants.add(ALICE, tenant, GENERATION, "pilot", cohort=cohort, expires_at=expires_at)

        return give

    def revoke() -> None:
        given = grants.page(tenant="acme", feature=None, before=None, limit=1)
        if given:
            grants.revoke(ALICE, given[0].id, "enough")

    def program(tenant: str, **values: str) -> Any:
        return lambda: tenants.change(ALICE, tenant, {"attributes": values}, "moved")

    wider = {"phases": {"percentage_50": {"audience": {"basis_points": 7_500}}}}
    return [
        *map(
            step,
            (Advance(), Advance("percentage"), Jump("internal"), Restart(), RollBack(), Pause(), Resume()),
        ),
        step(Edit(wider)),
        grant("acme", "internal", None),
        grant("acme", None, 3 * MINUTE),
        grant("globex", None, MINUTE),
        revoke,
        program("acme", program="beta"),
        program("globex", program="beta"),
        program("acme"),
        lambda: features.kill(BOB, GENERATION, "fire", wait=0),
        lambda: features.revive(BOB, GENERATION, "out", wait=0),
        lambda: features.kill(BOB, GENERATION, "abuse", tenant="acme", wait=0),
        lambda: features.revive(BOB, GENERATION, "sorted out", tenant="acme", wait=0),
        lambda: features.kill(BOB, ANALYSIS, "vendor down", wait=0),
        lambda: features.revive(BOB, ANALYSIS, "vendor up", wait=0),
    ]


def test_before_a_tenant_there_is_nothing_to_explain_and_before_a_plan_nobody_is_in(
    services: SimpleNamespace, clock: Any
) -> None:
    start = int(clock())
    clock.advance(MINUTE)
    services.tenants.add(ALICE, Tenant("initech", "Initech"), "new")
    with pytest.raises(NotFound, match="There was no tenant 'initech' at 2026-11-22T12:00:00Z"):
        services.explain.explain("initech", GENERATION, start)
    with services.database.write() as tx:
        tx.execute(sa.delete(tables.audit).where(tables.audit.c.action == "plan.added"))
    found = services.explain.explain("acme", GENERATION, start)
    assert (found["decision"]["reason"], found["rows"]["run"], found["audiences"]) == (
        "flag_unknown",
        None,
        [],
    )


def test_the_future_is_not_history(services: SimpleNamespace, clock: Any) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        services.explain.explain("acme", GENERATION, int(clock()) + 1)
    assert wrong.value.members["param"] == "at"


def test_moves_that_told_their_run_alone_are_read_with_the_phases_of_before(
    services: SimpleNamespace, clock: Any
) -> None:
    """As they were written before a move told the whole plan."""
    clock.advance(MINUTE)
    services.change_requests.submit(BOB, GENERATION, Advance(), "on we go")
    now = services.explain.explain("acme", GENERATION)
    with services.database.write() as tx:
        moved = tables.audit.c.action == "plan.advanced"
        row = tx.execute(sa.select(tables.audit.c.after).where(moved)).scalar_one()
        short = {
            "version": row["version"],
            "run": {name: row["run"][name] for name in row["run"] if name != "open_to"},
        }
        tx.execute(sa.update(tables.audit).where(moved).values(after=short))
    assert answer(services.explain.explain("acme", GENERATION, int(clock()))) == answer(now)


def test_a_grant_is_explained_with_who_gave_it(services: SimpleNamespace, clock: Any) -> None:
    given = services.grants.add(BOB, "acme", GENERATION, "pilot", expires_at=int(clock()) + 3 * MINUTE)
    clock.advance(MINUTE)
    services.grants.revoke(ALICE, given.id, "enough")
    found = services.explain.explain("acme", GENERATION, int(clock()) - 1)
    assert (found["decision"]["reason"], found["reason_values"]["by"]) == ("granted", "token:bob")
    assert found["detail"].endswith(
        f"({given.id}, from 2026-11-22T12:00:00Z to 2026-11-22T12:03:00Z: pilot)."
    )
    assert found["partner"]["detail"] == "Your organisation has been given access until 2026-11-22T12:03:00Z."
