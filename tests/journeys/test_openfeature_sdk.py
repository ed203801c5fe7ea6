"""OpenFeature's real SDK for Python with its real provider for OFREP, by address and key alone; and the stream that browsers listen to."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from answering import constraint, feature, rollout, variant
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from processes import Service, Starter, wait_until

from rollout.core.audit import Actor
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

ANA = Actor("token:ana", "admin")
SECONDS = 10
"""Long enough for any machine; that it takes one is shown by `benchmarks/`."""


@pytest.fixture(scope="module")
def service(shared_starter: Starter, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(new_database("sqlite"))


@pytest.fixture(scope="module")
def operator(service: Service) -> Iterator[Services]:
    """Another process on the same database, with flags for everybody."""
    built = build(Settings.from_env(service.environ))
    for document in (
        feature("colour", variants=[variant("blue", payload=("string", "#00f"))]),
        feature("batch", variants=[variant("big", payload=("number", "64"))]),
        feature("ratio", variants=[variant("full", payload=("number", "1.0"))]),
        feature("layout", variants=[variant("wide", payload=("json", '{"columns": 3}'))]),
        feature("muted", rollout(0, "tenantId", variants=[variant("loud", payload=("string", "!"))])),
        feature("testers", rollout(100, "userId", constraints=[constraint("userId", "IN", "u1")])),
    ):
        built.flags.add(ANA, document, "test", accept_warnings=True)
    yield built
    built.close()


@pytest.fixture
def acme(service: Service, operator: Services) -> Iterator[OpenFeatureClient]:
    with client(service, "acme") as found:
        wait_until(
            lambda: found.get_boolean_value("testers", False, as_user("u1")), "the last flag", service.log
        )
        yield found


@contextmanager
def client(service: Service, tenant: str) -> Iterator[OpenFeatureClient]:
    headers = {"X-API-Key": service.key(tenant)}
    api.set_provider(OFREPProvider(service.url, headers_factory=lambda: headers), tenant)
    yield api.get_client(tenant)
    api.shutdown()


def as_user(key: str | None = None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(key, attributes)


def test_a_gate_answers_with_our_reason_beside_theirs(acme: OpenFeatureClient) -> None:
    told = acme.get_boolean_details(GENERATION, False)
    assert (told.value, told.reason, told.variant) == (True, Reason.TARGETING_MATCH, "on")
    assert told.flag_metadata["reason"] == "granted"
    assert acme.get_boolean_details(ANALYSIS, False).reason == Reason.STATIC


def test_values_come_in_the_type_that_they_are_asked_in(acme: OpenFeatureClient) -> None:
    asked = (
        acme.get_string_details("colour", ""),
        acme.get_integer_details("batch", 0),
        acme.get_float_details("ratio", 0.0),
        acme.get_object_details("layout", {}),
    )
    assert [one.error_code for one in asked] == [None] * 4
    assert [one.value for one in asked] == ["#00f", 64, 1.0, {"columns": 3}]
    assert [one.variant for one in asked] == ["blue", "big", "full", "wide"]


def test_a_flag_with_values_that_is_off_leaves_the_callers_default(acme: OpenFeatureClient) -> None:
    told = acme.get_string_details("muted", "quiet")
    assert (told.value, told.reason, told.error_code) == ("quiet", Reason.DEFAULT, None)


def test_nobody_gets_into_another_tenants_gate_by_its_context(
    service: Service, acme: OpenFeatureClient
) -> None:
    with client(service, "globex") as globex:
        for context in (
            as_user("acme", tenantId="acme", grant="active", partnerBucket=0),
            as_user("globex", targetingKey="acme"),
        ):
            told = globex.get_boolean_details(GENERATION, True, context)
            assert (told.value, told.error_code, told.reason) == (False, None, Reason.DEFAULT)


def test_errors_keep_their_codes(acme: OpenFeatureClient) -> None:
    for hostile in ("no-such-flag", "../../admin", "..%2F..%2Fadmin", "a/b", "a b"):
        told = acme.get_boolean_details(hostile, False)
        assert (told.value, told.error_code) == (False, ErrorCode.FLAG_NOT_FOUND), hostile
    told = acme.get_boolean_details("testers", False)
    assert (told.error_code, "targetingKey" in (told.error_message or "")) == (
        ErrorCode.TARGETING_KEY_MISSING,
        True,
    )
    assert acme.get_boolean_value("testers", False, as_user("u1")) is True
    assert acme.get_boolean_value("testers", True, as_user("u2")) is False
    assert acme.get_boolean_details("colour", False).error_code == ErrorCode.TYPE_MISMATCH


def test_a_stop_is_false_even_for_a_caller_whose_default_is_true(
    service: Service, acme: OpenFeatureClient
) -> None:
    service.admin("POST", f"/features/{GENERATION}/kill", {"reason": "incident"})
    told = acme.get_boolean_details(GENERATION, True)
    assert (told.value, told.reason, told.error_code) == (False, Reason.DISABLED, None)
    service.admin("POST", f"/features/{GENERATION}/revive", {"reason": "mended"})
    assert acme.get_boolean_value(GENERATION, False) is True


def test_a_change_is_told_by_the_stream_and_fetched(
    service: Service, operator: Services, acme: OpenFeatureClient
) -> None:
    status, headers, bulk = fetch(service)
    assert fetch(service, **{"If-None-Match": headers["etag"]})[0] == 304
    with listening(service, bulk["eventStreams"][0]["endpoint"]["requestUri"]) as events:
        operator.flags.add(ANA, feature("brand-new"), "test", accept_warnings=True)
        changed_at = time.monotonic()
        told = next(events)
        print(f"\nfrom a change by another process to the event: {time.monotonic() - changed_at:.3f} s")
    assert told["type"] == "refetchEvaluation"
    query = f"?flagConfigEtag={told['etag']}&flagConfigLastModified={told['lastModified']}"
    status, _, after = fetch(service, query, **{"If-None-Match": headers["etag"]})
    assert status == 200
    assert {one["key"] for one in after["flags"]} - {one["key"] for one in bulk["flags"]} == {"brand-new"}


@pytest.mark.postgres
def test_whichever_of_four_workers_is_asked_after_an_event_it_knows_of_the_change(
    starter: Starter, new_database: Callable[..., str]
) -> None:
    service = starter.service(new_database("postgresql"), workers=4)
    with closing(build(Settings.from_env(service.environ))) as operator:
        _, _, bulk = fetch(service)
        with listening(service, bulk["eventStreams"][0]["endpoint"]["requestUri"]) as events:
            operator.flags.add(ANA, feature("brand-new"), "test", accept_warnings=True)
            query = f"?flagConfigEtag={next(events)['etag']}"
            answers = [fetch(service, query)[2]["flags"] for _ in range(20)]
    assert all("brand-new" in {one["key"] for one in flags} for flags in answers)


def fetch(service: Service, query: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    path = f"/ofrep/v1/evaluate/flags{query}"
    return service.call("POST", path, {"context": {}}, key=service.key("acme"), headers=headers)


@contextmanager
def listening(service: Service, address: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The data of the events at an address, without any key."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=SECONDS)
    with closing(connection):
        connection.request("GET", address)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Transfer-Encoding")) == (200, "chunked")
        assert answer.readline().startswith(b":"), "it is open, and nothing has changed"
        yield (json.loads(line.removeprefix(b"data: ")) for line in answer if line.startswith(b"data: "))
