"""Imports: faithful, whole or not at all; what is served answers as Unleash's engine does of the document that came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from answering import OpenFeature, constraint, feature, strategy, variant, wire_answers
from clocks import Clock
from doors import ALICE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.core.constraints import DATE_OPERATORS, LIST_OPERATORS, SEMVER_OPERATORS
from rollout.core.decisions import GENERATION
from rollout.core.flag_tokens import ALL_PROJECTS
from rollout.core.flags import NUMBER_OPERATORS, PRODUCTION
from rollout.core.imports import Import
from rollout.core.unleash import Query
from rollout.db.engine import Database
from rollout.db.tables import flag, flag_extra
from rollout.db.tables import segment as segment_table
from rollout.errors import Conflict, InvalidRequest
from rollout.services.changes import Changes
from rollout.services.client_features import ClientFeatures
from rollout.services.flags import Flags
from rollout.services.imports import Imports
from rollout.services.segments import Segments
from rollout.sync import embedded

Json = dict[str, Any]


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    wired, changes = wire_answers(database, clock), Changes(database)
    wired.imports, wired.flags = Imports(database, changes), Flags(database, changes, clock)
    wired.segments = Segments(database, changes)
    return wired


def document(*features: Json, segments: list[Json] | None = None, **members: Any) -> Json:
    return {"version": 2, "features": list(features), "segments": segments or [], **members}


def segment(number: int, name: str, *constraints: Json, **members: Any) -> Json:
    found = list(constraints) or [constraint("userId", "IN", "ana")]
    return {"id": number, "name": name, "constraints": found, **members}


def take(services: SimpleNamespace, incoming: Any, **how: Any) -> Import:
    done: Import = services.imports.run(ALICE, incoming, "moving in", **how)
    services.state.refresh()
    return done


def done(outcome: Import) -> list[tuple[str, str]]:
    return [(one["name"], one["change"]) for one in outcome.changes()]


def told(outcome: Import) -> list[tuple[str | None, str]]:
    return [(one.flag, one.param) for one in outcome.notices]


def served(services: SimpleNamespace, environment: str = PRODUCTION) -> Json:
    found = ClientFeatures(services.state).features(Query(environment, ALL_PROJECTS)).plain
    answer: Json = orjson.loads(found)
    return answer


def is_on(services: SimpleNamespace, name: str, environment: str = PRODUCTION, **context: Any) -> bool:
    answer = services.state.snapshot.flags[environment].answer(name, context)
    return bool(answer["feature_enabled"])


# -- nothing is lost -----------------------------------------------------------------------------------------

_FIELDS = ("userId", "sessionId", "appName", "region", "version", "n\u00e4me")
_TEXTS = (
    "ana",
    "bob",
    "eu",
    "EU",
    "1",
    "2.5",
    "1.2.3",
    "v2",
    "",
    "\u00e4\u4e16",
    "10.0.0.7",
    "2026-01-01T00:00:00Z",
)
_OPERATORS = (
    *LIST_OPERATORS,
    *NUMBER_OPERATORS,
    *DATE_OPERATORS,
    *SEMVER_OPERATORS,
    "REGEX",
    "LATER_THAN",
    "nonsense",
)
_NAMES = (
    "plain",
    "../../admin",
    "\u043a\u043b\u044e\u0447",
    "a b",
    "x\u2603",
    "image generation",
    "<b>",
    "%2e%2e",
)
_NUMBERS = st.integers(1, 4)


def texts(*more: str) -> Any:
    return st.sampled_from((*_TEXTS, *more))


_UNKNOWN = st.dictionaries(
    st.sampled_from(("x-new", "\u00fc", "lifecycle")),
    st.recursive(st.none() | st.integers(0, 9) | texts(), lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    max_size=1,
)  # fmt: skip


def object_of(required: Json, optional: Json | None = None) -> Any:
    known = st.fixed_dictionaries(required, optional=optional or {})
    return st.builds(lambda unknown, said: {**unknown, **said}, _UNKNOWN, known)


_CONSTRAINTS = st.lists(
    object_of(
        {"contextName": st.sampled_from(_FIELDS), "operator": st.sampled_from(_OPERATORS), "values": st.lists(texts(), max_size=3)},
        {"value": texts("^a", "(", "3"), "inverted": st.booleans(), "caseInsensitive": st.booleans()},
    ),
    max_size=2,
)  # fmt: skip
_STICKINESS = st.sampled_from(("default", "userId", "region"))
_VARIANTS = st.lists(
    object_of(
        {"name": texts("blue"), "weight": st.integers(0, 1000), "stickiness": _STICKINESS},
        {"weightType": st.sampled_from(("variable", "fix")), "payload": st.fixed_dictionaries({"type": texts("json"), "value": texts()})},
    ),
    max_size=3,
)  # fmt: skip
_PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "stickiness": _STICKINESS,
        **{
            name: texts("50", "12.5", "userId", "ana,bob", "10.0.0.0/8")
            for name in ("rollout", "groupId", "userIds", "percentage", "IPs", "hostNames")
        },
    },
)
_LEGACY = (
    "userWithId",
    "gradualRolloutUserId",
    "gradualRolloutSessionId",
    "remoteAddress",
    "applicationHostname",
)
_STRATEGIES = st.lists(
    object_of(
        {"name": st.sampled_from(("default", "flexibleRollout", *_LEGACY, "made-up")), "parameters": _PARAMETERS},
        {"constraints": _CONSTRAINTS, "variants": _VARIANTS, "segments": st.lists(_NUMBERS, max_size=2)},
    ),
    max_size=2,
)  # fmt: skip
_DEPENDENCIES = st.lists(
    object_of({"feature": st.sampled_from((*_NAMES, "nobody"))}, {"enabled": st.booleans(), "variants": st.lists(texts(), max_size=1)}),
    max_size=1,
)  # fmt: skip
_FEATURES = st.lists(
    object_of(
        {"name": st.sampled_from(_NAMES), "enabled": st.booleans(), "strategies": _STRATEGIES},
        {"type": texts("release"), "project": texts("default"), "stale": st.booleans(), "impressionData": st.booleans(),
         "description": texts() | st.none(), "variants": _VARIANTS, "dependencies": _DEPENDENCIES},
    ),
    unique_by=lambda one: one["name"],
    max_size=4,
)  # fmt: skip
_SEGMENTS = st.lists(
    object_of({"id": _NUMBERS, "constraints": _CONSTRAINTS}, {"name": texts("beta")}), unique_by=lambda one: one["id"], max_size=3
)  # fmt: skip
_DOCUMENTS = object_of(
    {"version": st.sampled_from((1, 2, 3)), "features": _FEATURES, "segments": _SEGMENTS},
    {"query": st.just({"environment": "theirs"})},
)
_SAID = st.sampled_from([one for one in _TEXTS if one])
"""Where nothing is said of what a variant sticks to, the engine draws lots."""
_PROPERTIES = st.fixed_dictionaries({"region": _SAID}, optional={"version": texts(), "n\u00e4me": texts()})
_CONTEXTS = st.lists(
    st.fixed_dictionaries(
        {"userId": _SAID, "properties": _PROPERTIES},
        optional={"sessionId": texts(), "appName": texts(), "remoteAddress": texts()},
    ),
    min_size=1,
    max_size=4,
)


def in_order(said: Json) -> Json:
    features = sorted(said["features"], key=lambda one: str(one["name"]))
    return {
        **said,
        "features": features,
        "segments": sorted(said["segments"], key=lambda one: int(one["id"])),
    }


def emptied(services: SimpleNamespace) -> None:
    services.clock.advance(1)
    with Changes(services.database).begin(ALICE, "anew") as change:
        for table in (flag, segment_table, flag_extra):
            change.tx.execute(sa.delete(table))
        change.record("flag.archived", subject="all", tenant=None, before={}, after=None)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(incoming=_DOCUMENTS, contexts=_CONTEXTS)
def test_what_is_served_answers_as_the_engine_does_of_what_came_and_an_export_is_what_came(
    services: SimpleNamespace, incoming: Json, contexts: list[Json]
) -> None:
    emptied(services)
    take(services, incoming, environment="theirs")
    assert in_order(services.imports.export("theirs")) == in_order(incoming)
    if not incoming["features"]:
        return
    answer = served(services, "theirs")
    envelope = {"query": answer["query"], "meta": answer["meta"]}
    assert in_order(answer) == in_order({**incoming, **envelope})
    original, ours = embedded.load(incoming, 0), embedded.load(answer, 0)
    for name in original.names:
        for context in contexts:
            wanted = original.answer(name, context)
            assert ours.answer(name, context) == wanted
            assert services.state.snapshot.flags["theirs"].answer(name, context) == wanted
    assert take(services, incoming, environment="theirs").changes() == []


def test_what_no_person_could_write_is_kept_served_and_told(services: SimpleNamespace) -> None:
    odd = feature(
        "../../admin",
        strategy("made-up", parameters={"x": "1"}),
        strategy(constraints=[constraint("userId", "LATER_THAN", "x", note={"deep": [1]})]),
        lifecycle="live",
    )
    incoming = document(odd, feature("\u043a\u043b\u044e\u0447"), lastSeen={"by": "them"}, version=3)
    outcome = take(services, incoming)
    assert told(outcome) == [
        (None, "version"),
        (None, "lastSeen"),
        ("../../admin", "name"),
        ("../../admin", "lifecycle"),
        ("../../admin", "strategies.0.name"),
        ("../../admin", "strategies.1.constraints.0.note"),
        ("../../admin", "strategies.1.constraints.0.operator"),
        ("\u043a\u043b\u044e\u0447", "name"),
    ]
    answer = served(services)
    assert [one for one in answer["features"] if one["name"] != GENERATION] == sorted(
        incoming["features"], key=lambda one: str(one["name"])
    )
    assert (answer["version"], answer["lastSeen"]) == (3, {"by": "them"})
    assert services.imports.export() == in_order(incoming)
    partner = OpenFeature(services)
    asked = partner.client.post(
        "/ofrep/v1/evaluate/flags/..%2F..%2Fadmin", json={"context": {}}, headers=partner.headers
    )
    assert asked.status_code == 404
    assert "../../admin" not in {one["key"] for one in partner.all().get_json()["flags"]}


def test_a_plans_flag_is_passed_over_and_never_overwritten(services: SimpleNamespace) -> None:
    outcome = take(
        services, document(feature(GENERATION), feature("below", dependencies=[{"feature": GENERATION}]))
    )
    assert done(outcome) == [("below", "added")]
    assert (GENERATION, "name") in told(outcome)
    assert not is_on(services, GENERATION)
    assert not is_on(services, "below")
    take(services, document(), mode="replace")
    assert [one["name"] for one in served(services)["features"]] == [GENERATION]


def test_a_merge_leaves_other_flags_and_a_replacement_archives_them(services: SimpleNamespace) -> None:
    take(services, document(feature("a"), feature("b"), more=1))
    outcome = take(services, document(feature("b", enabled=False), feature("c"), other=2))
    assert (done(outcome), outcome.unchanged) == ([("b", "changed"), ("c", "added")], 0)
    assert services.imports.export()["more"] == 1
    outcome = take(services, document(feature("b", enabled=False), feature("d")), mode="replace")
    assert (done(outcome), outcome.unchanged) == ([("d", "added"), ("a", "archived"), ("c", "archived")], 1)
    assert "more" not in services.imports.export()
    outcome = take(services, document(feature("a")))
    assert done(outcome) == [("a", "revived")]


def test_environments_are_apart(services: SimpleNamespace) -> None:
    take(services, document(feature("a")), environment="development")
    take(services, document(feature("a", enabled=False)))
    take(services, document(), environment="development", mode="replace")
    assert not is_on(services, "a")
    assert services.imports.export("development")["features"] == []


def test_an_import_is_one_change_with_an_entry_for_each_flag_and_one_for_itself(
    services: SimpleNamespace,
) -> None:
    incoming = document(feature("a"), feature("b"), segments=[segment(7, "beta")])
    take(services, incoming)
    rows = services.audit.page(limit=4)
    assert [(row["action"], row["subject"]) for row in reversed(rows)] == [
        ("flag.imported", "production"),
        ("segment.added", "segment/7"),
        ("flag.added", "production/a"),
        ("flag.added", "production/b"),
    ]
    assert len({row["revision"] for row in rows}) == 1
    assert rows[0]["after"]["document"] == feature("b")
    assert [one["name"] for one in rows[3]["after"]["changes"]] == ["a", "b", "7"]
    take(services, incoming)
    assert services.audit.page(limit=4) == rows


def test_a_dry_run_needs_no_reason_and_changes_nothing(services: SimpleNamespace) -> None:
    before = services.audit.page(limit=1)
    outcome = services.imports.run(ALICE, document(feature("a")), None, dry_run=True)
    assert done(outcome) == [("a", "added")]
    assert services.audit.page(limit=1) == before
    with pytest.raises(InvalidRequest, match="reason"):
        services.imports.run(ALICE, document(feature("a")), None)
    assert services.imports.export()["features"] == []


def test_what_changed_meanwhile_is_not_written_over(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = embedded.load

    def load(document: Any, revision: int) -> Any:
        monkeypatch.undo()
        services.flags.add(ALICE, feature("a", description="meanwhile"), "quick")
        return loaded(document, revision)

    monkeypatch.setattr(embedded, "load", load)
    with pytest.raises(Conflict, match="nothing was imported"):
        services.imports.run(ALICE, document(feature("a"), feature("b")), "slow")
    assert [one["description"] for one in services.imports.export()["features"]] == ["meanwhile"]


@pytest.mark.parametrize(
    ("incoming", "param"),
    [
        ([], "document"),
        ({"flags": {}}, "document"),
        ({"features": {}}, "features"),
        ({"features": ["a"]}, "features.0"),
        (document(feature("a"), feature("a")), "features.1.name"),
        (document(feature("")), "features.0.name"),
        (document(feature("x" * 501)), "features.0.name"),
        (document(feature("a"), feature("b", strategy(parameters={"rollout": 50}))), "features.1"),
        (document({"name": "a", "strategies": []}), "features.0"),
        (document(feature("a", description="\x00")), "features.0.description"),
        (document(segments=[segment(1, "a"), segment(1, "b")]), "segments.1.id"),
        (document(segments=[segment(2**31, "a")]), "segments.0.id"),
        (document(segments=[{"id": 1, "name": "a", "constraints": [{"operator": 5}]}]), "segments.0"),
        ({"events": [{"type": "feature-updated", "feature": {"name": 1}}]}, "events.0.feature.name"),
        ({"events": [{"type": "segment-removed", "segmentId": "1"}]}, "events.0.segmentId"),
        ({"features": [], "featureStrategies": [{"featureName": "x"}]}, "featureStrategies.0.featureName"),
    ],
)
def test_what_cannot_be_read_is_refused_with_where_and_nothing_is_kept(
    services: SimpleNamespace, incoming: Any, param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        services.imports.run(ALICE, incoming, "x")
    assert refused.value.members["param"] == param
    assert services.imports.export() == document()


def test_what_is_nested_without_end_is_refused(services: SimpleNamespace) -> None:
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    with pytest.raises(InvalidRequest, match="nested more than 100 deep"):
        services.imports.run(ALICE, document(feature("a", deep=deep)), "x")


def test_where_the_engine_stops_our_own_look_tells_what_it_may_be(services: SimpleNamespace) -> None:
    bad = feature(
        "b", strategy(constraints=[constraint("userId", "IN", "a"), {**constraint("x", "IN"), "values": [1]}])
    )
    with pytest.raises(InvalidRequest) as refused:
        services.imports.run(ALICE, document(feature("a"), bad), "x")
    assert [one["param"] for one in refused.value.members["errors"]] == [
        "features.1.strategies.0.constraints.1.values.0"
    ]


# -- segments ------------------------------------------------------------------------------------------------

ANA = segment(1, "testers")
BOB = segment(1, "others", constraint("userId", "IN", "bob"))
USING = strategy(segments=[1])


def test_a_number_that_is_another_segment_here_becomes_a_new_one_and_stays_it(
    services: SimpleNamespace,
) -> None:
    take(services, document(feature("a", USING), segments=[ANA]))
    outcome = take(services, document(feature("b", USING), segments=[BOB]), environment="theirs")
    (number,) = services.imports.export("theirs")["features"][0]["strategies"][0]["segments"]
    assert number != 1
    assert done(outcome) == [("b", "added"), (str(number), "added")]
    assert (None, "segments.1") in told(outcome)
    for name, environment, user in (("a", PRODUCTION, "ana"), ("b", "theirs", "bob")):
        assert is_on(services, name, environment, userId=user)
        assert not is_on(services, name, environment, userId="eve")
    again = take(services, document(feature("b", USING), segments=[BOB]), environment="theirs")
    assert again.changes() == []


def test_the_same_segment_is_changed_for_all_and_who_else_uses_it_is_told(services: SimpleNamespace) -> None:
    take(services, document(feature("a", USING), segments=[ANA]))
    wider = segment(1, "testers", constraint("userId", "IN", "ana", "eve"))
    outcome = take(services, document(feature("b", USING), segments=[wider]), environment="theirs")
    assert done(outcome) == [("b", "added"), ("1", "changed")]
    assert [one.message for one in outcome.notices if one.param == "segments.1"] == [
        "Flags beyond this import use it, too: production/a."
    ]
    assert is_on(services, "a", userId="eve")


def test_a_segment_that_the_document_lacks_is_never_one_of_ours(services: SimpleNamespace) -> None:
    take(services, document(feature("a", USING), segments=[ANA]))
    outcome = take(services, document(feature("b", USING)), environment="theirs")
    assert not is_on(services, "b", "theirs", userId="ana")
    assert ("b", "strategies.0.segments.0") in told(outcome)
    (number,) = services.imports.export("theirs")["features"][0]["strategies"][0]["segments"]
    added = services.segments.add(ALICE, {"name": "new", "constraints": ANA["constraints"]}, "x")
    assert added.segment.id not in (1, number)


def test_a_document_without_segments_speaks_of_ours(services: SimpleNamespace) -> None:
    take(services, document(feature("a", USING), segments=[ANA]))
    take(services, {"features": [feature("b", USING)]})
    assert is_on(services, "b", userId="ana")


# -- deltas --------------------------------------------------------------------------------------------------


def test_events_are_applied_in_their_order(services: SimpleNamespace) -> None:
    events = [
        {"type": "feature-updated", "eventId": 1, "feature": feature("before")},
        {"type": "hydration", "eventId": 2, "features": [feature("a"), feature("b")], "segments": [ANA]},
        {"type": "feature-updated", "eventId": 3, "feature": feature("a", USING)},
        {"type": "feature-removed", "eventId": 4, "featureName": "b", "project": "default"},
        {"type": "segment-updated", "eventId": 5, "segment": BOB},
        {"type": "feature-removed", "eventId": 6, "featureName": "c", "project": "default"},
        {"type": "feature-updated", "eventId": 7, "feature": feature("c")},
        {"type": "rollout-started", "eventId": 8},
    ]
    outcome = take(services, {"events": events}, mode="replace")
    assert done(outcome) == [("a", "added"), ("c", "added"), ("1", "added")]
    assert (None, "events.7.type") in told(outcome)
    assert is_on(services, "a", userId="bob")
    assert services.imports.export() == document(feature("a", USING), feature("c"), segments=[BOB])


def test_events_without_a_hydration_change_what_is_here(services: SimpleNamespace) -> None:
    take(
        services,
        document(
            feature("a", USING),
            feature("b"),
            feature("below", dependencies=[{"feature": "b"}]),
            segments=[ANA],
        ),
    )
    events = [
        {"type": "feature-removed", "featureName": "b"},
        {"type": "segment-updated", "segment": segment(2, "new")},
        {"type": "segment-removed", "segmentId": 1},
    ]
    with pytest.raises(InvalidRequest, match="only what changed"):
        services.imports.run(ALICE, {"events": events}, "x", mode="replace")
    outcome = take(services, {"events": events})
    assert done(outcome) == [("b", "archived"), ("2", "added")]
    assert [(one.flag, one.message) for one in outcome.notices] == [
        (None, "It stays, for flags use it: a."),
        ("below", "It depends on flags that go, and will be off: b."),
    ]
    assert done(take(services, {"events": [{"type": "segment-removed", "segmentId": 2}]})) == [
        ("2", "removed")
    ]


def test_a_segment_that_is_removed_and_used_in_one_document_is_nobody(services: SimpleNamespace) -> None:
    events = [
        {"type": "hydration", "features": [feature("a", USING)], "segments": [ANA]},
        {"type": "segment-removed", "segmentId": 1},
    ]
    outcome = take(services, {"events": events})
    assert ("a", "strategies.0.segments.0") in told(outcome)
    assert not is_on(services, "a", userId="ana")


# -- exports of an Unleash -----------------------------------------------------------------------------------


def test_an_export_of_unleash_becomes_the_flags_that_it_would_serve(services: SimpleNamespace) -> None:
    take(services, document(segments=[segment(9, "testers")]))
    bare = {
        "type": "release",
        "project": "default",
        "stale": False,
        "impressionData": False,
        "description": "ours",
    }
    blue = variant("blue")
    export = {
        "features": [{"name": "a", "archived": False, **bare}, {"name": "b", **bare}, {"name": "old", "archived": True, **bare}],
        "featureStrategies": [
            {"featureName": "a", "id": "2", "name": "default", "sortOrder": 2, "parameters": {}, "constraints": [], "segments": [4]},
            {"featureName": "a", "id": "1", "name": "userWithId", "sortOrder": 1, "parameters": {"userIds": "eve"}, "constraints": []},
            {"featureName": "a", "id": "3", "name": "default", "parameters": {}, "constraints": [], "disabled": True},
            {"featureName": "b", "id": "4", "name": "default", "parameters": {}, "constraints": []},
        ],
        "featureEnvironments": [
            {"featureName": "a", "environment": "theirs", "name": "a", "enabled": True, "variants": [blue]},
            {"featureName": "b", "environment": "theirs", "name": "b", "enabled": True},
            {"featureName": "old", "environment": "theirs", "name": "old", "enabled": True},
        ],
        "featureTags": [{"featureName": "a", "tagType": "simple", "tagValue": "ui"}],
        "segments": [{"id": 4, "name": "testers"}],
        "dependencies": [{"feature": "b", "dependencies": [{"feature": "a", "enabled": True, "variants": []}]}],
        "links": [{"feature": "a", "links": [{"id": "l", "url": "https://example.com", "title": None}]}],
        "contextFields": [{"name": "region"}],
        "tagTypes": [{"name": "simple"}],
    }  # fmt: skip
    outcome = take(services, export)
    assert done(outcome) == [("a", "added"), ("b", "added"), ("old", "added")]
    a, b, old = services.imports.export()["features"]
    assert [one["id"] for one in a["strategies"]] == ["1", "2"]
    assert [one["id"] for one in a["disabledStrategies"]] == ["3"]
    assert (a["variants"], a["tags"], a["links"][0]["id"]) == (
        [blue],
        [{"type": "simple", "value": "ui"}],
        "l",
    )
    assert a["featureEnvironment"] == {"environment": "theirs"}
    assert a["strategies"][1]["segments"] == [9]
    assert (b["dependencies"][0]["feature"], old["enabled"]) == ("a", False)
    kept = services.imports.export()
    assert (kept["contextFields"], kept["tagTypes"]) == ([{"name": "region"}], [{"name": "simple"}])
    asked = ("eve", "ana", "bob")
    assert [is_on(services, "a", userId=user) for user in asked] == [True, True, False]
    assert [is_on(services, "b", userId=user) for user in asked] == [True, True, False]
    assert take(services, export).changes() == []


def test_a_segment_that_an_export_only_names_and_is_not_here_is_nobody(services: SimpleNamespace) -> None:
    take(services, document(feature("ours", USING), segments=[ANA]))
    export = {
        "features": [{"name": "a"}],
        "featureStrategies": [{"featureName": "a", **USING}],
        "featureEnvironments": [{"featureName": "a", "enabled": True}],
        "segments": [{"id": 1, "name": "beta"}],
    }
    outcome = take(services, export)
    assert (None, "segments.1") in told(outcome)
    assert not is_on(services, "a", userId="ana")
