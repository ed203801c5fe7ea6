"""Chat completions at the drop-in door, over the real wire: passed through, charged, refused, and cut."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import doors
import httpx2
import pytest
import sqlalchemy as sa
from clocks import Clock
from gateway import PNG, Gateway, on_sqlite
from lines import answered_by

from rollout.core.decisions import ANALYSIS
from rollout.db.engine import Database
from rollout.db.tables import analysis, guardrail_event
from rollout.providers.openai_chat import OpenAIChats
from rollout.providers.sandbox.chats import SandboxChats
from rollout.providers.sandbox.works import Works
from rollout.services.providers import Wired

LLAMA = "llama-3.2-90b-vision"
ANSWER = (
    b'{"id":"cmpl_1", "object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"A fox."},'
    b'"finish_reason":"stop"}],"model":"meta/llama","usage":{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35}}'
)
COST = 44
"""30 tokens in and 5 out at the prices of llama-3.2-90b-vision, in micro-dollars."""

CHUNKS = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"A fox."}}]}\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
USAGE = (
    b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35}}\n\n'
)
DONE = b"data: [DONE]\n\n"
PICTURE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"},
}


class Host:
    """A host of models at the other end of the wire; `answers` are given one by one, an exception is raised."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        streams = b'"stream":true' in request.content
        answer = self.answers.pop(0) if self.answers else CHUNKS + USAGE + DONE if streams else ANSWER
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx2.Response):
            return answer
        kind = "text/event-stream" if streams else "application/json"
        return httpx2.Response(
            200, content=answer, headers={"content-type": kind, "x-request-id": "req_host"}
        )


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path, host: Host) -> Gateway:
    sandbox: Any = SimpleNamespace(chats=SandboxChats(Works(clock), lambda _: None, 0))
    line = answered_by(host)
    ports = {
        (vendor, "openai_chat"): OpenAIChats("sk-ours", f"https://{vendor}.test/v1", line)
        for vendor in ("llama", "xai")
    }
    return Gateway(database, clock, tmp_path, Wired(ports, sandbox, {}, stands_in=False))


def ask(
    gateway: Gateway,
    mode: Any = "live",
    *,
    prompt: str = "What is this?",
    headers: Any = None,
    **members: Any,
) -> Any:
    content = [{"type": "text", "text": prompt}, PICTURE]
    body = {"model": LLAMA, "max_tokens": 100, "messages": [{"role": "user", "content": content}], **members}
    return gateway.door(mode=mode).post("/v1/chat/completions", body, **(headers or {}))


def failed(status: int, code: str | None = None, message: str = "no", **headers: str) -> httpx2.Response:
    error = {"message": message, "type": "x", "param": None, "code": code}
    return httpx2.Response(status, json={"error": error}, headers=headers)


def test_the_answer_comes_back_byte_for_byte_and_is_charged_by_its_usage(
    gateway: Gateway, host: Host
) -> None:
    answer = ask(gateway)

    assert (answer.status_code, answer.data) == (200, ANSWER)
    assert answer.headers["x-rollout-model"] == LLAMA
    hold = gateway.the_hold()
    assert (hold.state, hold.feature, hold.cost_usd_micro) == ("settled", ANALYSIS, COST)
    with gateway.database.read() as tx:
        row = tx.execute(sa.select(analysis)).mappings().one()
    assert (row["hold_id"], row["model"], row["vendor"]) == (hold.id, LLAMA, "llama")
    assert len(host.requests) == 1


@on_sqlite
def test_members_go_to_the_host_as_they_came_but_for_the_models_name(gateway: Gateway, host: Host) -> None:
    body = (
        b'{"messages":[ {"role":"user", "content":"hi"} ], "model":"llama-3.2-vision",'
        b' "temperature":1.0,"max_tokens" : 5, "rollout":{}}'
    )

    answer = gateway.door().post("/v1/chat/completions", body)

    (sent,) = host.requests
    assert str(sent.url) == "https://llama.test/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert sent.content == (
        b'{"messages":[ {"role":"user", "content":"hi"} ],"model":"meta/llama-3.2-90b","temperature":1.0,"max_tokens":5}'
    )
    assert answer.headers["x-rollout-model"] == LLAMA


@on_sqlite
def test_the_end_user_of_the_header_goes_on_as_a_hash(gateway: Gateway, host: Host) -> None:
    ask(gateway, headers={"x_rollout_end_user": "rosa"})
    ask(gateway, headers={"x_rollout_end_user": "rosa"}, user="mine")

    ours, theirs = (json.loads(request.content)["user"] for request in host.requests)
    assert len(ours) == 40
    assert "rosa" not in ours
    assert theirs == "mine"


