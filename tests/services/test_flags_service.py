"""Flags beyond plans: what is written is served and decided at once; each slip is refused or asked about, with a pointer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock
from doors import ALICE, BOB, wire

from rollout.core.decisions import GENERATION
from rollout.core.flags import PRODUCTION
from rollout.db.engine import Database
from rollout.db.tables import flag_metric
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.services.changes import Changes
from rollout.services.flags import Flags
from rollout.services.segments import Segments

EVERYBODY = {"name": "default"}


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    wired = wire(database, clock)
    wired.flags, wired.segments = (
        Flags(database, Changes(database), clock),
        Segments(database, Changes(database)),
    )
    return wired


def flag(name: str = "new-editor", *strategies: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": name, "enabled": True, "strategies": list(strategies) or [EVERYBODY], **members}


def limited(**constraint: Any) -> dict[str, Any]:
    return {"name": "default", "constraints": [{"contextName": "userId", **constraint}]}


def is_on(services: SimpleNamespace, name: str, environment: str = PRODUCTION, **context: Any) -> bool | None:
    services.state.refresh()
    answer = services.state.snapshot.flags[environment].answer(name, context)
    return None if answer is None else bool(answer["feature_enabled"])


def test_a_flag_is_served_and_decided_at_once(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag("new-editor", limited(operator="IN", values=["ana"])), "beta")
    assert is_on(services, "new-editor", userId="ana") is True
    assert is_on(services, "new-editor", userId="bob") is False
    served = services.state.snapshot.gates.document["features"]
    assert [one["name"] for one in served] == [GENERATION, "new-editor"]
    assert served[1] == services.flags.get("new-editor").document


def test_each_environment_has_its_own_flag_of_a_name(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag(), "x", environment="development")
    services.flags.add(ALICE, flag(enabled=False), "x")
    assert is_on(services, "new-editor", "development") is True
    assert is_on(services, "new-editor") is False
    assert services.flags.environments() == ["development", "production"]
    with pytest.raises(InvalidRequest, match="environment"):
        services.flags.add(ALICE, flag(), "x", environment="../prod")


def test_a_slip_is_refused_with_all_that_is_wrong_and_nothing_is_kept(services: SimpleNamespace) -> None:
    wrong = flag("new-editor", limited(operator="NUM_GT", value="many"), {"name": "nearby"})
    with pytest.raises(InvalidRequest) as refused:
        services.flags.add(ALICE, wrong, "x")
    assert [one["param"] for one in refused.value.members["errors"]] == [
        "strategies.0.constraints.0.value",
        "strategies.1.name",
    ]
    assert refused.value.members["param"] == "strategies.0.constraints.0.value"
    with pytest.raises(NotFound):
        services.flags.get("new-editor")


def test_a_warning_is_refused_until_it_is_accepted(services: SimpleNamespace) -> None:
    doubtful = flag("new-editor", limited(operator="NOT_IN", values=["ana"]))
    with pytest.raises(InvalidRequest) as refused:
        services.flags.add(ALICE, doubtful, "x")
    (warning,) = refused.value.members["warnings"]
    assert warning["param"] == "strategies.0.constraints.0"
    kept = services.flags.add(ALICE, doubtful, "meant", accept_warnings=True)
    assert [vars(doubt) for doubt in kept.doubts] == [warning]
    assert is_on(services, "new-editor") is True


def test_an_expression_that_never_ends_is_refused(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest, match="never end"):
        services.flags.add(ALICE, flag("x", limited(operator="REGEX", value="^(a+)+$")), "x")


@pytest.mark.parametrize("name", ["image-generation", "image-analysis"])
def test_the_name_of_a_plans_flag_is_refused(services: SimpleNamespace, name: str) -> None:
    with pytest.raises(Conflict, match="belongs to the plan"):
        services.flags.add(ALICE, flag(name), "x")


def test_a_name_that_is_taken_is_refused_archived_or_not(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag(), "x")
    with pytest.raises(Conflict, match="already"):
        services.flags.add(ALICE, flag(), "x")
    services.flags.archive(ALICE, "new-editor", "done")
    with pytest.raises(Conflict) as refused:
        services.flags.add(ALICE, flag(), "x")
    assert "Revive" in refused.value.remedy_text


def test_a_change_is_whole_versioned_and_live_at_once(services: SimpleNamespace) -> None:
    first = services.flags.add(ALICE, flag(description="one"), "x").flag
    changed = flag("new-editor", limited(operator="IN", values=["acme", "globex"]))
    second = services.flags.put(BOB, "new-editor", changed, "fewer", based_on=first.version).flag
    assert (second.version, second.document["description"]) == (2, None)
    assert is_on(services, "new-editor", userId="ana") is False
    with pytest.raises(StaleVersion) as stale:
        services.flags.put(ALICE, "new-editor", flag(), "on", based_on=first.version)
    assert stale.value.members["current"]["version"] == 2
    assert services.flags.get("new-editor") == second


def test_what_changes_nothing_leaves_no_trace(services: SimpleNamespace) -> None:
    added = services.flags.add(ALICE, flag(), "x").flag
    before = services.audit.page(limit=1)
    assert services.flags.put(ALICE, "new-editor", {**added.document}, "again").flag == added
    services.flags.put(ALICE, "new-editor", flag(description="two"), "trial", dry_run=True)
    assert services.flags.get("new-editor") == added
    assert services.audit.page(limit=1) == before


def test_a_flag_keeps_its_name(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag(), "x")
    with pytest.raises(InvalidRequest, match="keeps its name"):
        services.flags.put(ALICE, "new-editor", flag("other"), "x")


def test_every_change_is_audited_whole(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag(), "begin")
    services.flags.put(BOB, "new-editor", flag(enabled=False), "off", accept_warnings=True)
    services.flags.archive(BOB, "new-editor", "done")
    services.flags.revive(ALICE, "new-editor", "again")
    rows = services.audit.page(limit=4)
    assert [(row["action"], row["actor"], row["reason"]) for row in rows] == [
        ("flag.revived", "token:alice", "again"),
        ("flag.archived", "token:bob", "done"),
        ("flag.changed", "token:bob", "off"),
        ("flag.added", "token:alice", "begin"),
    ]
    assert {row["subject"] for row in rows} == {"production/new-editor"}
    assert rows[2]["before"]["document"]["enabled"] is True
    assert rows[2]["after"]["document"]["enabled"] is False


def test_an_archived_flag_is_not_served_nor_changed_until_it_is_revived(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag(), "x")
    services.flags.archive(ALICE, "new-editor", "done")
    assert is_on(services, "new-editor") is None
    with pytest.raises(Conflict, match="archived"):
        services.flags.put(ALICE, "new-editor", flag(), "x")
    assert [one.name for one in services.flags.page(cursor=None, limit=9, archived=True)] == ["new-editor"]
    services.flags.revive(ALICE, "new-editor", "again")
    assert is_on(services, "new-editor") is True


def test_flags_that_depend_on_each_other(services: SimpleNamespace) -> None:
    child = flag("child", dependencies=[{"feature": "parent"}])
    with pytest.raises(InvalidRequest, match="no flag 'parent'"):
        services.flags.add(ALICE, child, "x")
    services.flags.add(ALICE, flag("parent"), "x")
    services.flags.add(ALICE, child, "x")
    assert is_on(services, "child") is True
    with pytest.raises(InvalidRequest, match="parent -> child -> parent"):
        services.flags.put(ALICE, "parent", flag("parent", dependencies=[{"feature": "child"}]), "x")
    with pytest.raises(Conflict) as refused:
        services.flags.archive(ALICE, "parent", "x")
    assert refused.value.members["flags"] == ["child"]
    services.flags.archive(ALICE, "child", "x")
    services.flags.archive(ALICE, "parent", "x")
    with pytest.raises(InvalidRequest, match="no flag 'parent'"):
        services.flags.revive(ALICE, "child", "x")


def test_a_flag_may_depend_on_a_plans_flag(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag("album", dependencies=[{"feature": GENERATION}]), "x")
    assert is_on(services, "album") is False
    assert is_on(services, "album", properties={"grant": "active", "halt": "0", "tenantId": "acme"}) is True


def test_tenants_that_would_leave_are_counted_and_asked_about(services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "acme", {"attributes": {"region": "eu"}}, "x")
    services.flags.add(ALICE, flag("parent"), "x")
    services.flags.add(ALICE, flag("child", dependencies=[{"feature": "parent"}]), "x")
    in_eu = {"contextName": "region", "operator": "IN", "values": ["eu"]}
    narrowed = flag("parent", {"name": "default", "constraints": [in_eu]})
    with pytest.raises(InvalidRequest) as refused:
        services.flags.put(ALICE, "parent", narrowed, "x")
    told = {one["param"]: one["message"] for one in refused.value.members["warnings"]}
    assert told["strategies"].endswith("any more: 1.")
    services.flags.put(ALICE, "parent", narrowed, "meant", accept_warnings=True)
    assert services.flags.put(ALICE, "parent", flag("parent"), "wider").doubts == []


def test_a_tenant_named_in_capital_letters_is_asked_about(services: SimpleNamespace) -> None:
    named = {"contextName": "tenantId", "operator": "IN", "values": ["Acme", "Nobody"]}
    with pytest.raises(InvalidRequest) as refused:
        services.flags.add(ALICE, flag("x", {"name": "default", "constraints": [named]}), "x")
    (warning,) = refused.value.members["warnings"]
    assert warning["param"] == "strategies.0.constraints.0.values.0"
    assert "acme" in warning["message"]


def test_a_flag_that_nobody_asks_for_in_30_days_is_stale(services: SimpleNamespace, clock: Clock) -> None:
    services.flags.add(ALICE, flag("asked"), "x")
    services.flags.add(ALICE, flag("forgotten"), "x")
    clock.advance(20 * 86_400)
    told = {"environment": PRODUCTION, "flag": "asked", "app_name": "shop", "hour": int(clock.now)}
    with services.database.write() as tx:
        tx.execute(sa.insert(flag_metric).values(**told, yes=1, no=0, variants={}))
    assert services.flags.page(cursor=None, limit=9, stale=True) == []
    clock.advance(10 * 86_400)
    assert [one.name for one in services.flags.page(cursor=None, limit=9, stale=True)] == ["forgotten"]
    shown = services.flags.shown(services.flags.get("asked"))
    assert (shown["stale"], shown["asked_at"]) == (False, "2026-12-12T12:00:00Z")
    with pytest.raises(InvalidRequest) as refused:
        services.flags.put(ALICE, "forgotten", flag("forgotten", enabled=False), "x")
    assert any("30 days" in one["message"] for one in refused.value.members["warnings"])


def test_lists_are_paged_and_searched_by_name(services: SimpleNamespace) -> None:
    for name in ("b-editor", "a-editor", "c_100"):
        services.flags.add(ALICE, flag(name), "x")
    assert [one.name for one in services.flags.page(cursor=None, limit=2)] == ["a-editor", "b-editor"]
    assert [one.name for one in services.flags.page(cursor="b-editor", limit=2)] == ["c_100"]
    assert [one.name for one in services.flags.page(cursor=None, limit=9, search="_1")] == ["c_100"]


# -- segments ------------------------------------------------------------------------------------------------------------


def segment(*values: str, **members: Any) -> dict[str, Any]:
    matching = {"contextName": "userId", "operator": "IN", "values": list(values)}
    return {"name": "testers", "constraints": [matching], **members}


def test_flags_share_a_segment_and_follow_it_at_once(services: SimpleNamespace) -> None:
    kept = services.segments.add(ALICE, segment("ana"), "x").segment
    services.flags.add(ALICE, flag("new-editor", {"name": "default", "segments": [kept.id]}), "x")
    assert is_on(services, "new-editor", userId="ana") is True
    assert is_on(services, "new-editor", userId="bob") is False
    changed = services.segments.put(BOB, kept.id, segment("bob"), "x", based_on=1).segment
    assert changed.version == 2
    assert is_on(services, "new-editor", userId="bob") is True
    with pytest.raises(StaleVersion):
        services.segments.put(ALICE, kept.id, segment("ana"), "x", based_on=1)


def test_a_segment_that_is_used_cannot_be_removed(services: SimpleNamespace) -> None:
    kept = services.segments.add(ALICE, segment("ana"), "x").segment
    using = flag("new-editor", {"name": "default", "segments": [kept.id]})
    services.flags.add(ALICE, using, "x", environment="development")
    services.flags.archive(ALICE, "new-editor", "x", environment="development")
    with pytest.raises(Conflict) as refused:
        services.segments.remove(ALICE, kept.id, "x")
    assert refused.value.members["flags"] == ["development/new-editor"]
    services.flags.revive(ALICE, "new-editor", "x", environment="development")
    services.flags.put(ALICE, "new-editor", flag(), "x", environment="development")
    services.segments.remove(ALICE, kept.id, "x")
    with pytest.raises(NotFound):
        services.segments.get(kept.id)
    with pytest.raises(InvalidRequest, match="no segment"):
        services.flags.add(ALICE, using, "x")


def test_the_number_of_a_removed_segment_is_never_given_again(services: SimpleNamespace) -> None:
    first = services.segments.add(ALICE, segment("ana"), "x").segment
    services.segments.remove(ALICE, first.id, "x")
    assert services.segments.add(ALICE, segment("ana"), "x").segment.id > first.id


def test_a_segment_whose_change_would_make_tenants_leave_asks(services: SimpleNamespace) -> None:
    kept = services.segments.add(ALICE, segment("acme", "globex"), "x").segment
    services.flags.add(ALICE, flag("new-editor", {"name": "default", "segments": [kept.id]}), "x")
    with pytest.raises(InvalidRequest) as refused:
        services.segments.put(ALICE, kept.id, segment("acme"), "x")
    (warning,) = refused.value.members["warnings"]
    assert warning["message"].endswith("any more: 1.")
    assert services.segments.put(ALICE, kept.id, segment("acme"), "x", accept_warnings=True).doubts


def test_segments_are_refused_with_a_pointer_too(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest) as refused:
        services.segments.add(ALICE, {"name": "x", "constraints": [{"contextName": "a"}]}, "x")
    assert refused.value.members["param"] == "constraints.0.operator"
    with pytest.raises(InvalidRequest, match="number"):
        services.segments.add(ALICE, segment("a", id=7), "x")
    services.segments.add(ALICE, segment("a"), "x")
    with pytest.raises(Conflict, match="already"):
        services.segments.add(ALICE, segment("b"), "x")


def test_changes_of_segments_are_audited(services: SimpleNamespace) -> None:
    kept = services.segments.add(ALICE, segment("a"), "begin").segment
    services.segments.put(BOB, kept.id, segment("a", description="more"), "say more")
    services.segments.remove(BOB, kept.id, "done")
    rows = services.audit.page(limit=3)
    assert [row["action"] for row in rows] == ["segment.removed", "segment.changed", "segment.added"]
    assert {row["subject"] for row in rows} == {f"segment/{kept.id}"}
    assert rows[0]["before"]["document"]["description"] == "more"
