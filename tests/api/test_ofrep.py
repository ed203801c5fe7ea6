"""/ofrep/v1: each obligation that OpenFeature's real clients were found to have, one by one; with the clients, see tests/journeys."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from answering import (
    STREAMS,
    OpenFeature,
    application,
    constraint,
    feature,
    keep,
    rollout,
    strategy,
    variant,
    wire_answers,
)
from doors import ALICE
from gateway import on_sqlite

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.ofrep import Told
from rollout.db.engine import Database
from rollout.db.tables import flag_metric
from rollout.services.flag_answers import TICKET_SECONDS

pytestmark = on_sqlite

SPOKEN = set(get_args(Told))


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_answers(database, clock)


@pytest.fixture
def acme(services: SimpleNamespace) -> OpenFeature:
    return OpenFeature(services)


# -- gates ---------------------------------------------------------------------------------------------------


def test_a_gate_says_its_reason_in_our_words_and_in_theirs(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    services.state.refresh()
    answer = acme.one(GENERATION)
    assert answer.get_json() == {
        "key": GENERATION,
        "value": True,
        "reason": "TARGETING_MATCH",
        "variant": "on",
        "metadata": {
            "reason": "granted",
            "detail": "Your organisation has been given access.",
            "phase": "private_beta",
        },
    }
    assert answer.headers["x-rollout-decision"].startswith("dec_")
    assert acme.one(ANALYSIS).get_json()["reason"] == "STATIC"
    told = OpenFeature(services, "globex").one(GENERATION).get_json()
    assert (told["value"], told["reason"], told["metadata"]["reason"]) == (False, "DEFAULT", "not_granted")


def test_a_killed_gate_is_false_and_disabled_never_absent(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    services.features.kill(ALICE, GENERATION, "incident", wait=0)
    services.state.refresh()
    told = acme.one(GENERATION).get_json()
    assert (told["value"], told["reason"], told["variant"]) == (False, "DISABLED", "off")
    assert acme.values()[GENERATION] is False


def test_an_unconfirmed_gate_is_false(services: SimpleNamespace, acme: OpenFeature, clock: Any) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    services.state.refresh()
    assert acme.value(GENERATION) is True
    clock.advance(6)
    told = acme.one(GENERATION).get_json()
    assert (told["value"], told["reason"], told["metadata"]["reason"]) == (False, "UNKNOWN", "flags_stale")
    assert acme.values() == {GENERATION: False, ANALYSIS: True}


def test_the_tenant_never_comes_from_the_context(services: SimpleNamespace, acme: OpenFeature) -> None:
    services.grants.add(ALICE, "globex", GENERATION, "beta")
    mine = rollout(100, "tenantId", constraints=[constraint("tenantId", "IN", "globex")])
    keep(services, feature("theirs", mine))
    claims = {
        "tenantId": "globex",
        "grant": "active",
        "partnerBucket": "0",
        "properties": {"tenantId": "globex"},
    }
    for context in (claims, {"targetingKey": "globex", **claims}):
        assert acme.value(GENERATION, **context) is False
        assert acme.value("theirs", **context) is False
        assert acme.values(**context) == {GENERATION: False, ANALYSIS: True, "theirs": False}


# -- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payloads", "value", "written"),
    [
        ([("string", "blue")], "blue", b'"value":"blue"'),
        ([("csv", "a,b")], "a,b", b'"value":"a,b"'),
        ([("number", "3")], 3, b'"value":3,'),
        ([("number", "1.0")], 1.0, b'"value":1.0,'),
        ([("number", "1"), ("number", "0.5")], 1.0, b'"value":1.0,'),
        ([("number", "2e3")], 2000.0, b'"value":2000.0,'),
        ([("json", '{"a": [1, 2.0]}')], {"a": [1, 2.0]}, b'"value":{"a":[1,2.0]},'),
        ([("json", "[1]")], [1], b'"value":[1],'),
    ],
)
def test_a_value_is_of_the_type_of_its_payload(
    services: SimpleNamespace,
    acme: OpenFeature,
    payloads: list[tuple[str, str]],
    value: Any,
    written: bytes,
) -> None:
    weights = [1000, *(0 for _ in payloads[1:])]
    variants = [variant(f"v{i}", weights[i], payload=one) for i, one in enumerate(payloads)]
    keep(services, feature("valued", variants=variants))
    answer = acme.one("valued", targetingKey="u")
    told = answer.get_json()
    assert (told["value"], told["variant"]) == (value, "v0")
    assert type(told["value"]) is type(value)
    assert written in answer.data
    assert told["reason"] in SPOKEN


@pytest.mark.parametrize(
    "payload", [("number", "many"), ("number", "true"), ("number", '"1"'), ("number", "1e999"), ("json", "{")]
)
def test_a_payload_that_is_not_of_its_type_fails_and_says_so(
    services: SimpleNamespace, acme: OpenFeature, payload: tuple[str, str]
) -> None:
    keep(services, feature("broken", variants=[variant("bad", payload=payload)]))
    answer = acme.one("broken")
    assert (answer.status_code, answer.get_json()["errorCode"]) == (400, "PARSE_ERROR")
    assert "bad" in answer.get_json()["errorDetails"]
    (told,) = [one for one in acme.all().get_json()["flags"] if one["key"] == "broken"]
    assert told == answer.get_json()


def test_a_flag_with_values_has_none_where_it_is_off_so_that_the_callers_default_stands(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    drawn = [variant("blue", payload=("string", "#00f"))]
    keep(services, feature("colour", enabled=False, variants=drawn))
    keep(services, feature("half", rollout(0, "tenantId", variants=drawn)))
    for name, reason in (("colour", "DISABLED"), ("half", "DEFAULT")):
        told = acme.one(name).get_json()
        assert told == {"key": name, "reason": reason, "variant": "off"}


@pytest.mark.parametrize(
    ("document", "value", "reason", "drawn"),
    [
        (feature("f"), True, "STATIC", "on"),
        (feature("f", enabled=False), False, "DISABLED", "off"),
        (feature("f", rollout(100, "tenantId")), True, "TARGETING_MATCH", "on"),
        (feature("f", rollout(0, "tenantId")), False, "DEFAULT", "off"),
        (feature("f", variants=[variant("one")]), True, "STATIC", "one"),
        (feature("f", variants=[variant("one"), variant("two", 0)]), True, "SPLIT", "one"),
        (feature("f", strategy("their-own")), False, "DEFAULT", "off"),
    ],
)
def test_every_answer_has_a_variant_and_a_reason_that_clients_know(
    services: SimpleNamespace,
    acme: OpenFeature,
    document: dict[str, Any],
    value: bool,
    reason: str,
    drawn: str,
) -> None:
    keep(services, document)
    told = acme.one("f", targetingKey="u").get_json()
    assert told == {"key": "f", "value": value, "reason": reason, "variant": drawn}


# -- contexts ------------------------------------------------------------------------------------------------


def test_a_targeting_key_is_asked_for_where_the_flag_needs_it(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    keep(services, feature("one-user", rollout(100, "userId", constraints=[constraint("userId", "IN", "u")])))
    keep(services, feature("below", dependencies=[{"feature": "one-user", "enabled": True}]))
    for name in ("one-user", "below"):
        answer = acme.one(name)
        assert (answer.status_code, answer.get_json()["errorCode"]) == (400, "TARGETING_KEY_MISSING")
        assert answer.get_json()["key"] == name
        assert answer.get_json()["errorDetails"]
        assert [acme.value(name, targetingKey=user) for user in ("u", "x")] == [True, False]
        assert acme.value(name, userId="u") is True
    failures = {one["key"] for one in acme.all().get_json()["flags"] if "errorCode" in one}
    assert failures == {"one-user", "below"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"context": "me"}, "INVALID_CONTEXT"),
        ({"context": {"properties": 1}}, "INVALID_CONTEXT"),
        ([], "PARSE_ERROR"),
    ],
)
def test_a_context_that_is_none_is_refused(acme: OpenFeature, body: Any, code: str) -> None:
    for path in ("", f"/{GENERATION}"):
        answer = acme.post(path, body)
        assert (answer.status_code, answer.get_json()["errorCode"]) == (400, code)
        assert answer.get_json()["errorDetails"]


def test_a_body_that_is_no_json_is_refused(acme: OpenFeature) -> None:
    answer = acme.client.post(
        "/ofrep/v1/evaluate/flags", data=b"{", content_type="application/json", headers=acme.headers
    )
    assert (answer.status_code, answer.get_json()["errorCode"]) == (400, "PARSE_ERROR")


# -- keys ----------------------------------------------------------------------------------------------------

HOSTILE = [
    "../../admin",
    "..%2F..%2Fadmin",
    "%2e%2e%2f%2e%2e%2fadmin",
    "a/b",
    "a%00b",
    "/admin",
    "a b",
    "-a",
    "%E2%98%83",
    "x" * 101,
]


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_a_flag_that_does_not_exist(
    services: SimpleNamespace, acme: OpenFeature, key: str
) -> None:
    keep(services, feature("../../admin"), feature("a b"), feature("☃"), feature("x" * 101))
    answer = acme.one(key)
    assert (answer.status_code, answer.content_type) == (404, "application/json")
    told = answer.get_json()
    assert (told["errorCode"], bool(told["key"]), bool(told["errorDetails"])) == (
        "FLAG_NOT_FOUND",
        True,
        True,
    )
    assert set(acme.values()) == {GENERATION, ANALYSIS}


@pytest.mark.parametrize("path", ["/ofrep/v1/admin", "/ofrep/v1", "/ofrep/", "/ofrep/v2/evaluate/flags/x"])
def test_nothing_else_lies_below_the_prefix(acme: OpenFeature, path: str) -> None:
    """Clients fold `..` themselves: what then comes must still be told as a flag that does not exist."""
    answer = acme.client.post(path, json={}, headers=acme.headers)
    assert answer.status_code == 404
    if path != "/ofrep/v1":
        assert answer.get_json()["errorCode"] == "FLAG_NOT_FOUND"


def test_flags_of_other_projects_are_not_there_for_partners(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    keep(services, feature("theirs", project="internal"), feature("mine"))
    assert acme.one("theirs").status_code == 404
    assert set(acme.values()) == {GENERATION, ANALYSIS, "mine"}


def test_a_flag_that_is_asked_for_counts_as_asked_for(services: SimpleNamespace, acme: OpenFeature) -> None:
    keep(services, feature("mine"))
    acme.one("mine")
    acme.one("mine")
    acme.one(GENERATION)
    assert services.flag_metrics.flush() == 1
    with services.database.read() as tx:
        (row,) = tx.execute(sa.select(flag_metric)).mappings()
    assert (row["flag"], row["app_name"], row["yes"], row["no"]) == ("mine", "ofrep", 2, 0)


# -- who may -------------------------------------------------------------------------------------------------


def test_a_key_is_taken_from_either_header(acme: OpenFeature) -> None:
    secret = acme.headers["Authorization"].removeprefix("Bearer ")
    answer = acme.client.post("/ofrep/v1/evaluate/flags", json={}, headers={"X-API-Key": secret})
    assert answer.status_code == 200


def test_errors_say_what_to_do_in_the_shape_that_clients_read(services: SimpleNamespace) -> None:
    stranger = application(services).test_client().post("/ofrep/v1/evaluate/flags", json={})
    writer = OpenFeature(services, scopes=("generate",)).all()
    for answer, status in ((stranger, 401), (writer, 403)):
        assert (answer.status_code, answer.get_json()["errorCode"]) == (status, "GENERAL")
        assert answer.get_json()["errorDetails"]


def test_no_answer_names_another_tenant_or_a_rule(services: SimpleNamespace, acme: OpenFeature) -> None:
    services.tenants.change(ALICE, "globex", {"attributes": {"region": "mars"}}, "test")
    hidden = rollout(100, "tenantId", constraints=[constraint("tenantId", "IN", "globex")])
    keep(services, feature("shared", hidden))
    services.grants.add(ALICE, "globex", GENERATION, "secret deal")
    services.state.refresh()
    told = json.dumps([acme.all().get_json(), acme.one("shared").get_json(), acme.one("none").get_json()])
    assert not any(word in told for word in ("globex", "mars", "deal", "partnerBucket", "tenantId"))


# -- all flags, and who has them -----------------------------------------------------------------------------


def test_who_has_the_answer_is_told_so_until_it_is_another(
    services: SimpleNamespace, acme: OpenFeature, clock: Any
) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + 40)
    services.state.refresh()
    first = acme.all()
    known = {"If-None-Match": first.headers["ETag"]}
    again = acme.all(headers=known)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert acme.all(headers=known, targetingKey="u").status_code == 304, "no flag hangs on the user"
    services.grants.add(ALICE, "globex", GENERATION, "theirs")
    services.state.refresh()
    assert acme.all(headers=known).status_code == 304, "another tenant's change is none"
    clock.advance(41)
    services.state.refresh()
    assert acme.all(headers=known).status_code == 200, "the grant ended by time alone"


def test_a_304_never_leaves_a_client_with_a_ticket_that_opens_nothing(
    services: SimpleNamespace, acme: OpenFeature, clock: Any
) -> None:
    first = acme.all()
    for _ in range(TICKET_SECONDS // 15):
        clock.advance(15)
        services.state.refresh()
        if acme.all(headers={"If-None-Match": first.headers["ETag"]}).status_code == 200:
            break
        assert opens(services, ticket_of(first))
    else:
        pytest.fail("the client was never given another ticket")


# -- the stream ----------------------------------------------------------------------------------------------


def address_of(bulk: Any) -> str:
    (stream,) = bulk.get_json()["eventStreams"]
    assert (stream["type"], stream["inactivityDelaySec"]) == ("sse", 120)
    address: str = stream["endpoint"]["requestUri"]
    return address


def ticket_of(bulk: Any) -> str:
    return address_of(bulk).partition("ticket=")[2].partition("&")[0]


def opens(services: SimpleNamespace, ticket: str) -> bool:
    return bool(services.flag_answers.open_ticket(ticket).tenant.id == "acme")


def parts(acme: OpenFeature, address: str, **headers: str) -> Iterator[bytes]:
    answer = acme.client.get(address, headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
    return (part for part in answer.response if isinstance(part, bytes))


def told(part: bytes) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in part.decode().strip().splitlines())
    data: dict[str, Any] = json.loads(fields["data"])
    assert data["type"] == "refetchEvaluation"
    assert data["etag"] == fields["id"]
    assert isinstance(data["lastModified"], int)
    return data


def test_a_change_is_told_and_what_is_no_change_for_the_tenant_is_not(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    stream = parts(acme, address_of(acme.all()))
    assert next(stream).startswith(b":"), "nothing has changed since the flags were fetched"
    services.grants.add(ALICE, "globex", GENERATION, "theirs")
    services.state.refresh()
    assert next(stream).startswith(b":")
    services.grants.add(ALICE, "acme", GENERATION, "ours")
    services.state.refresh()
    assert told(next(stream))["etag"]
    keep(services, feature("new"))
    assert told(next(stream))
    services.features.kill(ALICE, GENERATION, "incident", wait=0)
    services.state.refresh()
    assert told(next(stream))


def test_what_changed_between_fetching_and_listening_is_told_at_once(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    address = address_of(acme.all())
    keep(services, feature("new"))
    missed = told(next(parts(acme, address)))
    assert next(parts(acme, address, **{"Last-Event-ID": missed["etag"]})).startswith(b":")


def test_a_worker_that_lags_behind_the_event_looks_before_it_answers(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    acme.all()
    services.grants.add(ALICE, "acme", GENERATION, "told by another worker")
    values = acme.all(query="?flagConfigEtag=another&flagConfigLastModified=1795348800").get_json()["flags"]
    assert {one["key"]: one["value"] for one in values}[GENERATION] is True


def test_a_ticket_is_the_tenants_and_ends(services: SimpleNamespace, acme: OpenFeature, clock: Any) -> None:
    ticket = ticket_of(acme.all())
    tenant, until, signature = ticket.split(".")
    assert acme.headers["Authorization"].removeprefix("Bearer ") not in ticket
    forged = [
        "",
        "x",
        "..",
        f"globex.{until}.{signature}",
        f"{tenant}.{int(until) + 1}.{signature}",
        f"{ticket}.x",
        f"{tenant}.²²²²²²²²²².{signature}",
        f"{tenant}.{'9' * 5000}.{signature}",
    ]
    for text in forged:
        answer = acme.client.get("/ofrep/v1/events", query_string={"ticket": text})
        assert answer.status_code == 401, text
    clock.advance(TICKET_SECONDS + 1)
    assert acme.client.get(f"/ofrep/v1/events?ticket={ticket}").status_code == 401


def test_streams_have_places_and_whoever_finds_none_is_told_when_to_come_back(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    address = address_of(acme.all())
    taken = [acme.client.get(address) for _ in range(STREAMS)]
    full = acme.client.get(address)
    assert (full.status_code, full.get_json()["errorCode"]) == (503, "GENERAL")
    assert full.headers["Retry-After"].isdecimal()
    for answer in taken:
        answer.close()
    again = acme.client.get(address)
    assert again.status_code == 200
    again.close()


def test_a_stream_ends_when_the_worker_drains_or_the_tenant_is_suspended(
    services: SimpleNamespace, acme: OpenFeature
) -> None:
    address = address_of(acme.all())
    suspended = parts(acme, address)
    next(suspended)
    services.tenants.set_state(ALICE, "acme", "suspended", "unpaid")
    services.state.refresh()
    assert list(suspended) == []
    services.tenants.set_state(ALICE, "acme", "active", "paid")
    services.state.refresh()
    drained = parts(acme, address_of(acme.all()))
    next(drained)
    services.draining = lambda: True
    assert list(itertools.islice(drained, 3)) == []


def test_pages_of_any_origin_may_ask(acme: OpenFeature) -> None:
    for path in ("/ofrep/v1/evaluate/flags", f"/ofrep/v1/evaluate/flags/{GENERATION}", "/ofrep/v1/events"):
        preflight = acme.client.options(path, headers={"Access-Control-Request-Headers": "authorization"})
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization"
    assert acme.all().headers["Access-Control-Allow-Origin"] == "*"
