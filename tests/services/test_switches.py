"""Vendors that are switched off and on, reminders of what is stopped, and workers that are late, die, or come back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB
from phases import hold_request, wire_phases, worker

from rollout.core.decisions import FEATURES, GENERATION
from rollout.core.kills import vendor_switch
from rollout.db import jobs
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, UpstreamUnavailable
from rollout.services.breakers import Breakers
from rollout.services.changes import Changes
from rollout.services.events import Events
from rollout.services.health import readiness, readiness_json
from rollout.services.ids import new_id
from rollout.services.switches import Switches
from rollout.services.vendors import Vendors

OPENAI = vendor_switch("openai")
BREAKERS = Breakers(lambda: 0.0, failures=0)


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire_phases(database, clock)
    wired.vendors = Vendors(
        database, wired.switches, lambda: SimpleNamespace(vendors=("anthropic", "openai"), models=())
    )
    return wired


def last_change(services: SimpleNamespace) -> tuple[str, str]:
    row = services.audit.page(limit=1)[0]
    return row["action"], row["subject"]


# -- vendors -----------------------------------------------------------------------------------------------------


def test_a_vendor_is_off_for_everyone_until_somebody_switches_it_on(services: SimpleNamespace) -> None:
    here = worker(services, "here", services.state._clock)
    here.register()
    with (
        services.ledger.hold(hold_request("acme", vendor="openai")) as running,
        services.ledger.hold(hold_request("acme", vendor="openai", dispatch=False)) as unsent,
        services.ledger.hold(hold_request("acme", vendor="anthropic", dispatch=False)) as other,
    ):
        told = services.vendors.disable(BOB, "openai", "wrong pictures", in_flight="withhold")
        assert told["in_flight"] == {"voided": 1, "running": 1}
        assert [services.ledger.get_hold(one.id).state for one in (running, unsent, other)] == [
            "dispatched", "void", "held",
        ]  # fmt: skip
        running.void("refused")
    assert (told["vendor"], told["enabled"]) == ("openai", False)
    assert told["acks"] == {"expected": 1, "received": 0, "slowest_ms": None, "gone": 0}
    assert last_change(services) == ("vendor.disabled", OPENAI)
    services.state.refresh()
    here.report()
    with pytest.raises(UpstreamUnavailable, match="vendor openai, which makes this model, is switched off"):
        services.features.check_vendor("openai")
    services.features.check_vendor("anthropic")

    shown = services.vendors.get("openai")
    assert (shown["enabled"], shown["kill"]["reason"], shown["acks"]["received"]) == (
        False, "wrong pictures", 1,
    )  # fmt: skip
    assert [vendor["enabled"] for vendor in services.vendors.list()] == [True, False]
    assert services.vendors.enable(ALICE, "openai", "mended")["enabled"] is True
    assert last_change(services) == ("vendor.enabled", OPENAI)
    services.state.refresh()
    services.features.check_vendor("openai")
    with pytest.raises(Conflict, match="not killed"):
        services.vendors.enable(ALICE, "openai", "once more")


def test_what_is_no_vendor_is_not_found_and_a_vendor_is_nobodys_alone(services: SimpleNamespace) -> None:
    for name in ("acme", GENERATION, OPENAI, ""):
        with pytest.raises(NotFound, match="no vendor"):
            services.vendors.disable(BOB, name, "drill")
    for name in (OPENAI, "openai", "vendor:acme"):
        with pytest.raises(NotFound):
            services.features.kill(BOB, name, "drill")
    with pytest.raises(InvalidRequest) as refused:
        services.switches.stop(BOB, OPENAI, "drill", tenant="acme")
    assert refused.value.members["param"] == "tenant"
    assert services.switches.stops() == []


def test_a_dry_run_switches_nothing(services: SimpleNamespace) -> None:
    assert services.vendors.disable(BOB, "openai", "drill", dry_run=True)["enabled"] is False
    assert services.vendors.get("openai")["enabled"] is True


def test_work_in_flight_is_withheld_if_its_vendor_was_stopped_so(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    services.state.refresh()
    facts = services.state.facts("acme")
    before = services.features.decide(facts, GENERATION)
    services.vendors.disable(BOB, "openai", "harmful", in_flight="withhold")
    services.state.refresh()
    assert services.features.withheld(facts, before, "openai")
    assert not services.features.withheld(facts, before, "anthropic")


# -- reminders ---------------------------------------------------------------------------------------------------


def told(database: Database) -> list[dict[str, Any]]:
    with database.read() as tx:
        return [
            job.payload["data"]
            for job in jobs.page(tx, before=None, limit=99)
            if job.payload["type"] == "feature.kill_reminder"
        ]


def test_a_stop_is_told_of_once_at_its_time_and_goes_on(services: SimpleNamespace, clock: Any) -> None:
    database, changes = services.database, Changes(services.database)
    webhooks(services).add(ALICE, None, "https://ours.example/", (), "seed")
    for switch, tenant, after in ((GENERATION, "acme", 60), (OPENAI, None, 90), (GENERATION, None, None)):
        services.switches.stop(
            BOB, switch, "wrong", tenant=tenant, remind_at=after and int(clock()) + after, wait=0
        )
    again = Switches(
        database, changes, Events(new_id), services.ledger, services.workers, services.state.catalogue
    )
    assert services.switches.remind() == 0
    clock.advance(60)
    assert [services.switches.remind(), again.remind()] == [1, 0]
    assert [(one["feature"], one["tenant"], one["reason"]) for one in told(database)] == [
        (GENERATION, "acme", "wrong")
    ]
    clock.advance(3600)
    assert [services.switches.remind(), services.switches.remind()] == [1, 0]
    assert sum(one.get("vendor") == "openai" for one in told(database)) == 1
    reminded = {switch: stop["reminded_at"] for switch, stop in services.switches.stops() if stop["tenant"]}
    assert reminded == {GENERATION: "2026-11-22T12:01:00Z"}
    services.state.refresh()
    assert services.state.snapshot.kills.keys() == {GENERATION, OPENAI}


def test_a_stop_that_is_renewed_or_over_is_reminded_of_anew_or_never(
    services: SimpleNamespace, clock: Any
) -> None:
    services.features.kill(BOB, GENERATION, "wrong", remind_at=int(clock()) + 60)
    clock.advance(60)
    assert services.switches.remind() == 1
    services.features.kill(BOB, GENERATION, "still wrong", remind_at=int(clock()) + 60)
    clock.advance(60)
    assert services.switches.remind() == 1
    services.features.kill(BOB, GENERATION, "still wrong", remind_at=int(clock()) + 60)
    services.features.revive(ALICE, GENERATION, "mended")
    clock.advance(60)
    assert services.switches.remind() == 0


def webhooks(services: SimpleNamespace) -> Any:
    from rollout.delivery.webhooks import Post
    from rollout.services.webhooks import Webhooks

    return Webhooks(services.database, Changes(services.database), b"s" * 40, new_id, Post(private=True))


# -- workers -----------------------------------------------------------------------------------------------------


def states(services: SimpleNamespace) -> dict[str, tuple[str, int, int]]:
    return {
        row["id"]: (row["state"], row["behind_by"], row["behind_seconds"]) for row in services.workers.list()
    }


def ready(services: SimpleNamespace) -> dict[str, Any]:
    services.state.refresh()
    return readiness_json(readiness(services.database, services.state, BREAKERS, draining=False))


def test_a_worker_that_acknowledges_late_is_behind_until_it_does(
    services: SimpleNamespace, clock: Any
) -> None:
    late = worker(services, "late", clock)
    late.register()
    assert states(services) == {"late": ("running", 0, 0)}
    services.features.kill(BOB, GENERATION, "drill", wait=0)
    clock.advance(5)
    services.features.revive(ALICE, GENERATION, "mended", wait=0)
    assert states(services) == {"late": ("running", 2, 5)}
    assert ready(services)["status"] == "ready"
    clock.advance(1)
    assert states(services) == {"late": ("behind", 2, 6)}
    now = ready(services)
    assert (now["status"], now["degraded"]) == ("degraded", ["workers"])
    assert now["workers"] == {"running": 0, "behind": 1, "gone": 0}
    late.report()
    assert states(services) == {"late": ("running", 0, 0)}
    assert ready(services)["status"] == "ready"


def test_a_worker_that_died_is_gone_and_forgotten_after_an_hour(
    services: SimpleNamespace, clock: Any
) -> None:
    worker(services, "dead", clock).register()
    clock.advance(31)
    assert ready(services)["workers"] == {"running": 0, "behind": 0, "gone": 1}
    clock.advance(3600)
    assert states(services) == {}
    assert ready(services)["status"] == "ready"


def test_a_worker_that_comes_back_after_it_was_forgotten_is_counted_again(
    services: SimpleNamespace, clock: Any
) -> None:
    lost = worker(services, "lost", clock)
    lost.register()
    clock.advance(3700)
    worker(services, "new", clock).register()
    assert states(services).keys() == {"new"}
    lost.report()
    assert states(services).keys() == {"lost", "new"}
    assert services.features.kill(BOB, GENERATION, "drill", wait=0)["acks"]["expected"] == 2


def test_features_and_vendors_can_be_stopped_and_nothing_else(services: SimpleNamespace) -> None:
    assert services.switches.names == (*FEATURES, *map(vendor_switch, services.state.catalogue().vendors))
    with pytest.raises(NotFound, match="nothing to stop"):
        services.switches.stop(BOB, "everything", "drill")
