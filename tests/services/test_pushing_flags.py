"""Our phases get to Unleash: left with the change, written in order, read back; what is changed by hand there is told, not taken over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clocks import Clock
from doors import ALICE
from upstreams import SERVER, Site

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.flag_push import Add, Put, Remove, Switch, strategy_json
from rollout.core.jobs import JobFailed
from rollout.core.steps import Advance
from rollout.db import flag_push
from rollout.db.engine import Database
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Changes
from rollout.services.flag_push import ATTEMPTS, KIND, RETRY_SECONDS, FlagPushes

BY_HAND = strategy_json({"name": "default", "title": "by hand"})


@pytest.fixture
def site(database: Database, clock: Clock) -> Site:
    return Site(database, clock)


def titles(site: Site) -> list[str]:
    return [item["title"] for _, item in site.admin.flags[GENERATION].strategies]


def revisions(site: Site) -> tuple[int, int | None]:
    push = site.push()
    return push["wanted_revision"], push["pushed_revision"]


def test_a_new_plan_is_written_strategy_by_strategy_and_switched_on_last(site: Site) -> None:
    assert site.push()["state"] == "waiting"
    assert site.work() == ["pushed"]
    created, first, second, last = site.admin.calls
    assert created == f"create {GENERATION}"
    assert isinstance(first, Add)
    assert isinstance(second, Add)
    assert last == Switch(on=True)
    assert titles(site) == ["phase:internal", "phase:private_beta"]
    assert {"tenantId", "grant", "halt", "cohorts"} <= site.admin.known
    push = site.push()
    assert (push["state"], push["drift"], push["error"]) == ("pushed", [], None)
    assert push["wanted_revision"] == push["pushed_revision"]


def test_an_advance_adds_and_a_roll_back_takes_the_widest_away_first(site: Site) -> None:
    site.work()
    site.advance("percentage")
    wanted, pushed = revisions(site)
    assert wanted > (pushed or 0)
    assert site.push()["state"] == "waiting"
    site.work()
    assert titles(site)[2:] == ["phase:wider_beta", "phase:percentage"]
    site.admin.calls.clear()
    widest = [id for id, _ in site.admin.flags[GENERATION].strategies][:0:-1]
    site.roll_back("internal")
    site.work()
    assert site.admin.calls == [Remove(id) for id in widest]
    assert site.push()["state"] == "pushed"


def test_a_kill_is_mirrored_as_off_and_a_revival_as_on(site: Site) -> None:
    site.work()
    site.kill()
    assert site.work() == ["pushed"]
    assert site.admin.calls[-1] == Switch(on=False)
    site.features.revive(ALICE, GENERATION, "on", wait=0)
    site.work()
    assert site.admin.calls[-1] == Switch(on=True)


def test_what_moves_no_flag_leaves_no_push(site: Site) -> None:
    site.work()
    site.kill(tenant="acme")
    site.features.kill(ALICE, ANALYSIS, "stop", wait=0)
    site.requests.submit(ALICE, GENERATION, Advance(None), "try", dry_run=True)
    assert site.work() == []
    assert site.push()["state"] == "pushed"


def test_while_unleash_is_away_the_push_is_shown_as_failed_and_tried_again_each_half_minute(
    site: Site, clock: Clock
) -> None:
    site.admin.away = "Unleash does not answer."
    assert site.work() == ["Unleash does not answer."]
    push = site.push()
    assert (push["state"], push["error"]) == ("failed", "Unleash does not answer.")
    (job,) = site.jobs.page(kind=KIND, cursor=None, limit=10)
    assert (job.state, job.run_at, job.max_attempts) == ("ready", int(clock()) + RETRY_SECONDS, ATTEMPTS)
    site.advance("wider_beta")
    site.admin.away = None
    clock.advance(RETRY_SECONDS)
    assert site.work() == ["pushed", "compared"]
    assert titles(site)[-1] == "phase:wider_beta"
    assert site.push()["state"] == "pushed"


def test_a_push_that_breaks_off_is_taken_up_where_it_stands(site: Site, clock: Clock) -> None:
    def leaves() -> object:
        yield
        site.admin.away = "Unleash answered 503."
        yield

    site.admin.meanwhile = iter(leaves())
    assert site.work() == ["Unleash answered 503."]
    assert titles(site) == ["phase:internal"]
    assert not site.admin.flags[GENERATION].enabled
    site.admin.away = None
    clock.advance(RETRY_SECONDS)
    site.work()
    assert [type(call) for call in site.admin.calls[1:]] == [Add, Add, Switch]


def test_a_change_by_hand_there_is_told_as_drift_and_stays(site: Site) -> None:
    site.work()
    site.polls()
    site.admin.edit(GENERATION, add=BY_HAND)
    site.polls()
    site.admin.calls.clear()
    assert site.work() == ["compared"]
    push = site.push()
    assert push["state"] == "drift"
    assert push["drift"] == [{"what": "strategy", "name": "by hand", "wanted": None, "actual": BY_HAND}]
    assert site.admin.calls == []
    assert "phase:by hand" not in [phase["key"] for phase in site.plans.get(GENERATION)["phases"]]


def test_drift_that_was_undone_there_is_no_longer_told(site: Site) -> None:
    site.work()
    before = site.admin.flags[GENERATION]
    for there in (replace(before, enabled=False), before):
        site.admin.flags[GENERATION] = there
        site.polls()
        site.work()
        assert site.push()["state"] == ("pushed" if there.enabled else "drift")


def test_a_later_change_writes_our_strategies_anew_and_leaves_the_others(site: Site) -> None:
    site.work()
    id, ours = site.admin.flags[GENERATION].strategies[0]
    site.admin.do(GENERATION, Put(id, {**ours, "constraints": []}))
    site.admin.edit(GENERATION, add=BY_HAND)
    site.advance("wider_beta")
    site.work()
    strategies = [item for _, item in site.admin.flags[GENERATION].strategies]
    assert strategies[0] == ours
    assert [item["name"] for item in site.push()["drift"]] == ["by hand"]
    assert BY_HAND in strategies


def test_what_was_switched_off_there_is_switched_on_by_a_person_alone(site: Site) -> None:
    site.work()
    site.polls()
    site.admin.edit(GENERATION, enabled=False)
    site.polls()
    site.work()
    site.advance("wider_beta")
    site.work()
    assert not site.admin.flags[GENERATION].enabled
    assert site.push()["state"] == "drift"
    wanted = site.pushes.push(ALICE, GENERATION, "it was a mistake")
    assert wanted["state"] == "waiting"
    site.work()
    assert site.admin.flags[GENERATION].enabled
    assert site.push()["state"] == "pushed"


def test_a_flag_that_was_archived_there_is_told(site: Site) -> None:
    site.work()
    site.polls()
    del site.admin.flags[GENERATION]
    site.hears('{"features": [{"name": "other", "enabled": true, "strategies": []}]}')
    site.work()
    (drift,) = site.push()["drift"]
    assert (drift["what"], drift["actual"]) == ("flag", False)


def test_a_plan_that_was_there_before_the_server_is_written_once(database: Database, clock: Clock) -> None:
    site = Site(database, clock)
    with database.write() as tx:
        tx.execute(flag_push.flag_push.delete())
    site.work()
    site.admin.flags.clear()
    site.pushes.look()
    site.pushes.look()
    assert site.work() == ["pushed"]
    assert site.push()["state"] == "pushed"
    site.pushes.look()
    assert site.work() == []


def test_what_differed_is_compared_anew_now_and_then(site: Site) -> None:
    site.work()
    before = site.admin.flags[GENERATION]
    site.polls()
    site.admin.edit(GENERATION, add=BY_HAND)
    site.work()
    assert site.push()["state"] == "drift"
    site.admin.flags[GENERATION] = before
    site.pushes.look()
    assert site.work() == ["compared"]
    assert site.push()["state"] == "pushed"


def test_one_process_at_a_time_writes_a_flag(site: Site) -> None:
    site.pushes.push(ALICE, GENERATION, "once more")
    first, second = site.jobs.claim({KIND}, 16)
    with site.pushes._alone(GENERATION, "another"), pytest.raises(JobFailed, match="another process") as told:
        site.pushes.carry_out(first)
    assert told.value.retry_after == 2
    assert site.pushes.carry_out(second)["done"] == "pushed"


def test_a_server_that_does_not_keep_what_is_written_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(site.admin, "do", lambda _flag, call: asked.append(call))
    (said,) = site.work()
    assert said.startswith("After 100 calls the flag is not yet as it was written")
    assert len(asked) == 100


def test_a_server_that_answers_slowly_does_not_outlast_the_lease(site: Site, clock: Clock) -> None:
    site.admin.meanwhile = iter(lambda: clock.advance(40), 0)
    (said,) = site.work()
    assert said.startswith("After 2 calls")


def test_without_a_server_nothing_is_pushed(database: Database, clock: Clock) -> None:
    site = Site(database, clock)
    alone = FlagPushes(database, Changes(database), site.new_id, None, site.admin)
    with pytest.raises(Conflict, match="no Unleash server"):
        alone.push(ALICE, GENERATION, "try")
    assert alone.upstream() == {"mode": "embedded", "feed": None, "pushes": []}
    (job,) = site.jobs.claim({KIND}, 16)
    with pytest.raises(JobFailed, match="no Unleash server"):
        alone.carry_out(job)
    alone.look()


def test_a_push_of_what_has_no_plan_is_refused(site: Site) -> None:
    with pytest.raises(NotFound):
        site.pushes.push(ALICE, "image-editing", "try")


def test_a_person_sees_the_server_and_never_its_token(site: Site) -> None:
    site.work()
    site.polls()
    shown = site.pushes.upstream()
    assert shown["mode"] == "unleash"
    assert (shown["feed"]["url"], shown["feed"]["flags"], shown["feed"]["fresh"]) == (SERVER.url, 1, True)
    assert "secret" not in str(shown)
