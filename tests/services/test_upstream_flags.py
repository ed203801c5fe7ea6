"""What an Unleash server says decides with us: while it speaks, while it is silent, and when it speaks nonsense."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from clocks import Clock
from doors import ALICE
from fake_unleash import document
from upstreams import MAX_AGE, SERVER, Process, Site

from rollout.core.decisions import GENERATION
from rollout.core.flag_push import Switch, strategy_json
from rollout.db import audit, revision
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.services.breakers import Breakers
from rollout.services.health import readiness, readiness_json

BREAKERS = Breakers(lambda: 0.0, failures=0)


@pytest.fixture
def site(database: Database, clock: Clock) -> Site:
    """Written to Unleash, and fetched from there."""
    made = Site(database, clock)
    made.work()
    assert made.polls()
    return made


def number(database: Database) -> int:
    with database.read() as tx:
        return revision.current(tx)


def ready(process: Process) -> dict[str, Any]:
    process.state.refresh()
    return readiness_json(readiness(process.database, process.state, BREAKERS, draining=False))


def test_a_tenant_is_in_when_the_plan_and_the_flag_there_let_it_in(site: Site) -> None:
    assert site.decides("acme") == "granted"
    assert site.decides("globex") == "no: not_granted"
    shown = ready(site)
    assert (shown["status"], shown["degraded"], shown["flags_age_seconds"]) == ("ready", [], 0.0)


def test_before_unleash_was_heard_nobody_generates_and_everybody_analyses(
    database: Database, clock: Clock
) -> None:
    site = Site(database, clock)
    assert site.decides("acme") == "no: flags_stale"
    assert site.analyses()
    shown = ready(site)
    assert (shown["status"], shown["degraded"], shown["flags_age_seconds"]) == (
        "degraded",
        ["flags", "unleash"],
        None,
    )


def test_an_outage_of_30_seconds_stops_nobody_and_one_of_90_denies_generation_alone(
    site: Site, clock: Clock
) -> None:
    clock.advance(30)
    site.upstream.miss(None)
    assert site.decides() == "granted"
    assert ready(site)["degraded"] == ["unleash"]
    clock.advance(MAX_AGE - 30)
    assert site.decides() == "granted"
    clock.advance(30)
    assert site.decides() == "no: flags_stale"
    assert site.analyses()
    shown = ready(site)
    assert (shown["status"], shown["flags_age_seconds"]) == ("degraded", 90.0)
    assert shown["degraded"] == ["flags", "unleash"]
    assert site.polls()
    assert site.decides() == "granted"
    assert ready(site)["degraded"] == []


BROKEN = {
    "no JSON": "<html>",
    "no object": "[]",
    "no flags": "{}",
    "flags that are no list": '{"features": {"name": "x"}}',
    "an empty list": document(),
    "a flag without a name": document({"enabled": True, "strategies": []}),
    "a name twice": document({"name": "x", "strategies": []}, {"name": "x", "strategies": []}),
    "what the engine cannot load": document({"name": "x", "enabled": "yes", "strategies": "all"}),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_or_empty_state_is_neither_kept_nor_decided_on(site: Site, clock: Clock, text: str) -> None:
    before, flags = number(site.database), site.state.snapshot.upstream
    clock.advance(40)
    assert not site.hears(text)
    assert number(site.database) == before
    assert site.state.snapshot.upstream is flags
    assert site.decides() == "granted"
    feed = site.pushes.upstream()["feed"]
    assert feed["trouble"].startswith("What Unleash sent is not kept: ")
    assert feed["age_seconds"] == 40
    assert Process(site.database, clock).decides() == "granted"
    clock.advance(21)
    assert site.decides() == "no: flags_stale"
    assert site.polls()
    assert site.pushes.upstream()["feed"]["trouble"] is None


def test_after_a_restart_the_last_good_state_is_back_with_its_age(site: Site, clock: Clock) -> None:
    clock.advance(20)
    site.upstream.confirm(clock())
    clock.advance(50)
    late = Process(site.database, clock)
    assert late.decides() == "granted"
    assert late.upstream.age() == pytest.approx(50, abs=1)
    assert late.upstream.etag() == '"1"'
    clock.advance(20)
    later = Process(site.database, clock)
    assert later.decides() == "no: flags_stale"
    assert later.analyses()
    later.upstream.confirm(clock())
    assert later.decides() == "granted"


def test_what_another_token_or_server_said_does_not_count(site: Site, clock: Clock) -> None:
    for other in (replace(SERVER, token="*:production.other"), replace(SERVER, url="http://other.test/api")):
        assert Process(site.database, clock, other).decides() == "no: flags_stale"


def test_the_token_is_not_in_the_database(site: Site) -> None:
    assert SERVER.token not in SERVER.source
    assert len(SERVER.source) == 64


def test_a_state_that_says_the_same_is_confirmed_and_makes_no_revision(site: Site, clock: Clock) -> None:
    before = number(site.database)
    clock.advance(8)
    again = json.loads(site.text()) | {"meta": {"revisionId": 99}}
    assert site.hears(json.dumps(again))
    assert (number(site.database), site.upstream.age()) == (before, 0)


def test_of_two_processes_the_slower_does_not_put_back_an_older_state(site: Site, clock: Clock) -> None:
    other, old = Process(site.database, clock), site.text()
    other.state.refresh()
    site.admin.do(GENERATION, Switch(on=False))
    new = site.text()
    assert site.polls()
    assert not other.upstream.take(document({"name": "between", "enabled": True, "strategies": []}), '"1"')
    other.state.refresh()
    assert other.hears(new, '"2"')
    assert other.decides() == "no: flag_off"
    assert other.hears(old, '"3"')
    assert site.decides() == "granted"


def test_a_flag_that_is_off_there_is_off_here(site: Site) -> None:
    site.admin.edit(GENERATION, enabled=False)
    assert site.polls()
    assert site.decides() == "no: flag_off"


def test_a_flag_that_is_gone_there_is_off_here(site: Site) -> None:
    assert site.hears(document({"name": "another", "enabled": True, "strategies": []}))
    assert site.decides() == "no: flag_off"


def test_what_is_let_in_by_hand_there_is_not_let_in_here(site: Site) -> None:
    site.admin.edit(GENERATION, add=strategy_json({"name": "default", "title": "everybody"}))
    assert site.polls()
    assert site.state.snapshot.upstream is not None
    assert site.state.snapshot.upstream.evaluate(GENERATION, {}) is not None
    assert site.decides("globex") == "no: not_granted"


def test_grants_halts_and_kills_count_at_once(site: Site) -> None:
    site.grants.add(ALICE, "globex", GENERATION, "in")
    assert site.decides("globex") == "granted"
    site.kill(tenant="globex")
    assert site.decides("globex") == "no: tenant_halted"
    site.kill()
    assert site.decides("acme") == "no: killed"
    assert site.admin.flags[GENERATION].enabled


def test_a_kill_is_mirrored_in_what_is_served_before_unleash_has_heard_of_it(site: Site) -> None:
    site.kill()
    site.state.refresh()
    (served,) = site.state.snapshot.flags["production"].document["features"]
    assert served["enabled"] is False
    site.features.revive(ALICE, GENERATION, "on", wait=0)
    assert site.decides("acme") == "granted"


def test_narrowing_counts_at_once_and_widening_when_unleash_has_it(site: Site) -> None:
    site.roll_back("internal")
    assert site.decides("acme") == "no: not_in_phase"
    site.advance("general_availability")
    assert site.decides("globex") == "no: flag_off"
    site.work()
    site.polls()
    assert site.decides("globex") == "ga"


def test_each_new_state_stands_in_the_audit_log_with_what_changed(site: Site) -> None:
    site.admin.edit(GENERATION, enabled=False)
    site.polls()
    with site.database.read() as tx:
        row = audit.about(tx, None, ["unleash"], limit=10)[-1]
    assert (row["action"], row["actor"]) == ("flag.fetched", "system:unleash")
    assert row["before"]["flags"][GENERATION]["enabled"] is True
    assert row["after"]["flags"][GENERATION]["enabled"] is False


def test_while_the_database_is_away_nothing_is_taken_and_it_is_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def away() -> Any:
        raise LedgerUnavailable
        yield

    site.admin.edit(GENERATION, enabled=False)
    with monkeypatch.context() as patch:
        patch.setattr(site.database, "write", away)
        assert not site.upstream.take(site.text(), '"2"')
        assert site.upstream.etag() == '"1"'
        site.upstream.confirm(site.clock() + 20)
    assert site.polls()
    assert site.decides() == "no: flag_off"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "does not answer"),
        (401, "refused the token"),
        (403, "one for a backend"),
        (404, "ROLLOUT_UNLEASH_URL"),
        (200, "without a state"),
        (503, "answered 503"),
    ],
)
def test_what_is_wrong_with_the_server_is_shown(site: Site, status: int | None, said: str) -> None:
    site.upstream.miss(status)
    assert said in site.pushes.upstream()["feed"]["trouble"]


def test_an_etag_that_is_too_long_is_not_kept(site: Site) -> None:
    site.admin.edit(GENERATION, enabled=False)
    assert site.hears(site.text(), "x" * 1000)
    assert site.upstream.etag() == ""
