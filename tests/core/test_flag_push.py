"""The way from whatever stands at Unleash to a plan's flag: it ends, and lets nobody in who is neither in before nor after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rollout.core.flag_push import (
    Add,
    Call,
    FlagPush,
    Put,
    Remove,
    Sort,
    Standing,
    Strategy,
    Switch,
    context_fields,
    differences,
    next_call,
    push_json,
    strategy_json,
)

PHASES = "abcde"
TENANTS = range(100)
FLAG = "image-generation"
HAND_MADE = strategy_json({"name": "default", "title": "by hand"})


def share(phase: str, tenants: int) -> Strategy:
    """Lets in the first so many tenants."""
    bound = {"contextName": "partnerBucket", "operator": "NUM_LT", "values": [], "value": str(tenants)}
    return strategy_json({"name": "flexibleRollout", "title": f"phase:{phase}", "constraints": [bound]})


def flag(*strategies: Strategy, enabled: bool = True) -> dict[str, Any]:
    return {"name": FLAG, "enabled": enabled, "strategies": list(strategies)}


def standing(*strategies: Strategy, enabled: bool = True) -> Standing:
    return Standing(enabled, tuple((f"id-{at}", item) for at, item in enumerate(strategies)))


def admitted(enabled: bool, strategies: list[Strategy]) -> set[int]:
    ours = [item for item in strategies if item["constraints"]] if enabled else []
    return {tenant for item in ours for tenant in TENANTS if tenant < int(item["constraints"][0]["value"])}


def done(there: Standing, call: Call) -> Standing:
    """What Unleash makes of a call: it switches off what lost its last strategy."""
    kept = dict(there.strategies)
    match call:
        case Switch(on):
            assert kept or not on, "Unleash would let everybody in"
            return replace(there, enabled=on)
        case Add(strategy):
            kept[f"new-{strategy['title']}"] = strategy
        case Put(id, strategy):
            kept[id] = strategy
        case Remove(id):
            del kept[id]
        case Sort(ids):
            kept = {id: kept[id] for id in ids}
    return Standing(there.enabled and bool(kept), tuple(kept.items()))


def way(wanted: dict[str, Any], there: Standing, **how: bool) -> list[tuple[Call, Standing]]:
    steps: list[tuple[Call, Standing]] = []
    while (call := next_call(wanted, there, **how)) is not None:
        there = done(there, call)
        steps.append((call, there))
        assert len(steps) < 50
    return steps


wide = st.lists(st.integers(0, 100), min_size=1, max_size=5).map(sorted)
wanted_flags = st.builds(
    lambda bounds, on: flag(*(share(PHASES[at], n) for at, n in enumerate(bounds)), enabled=on),
    wide,
    st.booleans(),
)
found = st.builds(
    lambda items, on: standing(*items, enabled=on and bool(items)),
    st.lists(
        st.one_of(
            st.builds(share, st.sampled_from(PHASES), st.integers(0, 100)),
            st.just(HAND_MADE),
            st.builds(lambda p, n: {**share(p, n), "disabled": True}, st.sampled_from(PHASES), st.just(100)),
        ),
        max_size=6,
    ),
    st.booleans(),
)


@given(wanted_flags, found)
def test_the_way_ends_at_the_flag_and_leaves_what_is_not_ours(
    wanted: dict[str, Any], there: Standing
) -> None:
    steps = way(wanted, there)
    end = steps[-1][1] if steps else there
    others = [item for _, item in end.strategies if item == HAND_MADE]
    assert [item for _, item in there.strategies if item == HAND_MADE] == others
    assert differences(wanted, end) == [
        {"what": "strategy", "name": "by hand", "wanted": None, "actual": HAND_MADE} for _ in others
    ]


@given(wanted_flags, wanted_flags)
def test_nobody_is_let_in_on_the_way_who_is_neither_in_before_nor_after(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    there = standing(*before["strategies"], enabled=before["enabled"])
    allowed = admitted(before["enabled"], before["strategies"]) | admitted(
        after["enabled"], after["strategies"]
    )
    for _, state in way(after, there):
        assert admitted(state.enabled, [item for _, item in state.strategies]) <= allowed


def test_a_new_flag_gets_its_strategies_first_and_is_switched_on_last() -> None:
    wanted = flag(share("a", 10), share("b", 20))
    calls = [call for call, _ in way(wanted, Standing(False))]
    assert calls == [Add(share("a", 10)), Add(share("b", 20)), Switch(on=True)]


def test_a_roll_back_takes_away_the_widest_first() -> None:
    there = standing(share("a", 10), share("b", 20), share("c", 100))
    assert [call for call, _ in way(flag(share("a", 10)), there)] == [Remove("id-2"), Remove("id-1")]


def test_a_kill_switches_off_before_anything_else() -> None:
    killed = flag(share("a", 10), enabled=False)
    calls = [call for call, _ in way(killed, standing(share("a", 10), share("b", 20)))]
    assert calls == [Switch(on=False), Remove("id-1")]


def test_an_edit_is_put_in_its_place_and_an_order_set_right() -> None:
    there = standing(share("b", 20), HAND_MADE, share("a", 90))
    calls = [call for call, _ in way(flag(share("a", 10), share("b", 20)), there)]
    assert calls == [Put("id-2", share("a", 10)), Sort(("id-2", "id-0", "id-1"))]


def test_what_somebody_switched_off_there_stays_off_until_it_is_asked_for() -> None:
    there = standing(share("a", 10), enabled=False)
    assert next_call(flag(share("a", 10)), there, may_open=False) is None
    assert next_call(flag(share("a", 10)), there) == Switch(on=True)


def test_each_difference_says_what_is_wanted_and_what_is_there() -> None:
    wanted = flag(share("a", 10), share("b", 20))
    there = standing(share("b", 20), share("a", 30), HAND_MADE, enabled=False)
    assert differences(wanted, there) == [
        {"what": "enabled", "name": FLAG, "wanted": True, "actual": False},
        {"what": "strategy", "name": "phase:a", "wanted": share("a", 10), "actual": share("a", 30)},
        {"what": "strategy", "name": "by hand", "wanted": None, "actual": HAND_MADE},
        {
            "what": "order",
            "name": "strategies",
            "wanted": ["phase:a", "phase:b"],
            "actual": ["phase:b", "phase:a"],
        },
    ]
    assert differences(wanted, None) == [{"what": "flag", "name": FLAG, "wanted": True, "actual": False}]
    assert differences(wanted, standing(share("a", 10), share("b", 20))) == []


def test_what_unleash_adds_to_a_strategy_or_leaves_out_is_no_difference() -> None:
    ours = share("a", 10)
    theirs = {
        **ours,
        "id": "01M8",
        "sortOrder": 3,
        "milestoneId": None,
        "constraints": [{"contextName": "partnerBucket", "operator": "NUM_LT", "value": "10"}],
    }
    del theirs["disabled"], theirs["segments"]
    assert strategy_json(theirs) == ours


def test_a_push_is_in_one_of_four_states() -> None:
    pushed = FlagPush(FLAG, 7, 7, (), None, 0)
    drift = replace(pushed, drift=({"what": "enabled", "name": FLAG, "wanted": True, "actual": False},))
    waiting = replace(drift, wanted_revision=8)
    failed = replace(waiting, error="Unleash does not answer.")
    never = FlagPush(FLAG, 7, None, (), None, 0)
    assert [push_json(one)["state"] for one in (pushed, drift, waiting, failed, never)] == [
        "pushed",
        "drift",
        "waiting",
        "failed",
        "waiting",
    ]
    assert drift.was_switched_off
    assert not pushed.was_switched_off


def test_the_fields_that_a_flag_looks_at_are_known() -> None:
    assert context_fields(flag(share("a", 10))) == {"tenantId", "partnerBucket"}