@on_sqlite
@pytest.mark.parametrize(
    ("members", "status", "param"),
    [
        ({"model": "claude-sonnet-5-5"}, 404, "model"),
        ({"model": "gpt-image-2.5-flare"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"n": 0}, 400, "n"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"service_tier": "priority"}, 422, "service_tier"),
        ({"tools": [{"type": "live_search"}]}, 422, "tools.0"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_held(
    gateway: Gateway, host: Host, members: dict[str, Any], status: int, param: str
) -> None:
    answer = ask(gateway, **members)

    assert (answer.status_code, answer.json["error"]["param"]) == (status, param)
    assert gateway.holds() == []
    assert host.requests == []


@on_sqlite
def test_a_model_of_another_route_says_which(gateway: Gateway) -> None:
    chat = ask(gateway, model="claude-sonnet-5-5")
    message = gateway.door().analyze(model=LLAMA)

    assert "POST /v1/messages" in chat.json["error"]["remedy"]
    assert "POST /v1/chat/completions" in message.json["error"]["details"]["remedy"]


@on_sqlite
def test_what_is_held_is_the_worst_that_the_request_allows(gateway: Gateway, host: Host) -> None:
    """The picture 6,500 tokens, the body a token a byte and 2,000 beside it, and all that may be written, for each choice."""
    host.answers = [httpx2.ReadTimeout("silent")] * 3
    for members in ({"max_tokens": 100}, {"max_tokens": 100, "n": 3}, {"max_tokens": None}):
        ask(gateway, **members)

    few, thrice, unbounded = (hold.cost_usd_micro for hold in gateway.holds())
    assert thrice - few == pytest.approx(200 * 1.6, abs=10)
    assert unbounded - few == pytest.approx((16_384 - 100) * 1.6, abs=10)
    assert 8_500 * 1.2 < few < 9_500 * 1.2


@on_sqlite
def test_the_larger_of_two_bounds_is_held(gateway: Gateway, host: Host) -> None:
    host.answers = [httpx2.ReadTimeout("silent")] * 2
    for members in ({"max_tokens": 9_000}, {"max_tokens": 5, "max_completion_tokens": 9_000}):
        ask(gateway, **members)

    one, two = (hold.cost_usd_micro for hold in gateway.holds())
    assert two == pytest.approx(one, abs=50)


@on_sqlite
def test_what_a_model_thought_is_charged_as_output_and_what_a_cache_gave_at_its_own_price(
    gateway: Gateway, host: Host
) -> None:
    usage = {
        "prompt_tokens": 1_000,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens": 10,
        "total_tokens": 1_110,
    }
    host.answers = [json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode()]

    ask(gateway, model="grok-4")

    assert gateway.the_hold().cost_usd_micro == 600 * 3 + 400 * 0.75 + 110 * 15


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_chunks_are_passed_on_and_the_usage_that_we_asked_for_is_hidden(gateway: Gateway, host: Host) -> None:
    answer = ask(gateway, stream=True)

    assert answer.content_type.startswith("text/event-stream")
    assert answer.data == CHUNKS + DONE
    assert gateway.the_hold().cost_usd_micro == COST
    assert json.loads(host.requests[0].content)["stream_options"] == {"include_usage": True}


@on_sqlite
def test_who_asks_for_the_usage_gets_it_and_other_options_go_on(gateway: Gateway, host: Host) -> None:
    answer = ask(gateway, stream=True, stream_options={"include_usage": True, "include_obfuscation": False})

    assert answer.data == CHUNKS + USAGE + DONE
    assert json.loads(host.requests[0].content)["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


@on_sqlite
def test_the_end_waits_for_the_settle(gateway: Gateway) -> None:
    stream = ask(gateway, stream=True).iter_encoded()

    for _ in range(3):
        next(stream)
    assert gateway.the_hold().state == "dispatched"
    assert next(stream) == DONE
    assert gateway.the_hold().state == "settled"


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_is_answered_with_the_same_bytes_and_charged_once(
    gateway: Gateway, host: Host, stream: bool
) -> None:
    first = ask(gateway, stream=stream, headers={"Idempotency_Key": "k"})
    assert first.data == (CHUNKS + DONE if stream else ANSWER)
    again = ask(gateway, stream=stream, headers={"Idempotency_Key": "k"})

    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(host.requests) == 1


@on_sqlite
@pytest.mark.parametrize(
    "end", [b"", b'data: {"error":{"message":"oom","type":"server_error","code":500}}\n\n', b"data: {\n\n"]
)
def test_a_stream_that_breaks_ends_with_the_error_that_the_sdk_raises(
    gateway: Gateway, host: Host, end: bytes
) -> None:
    host.answers = [CHUNKS + end]

    told = ask(gateway, stream=True).data

    assert told.startswith(CHUNKS)
    error = json.loads(told.removeprefix(CHUNKS).split(b"data: ", 1)[1])["error"]
    assert error["hold_id"] == gateway.the_hold().id
    assert error["code"] == ("upstream_unavailable" if end else "outcome_unknown")
    assert gateway.the_hold().state == "unknown"


@on_sqlite
def test_json_where_a_stream_was_asked_for_is_an_error_that_is_not_tried_again(
    gateway: Gateway, host: Host
) -> None:
    host.answers = [httpx2.Response(200, content=ANSWER, headers={"content-type": "application/json"})]

    answer = ask(gateway, stream=True)

    assert (answer.status_code, answer.json["error"]["code"]) == (502, "upstream_unavailable")
    assert answer.headers["x-should-retry"] == "false"
    assert gateway.the_hold().state == "unknown"


# -- failures and refusals ---------------------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize("model", [LLAMA, "grok-4"])
@pytest.mark.parametrize(
    ("answer", "status", "code", "state"),
    [
        (lambda: httpx2.ConnectError("nobody"), 503, "upstream_unavailable", "void"),
        (lambda: httpx2.ReadTimeout("silent"), 504, "outcome_unknown", "unknown"),
        (lambda: failed(429, "rate_limit_exceeded"), 503, "upstream_unavailable", "void"),
        (lambda: failed(429, "insufficient_quota"), 503, "upstream_unavailable", "void"),
        (lambda: failed(401), 503, "upstream_unavailable", "void"),
        (lambda: failed(400), 400, "invalid_request", "void"),
        (lambda: failed(404, "model_not_found"), 400, "model_retired", "void"),
        (lambda: failed(500), 502, "upstream_unavailable", "unknown"),
        (lambda: b'{"error":"oops"}', 502, "upstream_unavailable", "unknown"),
        (lambda: b'{"choices":[]}', 502, "upstream_unavailable", "unknown"),
        (lambda: b'{"choices":[{"mess', 502, "upstream_unavailable", "unknown"),
    ],
)
def test_each_failure_of_the_vendor_has_its_answer(
    gateway: Gateway,
    host: Host,
    model: str,
    answer: Callable[[], Any],
    status: int,
    code: str,
    state: str,
) -> None:
    once = answer()
    host.answers = [once, once]

    told = ask(gateway, model=model)

    assert (told.status_code, told.json["error"]["code"]) == (status, code)
    assert told.headers.get("x-should-retry") == ("false" if state == "unknown" else None)
    assert gateway.the_hold().state == state
    assert len(host.requests) == (2 if isinstance(once, httpx2.ConnectError) else 1)


def refusals(gateway: Gateway) -> list[tuple[str, str, str | None]]:
    with gateway.database.read() as tx:
        rows = tx.execute(sa.select(guardrail_event)).mappings().all()
    return [(row["category"], row["source"], row["vendor_code"]) for row in rows]


@on_sqlite
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_in_the_answer_stays_an_answer_and_is_one_event(
    gateway: Gateway, host: Host, stream: bool
) -> None:
    plain, cut = b'"finish_reason":"stop"', b'"finish_reason":"content_filter"'
    host.answers = [(CHUNKS + USAGE + DONE if stream else ANSWER).replace(plain, cut)]

    answer = ask(gateway, stream=stream)

    assert answer.status_code == 200
    assert cut in answer.data
    assert gateway.the_hold().cost_usd_micro == COST
    assert refusals(gateway) == [("policy", "llama", "content_filter")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_by_an_error_costs_nothing_is_one_event_and_comes_again_with_its_key(
    gateway: Gateway, host: Host, stream: bool
) -> None:
    sentence = "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"
    host.answers = [httpx2.Response(403, json={"code": "forbidden", "error": sentence})]

    first, again = (
        ask(gateway, model="grok-4", stream=stream, headers={"Idempotency_Key": "k"}) for _ in range(2)
    )

    for answer in (first, again):
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "content_refused")
        assert answer.json["error"]["category"] == "bio"
    assert (gateway.the_hold().state, gateway.the_hold().cost_usd_micro) == ("settled", 0)
    assert refusals(gateway) == [("bio", "xai", "SAFETY_CHECK_TYPE_BIO")]
    assert len(host.requests) == 1


# -- who may -----------------------------------------------------------------------------------------------------------


@on_sqlite
def test_a_test_key_is_answered_by_the_sandbox_and_rehearses_errors(gateway: Gateway, host: Host) -> None:
    answer, streamed = ask(gateway, "test"), ask(gateway, "test", stream=True)
    denied = ask(gateway, "test", prompt="sandbox:deny=at_capacity hello")

    assert answer.headers["x-rollout-model"] == f"sandbox/{LLAMA}"
    assert "1x1 pixels" in answer.json["choices"][0]["message"]["content"]
    assert streamed.data.endswith(DONE)
    assert (denied.status_code, denied.json["error"]["code"]) == (503, "at_capacity")
    assert host.requests == []


@on_sqlite
def test_a_kill_of_analysis_and_of_the_vendor_stop_it(gateway: Gateway, host: Host) -> None:
    gateway.services.vendors.disable(doors.ALICE, "llama", "incident")
    gateway.services.state.refresh()
    disabled, other = ask(gateway), ask(gateway, model="grok-4")
    gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")
    gateway.services.state.refresh()
    killed = ask(gateway, model="grok-4")

    assert [disabled.status_code, other.status_code] == [503, 200]
    assert (killed.status_code, killed.json["error"]["code"]) == (403, "feature_killed")
    assert len(host.requests) == 1


@on_sqlite
def test_a_key_without_the_scope_is_turned_away(gateway: Gateway) -> None:
    door = gateway.door(scopes=("generate",))

    assert door.post("/v1/chat/completions", {}).status_code == 403
    assert door.post("/v1/moderations", {}).status_code == 403
