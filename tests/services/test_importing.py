"""Imports: faithful, whole or not at all; what is served answers as Unleash's engine does of the document that came."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from answering import OpenFeature, constraint, feature, rollout, strategy, variant, wire_answers
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
_TEXTS = ("ana", "bob", "eu", "EU", "1", "2.5", "1.2.3", "v2", "", "\u00e4\u4e16", "10.0.0.7", "2026-01-01T00:00:00Z")
_OPERATORS = (*LIST_OPERATORS, *NUMBER_OPERATORS, *DATE_OPERATORS, *SEMVER_OPERATORS, "REGEX", "LATER_THAN", "nonsense")
_NAMES = ("plain", "../../admin", "\u043a\u043b\u044e\u0447", "a b", "x\u2603", "image generation", "<b>", "%2e%2e")
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
_PARAMETERS = st.dictionaries(
    st.sampled_from(("rollout", "stickiness", "groupId", "userIds", "percentage", "IPs", "hostNames")),
    texts("50", "12.5", "default", "userId", "ana,bob", "10.0.0.0/8"),
    max_size=4,
)
_LEGACY = ("userWithId", "gradualRolloutUserId", "gradualRolloutSessionId", "remoteAddress", "applicationHostname")
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
_PROPERTIES = st.dictionaries(st.sampled_from(("region", "version", "n\u00e4me")), texts(), max_size=3)
_CONTEXTS = st.lists(
    st.fixed_dictionaries(
        {"userId": st.sampled_from(_TEXTS[:8]), "properties": _PROPERTIES},
        optional={"sessionId": texts(), "appName": texts(), "remoteAddress": texts()},
    ),
    min_size=1,
    max_size=4,
)


def in_order(said: Json) -> Json:
    features = sorted(said["features"], key=lambda one: str(one["name"]))
    return {**said, "features": features, "segments": sorted(said["segments"], key=lambda one: int(one["id"]))}


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
