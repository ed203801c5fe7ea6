"""What an operator sees first: how features stand, what needs somebody, what happened in 24 hours; on both databases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from clocks import Clock
from doors import ALICE, SECRET
from phases import hold_request, wire_phases, worker
from uses import Uses, add_generation, analysis, generation

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.feedback import Mark, Opinion
from rollout.core.figures import Thumbs
from rollout.core.grants import Asking
from rollout.core.overview import Spike
from rollout.core.refusals import Refusal
from rollout.core.tenants import NewKey
from rollout.db import overview as queries
from rollout.db import refusals
from rollout.db.engine import Database
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.ids import ids_by
from rollout.services.meters import Meters
from rollout.services.overview import KEPT_SECONDS, Overview

DAY, HOUR = 86_400, 3600


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    wired = wire_phases(database, clock)
    changes, new_id = Changes(database), ids_by(clock)
    wired.meters = Meters(database, changes, new_id)
    wired.feedback = Feedback(database, changes, SECRET, new_id, clock)
    wired.overview = Overview(database, wired.plans, wired.ledger, wired.workers)
    wired.uses = Uses(database)
    return wired


def rate(services: SimpleNamespace, rating: Any, times: int) -> list[str]:
    """So many different people rate; the ids of what they said."""
    made = f"gen_{services.new_id('x')}"
    add_generation(services.database, made)
    people = [f"{made}-{number}" for number in range(times)]
    return [services.feedback.submit("acme", made, name, Opinion(rating))[0].id for name in people]


UNITS = {"raised": "image", "closed": "usd_micro", "same": "request"}


def limit(services: SimpleNamespace, name: str, taken: int, **fields: Any) -> None:
    """A meter of acme with a cap of 100, of which `taken` is held."""
    stated = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 100, "name": name, **fields}
    services.meters.add(ALICE, "acme", stated, "as agreed")
    facts = services.state.fresh_facts("acme")
    meters = tuple(meter for meter in facts.meters if meter.name == name)
    request = hold_request("acme", meters=meters, meter_rev=facts.meter_rev, amounts={stated["unit"]: taken})
    with services.ledger.hold(request) as held:
        held.unknown("for the test")


def test_where_nothing_waits_nothing_needs_you(services: SimpleNamespace) -> None:
    assert services.overview.needs_you().nothing


def test_access_requests_that_wait_are_counted_and_the_oldest_is_named(
    services: SimpleNamespace, clock: Clock
) -> None:
    for tenant in ("globex", "acme"):
        decision = services.features.decide(services.state.facts(tenant), GENERATION)
        services.access.ask(ALICE, decision, Asking("covers"))
        clock.advance(60)
    asked = services.overview.needs_you().asked
    assert (asked.count, asked.oldest.tenant_id) == (2, "globex")
    services.access.deny(ALICE, asked.oldest.id, "no")
    assert services.overview.needs_you().asked.oldest.tenant_id == "acme"


def test_hard_limits_of_which_more_than_four_fifths_are_taken_are_named_the_fullest_first(
    services: SimpleNamespace, clock: Clock
) -> None:
    limit(services, "nearly", 81)
    limit(services, "over", 100, period="life")
    limit(services, "half", 80, period="month")
    limit(services, "counted-only", 99, hard=False, level="tenant")
    limit(services, "rate", 99, unit="request", period="minute")
    limit(services, "archived", 99, unit="usd_micro")
    services.meters.archive(ALICE, services.meters.named("acme", "archived").id, "over")
    full = services.overview.needs_you().full
    assert [(one.meter.name, one.used + one.held, one.cap) for one in full] == [
        ("over", 100, 100),
        ("nearly", 81, 100),
    ]
    clock.advance(DAY)
    assert [one.meter.name for one in services.overview.needs_you().full] == ["over"], "a new day is empty"


def test_a_limit_is_as_full_as_the_cap_of_now_says_and_those_of_each_end_user_are_theirs(
    services: SimpleNamespace, clock: Clock
) -> None:
    for name, taken, planned in (("raised", 90, 1000), ("closed", 91, 0), ("same", 92, None)):
        limit(services, name, taken, period="life", unit=UNITS[name])
        if planned is not None:
            meter = services.meters.named("acme", name)
            fields = {"cap": planned, "effective_at": int(clock()) + 60}
            services.meters.change(ALICE, meter.id, fields, "from the next minute on")
    limit(services, "each", 99, level="end_user")

    def full() -> list[str]:
        return [one.meter.name for one in services.overview.needs_you().full]

    assert full() == ["same", "closed", "raised"]
    clock.advance(60)
    assert full() == ["same"]


def test_holds_of_which_nobody_knows_how_they_ended_are_summed(
    services: SimpleNamespace, clock: Clock
) -> None:
    began = int(clock())
    services.uses.unknown(generation("gen_1"), 300)
    clock.advance(60)
    services.uses.unknown(generation("gen_2"), 500)
    services.uses.settled(generation("gen_3"), 700)
    doubt = services.overview.needs_you().doubt
    assert (doubt.count, doubt.reserved_usd_micro, doubt.charged_at) == (2, 800, began + 900)


def test_bad_ratings_need_somebody_until_they_are_sorted(services: SimpleNamespace) -> None:
    rate(services, "up", 3)
    sorted_out, spam, taken_back, *_ = rate(services, "down", 5)
    assert services.overview.needs_you().bad == 5
    services.feedback.set_state(ALICE, sorted_out, "resolved", "told the vendor")
    services.feedback.set_states(ALICE, [Mark(spam, None, "spam")], "a script")
    services.feedback.withdraw("acme", taken_back)
    assert services.overview.needs_you().bad == 2


def test_a_day_of_bad_ratings_stands_out_against_the_week_before(
    services: SimpleNamespace, clock: Clock
) -> None:
    rate(services, "down", 4)  # longer ago than the week that is looked at
    clock.advance(5 * DAY)
    rate(services, "up", 18)
    rate(services, "down", 2)
    clock.advance(4 * DAY)
    spam, *_ = rate(services, "down", 5)
    services.feedback.set_state(ALICE, spam, "spam", "a script")
    rate(services, "up", 6)
    spike = services.overview.needs_you().spike
    assert spike == Spike(lately=Thumbs(6, 4), before=Thumbs(18, 2))


@pytest.mark.parametrize(
    ("lately", "before", "is_one"),
    [
        (Thumbs(6, 4), Thumbs(18, 2), True),
        (Thumbs(8, 2), Thumbs(18, 2), True),
        (Thumbs(5, 4), Thumbs(18, 2), False),  # too few
        (Thumbs(9, 1), Thumbs(99, 1), False),  # ten times as many, and only nine points more
        (Thumbs(4, 6), Thumbs(12, 8), False),  # twenty points more, and less than twice as many
        (Thumbs(0, 50), Thumbs(), False),  # nothing to compare with
        (Thumbs(), Thumbs(18, 2), False),
    ],
)
def test_a_spike_is_twice_as_bad_ten_points_worse_and_among_enough(
    lately: Thumbs, before: Thumbs, is_one: bool
) -> None:
    assert Spike(lately, before).is_one is is_one


def test_what_was_stopped_is_named_until_it_is_revived(services: SimpleNamespace) -> None:
    services.features.kill(ALICE, GENERATION, "smoke")
    services.features.kill(ALICE, ANALYSIS, "noise", tenant="acme")
    stopped = services.overview.needs_you().stopped
    assert [(kill.feature, kill.tenant_id, kill.reason) for kill in stopped] == [
        (GENERATION, "*", "smoke"),
        (ANALYSIS, "acme", "noise"),
    ]
    services.features.revive(ALICE, GENERATION, "aired")
    services.features.revive(ALICE, ANALYSIS, "quiet", tenant="acme")
    assert services.overview.needs_you().stopped == []


def test_workers_that_fell_silent_are_counted(services: SimpleNamespace, clock: Clock) -> None:
    worker(services, "one", clock).register()
    clock.advance(60)
    worker(services, "two", clock).register()
    assert services.overview.needs_you().gone == 1


def test_features_tell_their_phase_who_is_in_and_what_runs(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    with services.ledger.hold(hold_request("acme")) as held:
        generating, analysing = services.overview.features()
        held.void("for the test")
    assert (generating.state, generating.phase, generating.inside.inside, generating.running) == (
        "running", "Private beta", 1, 1,
    )  # fmt: skip
    assert (analysing.state, analysing.phase, analysing.inside) == ("on", None, None)
    services.grants.add(ALICE, "globex", GENERATION, "partner")
    services.features.kill(ALICE, GENERATION, "smoke")
    services.features.kill(ALICE, ANALYSIS, "noise", tenant="acme")
    generating, analysing = services.overview.features()
    assert (generating.state, generating.inside.inside) == ("stopped", 2), "a change is counted at once"
    assert analysing.halts == 1


def test_the_last_day_adds_up_calls_by_live_keys(services: SimpleNamespace, clock: Clock) -> None:
    rehearsing = services.keys.add(ALICE, "acme", NewKey("rehearsal", "test"), "test").key.id
    services.uses.settled(generation("gen_0"), 999, images=1)
    clock.advance(DAY - HOUR // 2)
    services.uses.settled(generation("gen_1"), 700, images=2, usage={"input": 1})
    services.uses.settled(generation("gen_2", api_key_id=rehearsing), 50, images=1)
    services.uses.void(generation("gen_3"), 300)
    clock.advance(HOUR + 60)
    services.uses.unknown(generation("gen_4"), 400)
    services.uses.settled(analysis("anl_1"), 30)
    day = services.overview.last_day()
    made, analysed = day.by_feature[GENERATION], day.by_feature[ANALYSIS]
    assert (made.calls, made.failed, made.pictures, made.cost_usd_micro, made.pending_usd_micro) == (
        2, 1, 2, 700, 400,
    )  # fmt: skip
    assert (analysed.calls, analysed.cost_usd_micro) == (1, 30)
    assert (day.total.calls, day.total.cost_usd_micro) == (3, 730)
    assert (day.since, day.until) == (int(clock()) - DAY, int(clock()))
    assert len(day.hours) == 24
    assert [calls for _, calls in day.hours][-2:] == [1, 2]
    assert sum(calls for _, calls in day.hours) == 3


def test_the_last_day_counts_what_was_refused_by_code(services: SimpleNamespace, clock: Clock) -> None:
    def refuse(number: int, code: str, ago: int) -> Refusal:
        at = int(clock()) - ago
        return Refusal("acme", f"req_{number}", at, "POST", "/x", 429, code, "no", {}, "key_1", None)

    told = [("old", DAY + 1), ("full", 5), ("busy", 4), ("full", DAY - 5)]
    with services.database.write() as tx:
        refusals.add(tx, [refuse(number, code, ago) for number, (code, ago) in enumerate(told)])
    assert services.overview.last_day().refused == [("full", 2), ("busy", 1)]


def test_of_a_day_with_too_many_calls_the_latest_are_counted_and_it_says_since_when(
    services: SimpleNamespace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "COUNTED", 2)
    for number in range(4):
        services.uses.settled(generation(f"gen_{number}"), 10)
        clock.advance(100)
    day = services.overview.last_day()
    assert day.total.calls == 2
    assert int(clock()) - 300 < day.since <= int(clock()) - 200


def test_the_last_day_is_kept_for_a_moment_and_then_added_up_anew(
    services: SimpleNamespace, clock: Clock
) -> None:
    assert services.overview.last_day().total.calls == 0
    services.uses.settled(generation("gen_1"), 700)
    clock.advance(KEPT_SECONDS - 1)
    assert services.overview.last_day().total.calls == 0
    clock.advance(1)
    assert services.overview.last_day().total.calls == 1
