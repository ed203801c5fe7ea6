"""Moderations at the drop-in door, over the real wire: passed through, free, bounded by the places for analyses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import doors
import httpx2
import pytest
from clocks import Clock
from gateway import Gateway, on_sqlite
from lines import answered_by

from rollout.core.decisions import ANALYSIS
from rollout.db.engine import Database
from rollout.providers.moderations import OpenAIModerations
from rollout.providers.sandbox.moderations import SandboxModerations
from rollout.services.providers import MODERATIONS, Wired

pytestmark = on_sqlite

ANSWER = b'{"id":"modr_1", "model":"omni-moderation-latest","results":[{"flagged":false, "extra":1.50}]}'


class Vendor:
    def __init__(self) -> None:
        self.answer: Any = ANSWER
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, httpx2.Response):
            return self.answer
        return httpx2.Response(200, content=self.answer, headers={"content-type": "application/json"})


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path, vendor: Vendor) -> Gateway:
    sandbox: Any = SimpleNamespace(moderations=SandboxModerations(lambda _: None, 0))
    ports = {MODERATIONS: OpenAIModerations("sk-ours", "https://vendor.test/v1", answered_by(vendor))}
    return Gateway(database, clock, tmp_path, Wired(ports, sandbox, {}, stands_in=False))


def moderate(gateway: Gateway, given: Any = "a fox", mode: Any = "live", **members: Any) -> Any:
    return gateway.door(mode=mode).post("/v1/moderations", {"input": given, **members})


def test_the_members_go_on_and_the_answer_comes_back_as_they_came(gateway: Gateway, vendor: Vendor) -> None:
    answer = gateway.door().post("/v1/moderations", b'{"input" : [ "a",  "b" ], "unknown":1.50}')

    assert (answer.status_code, answer.data) == (200, ANSWER)
    (sent,) = vendor.requests
    assert str(sent.url) == "https://vendor.test/v1/moderations"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert sent.content == b'{"input":[ "a",  "b" ],"unknown":1.50}'
    assert answer.headers["x-rollout-model"] == "omni-moderation-latest"
    assert answer.headers["x-rollout-decision"].startswith("dec_")


def test_nothing_is_held_counted_or_charged(gateway: Gateway) -> None:
    gateway.limit("usd_micro", "life", 0, ANALYSIS)
    gateway.limit("request", "minute", 0, ANALYSIS)

    assert moderate(gateway).status_code == 200
    assert gateway.holds() == []


@pytest.mark.parametrize(
    ("members", "status", "param"),
    [
        ({"given": []}, 400, "input"),
        (
            {"given": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            400,
            "input.0.image_url.url",
        ),
        ({"model": "text-moderation-stable"}, 404, "model"),
    ],
)
def test_a_wrong_field_is_named_and_the_vendor_is_not_asked(
    gateway: Gateway, vendor: Vendor, members: dict[str, Any], status: int, param: str
) -> None:
    answer = moderate(gateway, **members)

    assert (answer.status_code, answer.json["error"]["param"]) == (status, param)
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (httpx2.ConnectError("nobody"), 503, "upstream_unavailable"),
        (httpx2.ReadTimeout("silent"), 503, "upstream_unavailable"),
        (httpx2.Response(429, json={"error": {"code": "rate_limit_exceeded"}}), 503, "upstream_unavailable"),
        (httpx2.Response(401, json={"error": {}}), 503, "upstream_unavailable"),
        (httpx2.Response(500, json={}), 503, "upstream_unavailable"),
        (b"<html>", 503, "upstream_unavailable"),
        (b'{"results":[]}', 503, "upstream_unavailable"),
    ],
)
def test_a_failure_of_the_vendor_may_be_tried_again_because_it_is_free(
    gateway: Gateway, vendor: Vendor, answer: Any, status: int, code: str
) -> None:
    vendor.answer = answer

    told = moderate(gateway)

    assert (told.status_code, told.json["error"]["code"]) == (status, code)
    assert "x-should-retry" not in told.headers
    assert len(vendor.requests) == 1


def test_a_test_key_is_answered_by_the_sandbox_and_rehearses_errors(gateway: Gateway, vendor: Vendor) -> None:
    answer = moderate(gateway, "sandbox:refuse=hate x", "test")
    denied = moderate(gateway, "sandbox:deny=at_capacity x", "test")

    assert answer.headers["x-rollout-model"] == "sandbox/omni-moderation-latest"
    assert json.loads(answer.data)["results"][0]["categories"]["hate"] is True
    assert (denied.status_code, denied.json["error"]["code"]) == (503, "at_capacity")
    assert vendor.requests == []


def test_a_kill_of_analysis_and_of_the_vendor_stop_it(gateway: Gateway, vendor: Vendor) -> None:
    gateway.services.vendors.disable(doors.ALICE, "openai", "incident")
    gateway.services.state.refresh()
    disabled = moderate(gateway)
    gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")
    gateway.services.state.refresh()
    killed = moderate(gateway)

    assert disabled.status_code == 503
    assert (killed.status_code, killed.json["error"]["code"]) == (403, "feature_killed")
    assert vendor.requests == []
