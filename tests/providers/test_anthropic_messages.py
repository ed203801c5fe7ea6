import json

import httpx2
import pytest
from lines import answered_by
from sandboxes import model

from rollout.core.catalogue import Usage
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import (
    BadCredential,
    Fault,
    MessageCall,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Rejected,
    Retired,
    Throttled,
)

BODY = b'{"model":"claude-sonnet-5-5", "max_tokens":5,\n"messages":[{"role":"user","content":"\\u00e9"}]}'
HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta"}
ANSWER = b'{"id":"msg_1","type":"message", "stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4},"x":1.50}'
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"type":"message","usage":{"input_tokens":3}}}\n\n'
    b'event: ping\ndata: {"type":"ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{"output_tokens":4}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
SSE = "text/event-stream; charset=utf-8"


def wire(handler):
    return AnthropicMessages("sk-ours", "https://vendor.example", answered_by(handler))


def call(stream=False):
    return MessageCall(model("claude-sonnet-5-5"), BODY, stream, HEADERS)


def answering(body, status=200, content_type="application/json", **headers):
    requests = []

    def handler(request):
        requests.append(request)
        return httpx2.Response(status, content=body, headers={"content-type": content_type, **headers})

    port = wire(handler)
    port.requests = requests
    return port


def failing(status, kind, message, **headers):
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    return answering(body, status, **headers)


def read(port):
    with port.stream(call(stream=True)) as events:
        return list(events)


def test_the_callers_bytes_and_version_go_out_as_they_came():
    port = answering(ANSWER)
    port.create(call())
    (sent,) = port.requests
    assert sent.content == BODY
    assert str(sent.url) == "https://vendor.example/v1/messages"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert (sent.headers["anthropic-version"], sent.headers["anthropic-beta"]) == ("2023-06-01", "some-beta")


def test_the_sdks_own_variables_are_never_read(monkeypatch):
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "PROFILE"):
        monkeypatch.setenv(f"ANTHROPIC_{name}", "https://evil.example")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Evil: 1\nAuthorization: Bearer evil")
    port = answering(ANSWER)
    port.create(call())
    (sent,) = port.requests
    assert sent.url.host == "vendor.example"
    assert "evil" not in str(dict(sent.headers)).lower()


def test_the_answer_comes_back_byte_for_byte_with_its_usage_read():
    answer = answering(ANSWER, **{"request-id": "req_1"}).create(call())
    assert answer.body == ANSWER
    assert (answer.usage, answer.stop_reason, answer.vendor_request_id) == (
        Usage(input=3, output=4),
        "end_turn",
        "req_1",
    )


def test_tokens_are_counted_at_their_own_route():
    port = answering(b'{"input_tokens":3}')
    assert port.count_tokens(call()) == b'{"input_tokens":3}'
    assert port.requests[0].url.path == "/v1/messages/count_tokens"


def test_a_stream_comes_byte_for_byte_with_cumulative_usage():
    events = read(answering(EVENTS, content_type=SSE))
    assert b"".join(event.raw for event in events) == EVENTS
    assert [event.usage for event in events] == [Usage(input=3), None, None, Usage(input=3, output=4), None]
    assert events[3].stop_reason == "refusal"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"type":"error"}', b'{"type":"message","usage":5}']
)
def test_an_answer_that_is_no_message_is_a_fault(body):
    with pytest.raises(Fault):
        answering(body).create(call())


def test_a_page_or_json_where_something_else_was_asked_for_is_a_fault():
    page = answering(b"<html>", content_type="text/html")
    with pytest.raises(Fault):
        page.create(call())
    with pytest.raises(Fault):
        page.count_tokens(call())
    with pytest.raises(Fault):
        read(answering(ANSWER))


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (400, "invalid_request_error", "Your credit balance is too low to use this", OutOfCredit),
        (400, "invalid_request_error", "max_tokens: too many", Rejected),
        (401, "authentication_error", "bad key", BadCredential),
        (402, "billing_error", "pay", OutOfCredit),
        (403, "permission_error", "no", BadCredential),
        (404, "not_found_error", "model: gone", Retired),
        (413, "request_too_large", "large", Rejected),
        (429, "rate_limit_error", "slow", Throttled),
        (529, "overloaded_error", "busy", Throttled),
        (307, "", "elsewhere", Fault),
        (500, "api_error", "oops", Fault),
        (504, "timeout_error", "late", Fault),
    ],
)
def test_an_error_means_what_its_type_says_or_else_its_status(status, kind, message, error):
    port = failing(status, kind, message, **{"request-id": "req_9", "retry-after": "3"})
    with pytest.raises(error) as raised:
        port.create(call())
    assert type(raised.value) is error
    assert raised.value.vendor_request_id == "req_9"
    assert len(port.requests) == 1


def test_the_field_that_the_vendor_names_is_passed_on():
    with pytest.raises(Rejected) as rejected:
        failing(400, "invalid_request_error", "messages.0.content: must be text").create(call())
    assert rejected.value.param == "messages.0.content"
    assert rejected.value.message == "messages.0.content: must be text"
    with pytest.raises(Rejected) as rejected:
        answering(b"<html>too large</html>", 413, "text/html").create(call())
    assert (rejected.value.param, rejected.value.status) == (None, 413)


def test_a_throttle_says_when_to_come_back():
    with pytest.raises(Throttled) as throttled:
        failing(529, "overloaded_error", "busy", **{"retry-after": "3"}).create(call())
    assert throttled.value.retry_after == 3


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error):
    def fail(request):
        raise error("x", request=request)

    with pytest.raises(NotSent):
        wire(fail).create(call())
    with pytest.raises(NotSent):
        read(wire(fail))


@pytest.mark.parametrize(
    "error", [httpx2.ReadTimeout, httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError]
)
def test_any_other_failure_of_transport_leaves_the_outcome_unknown(error):
    def fail(request):
        raise error("x", request=request)

    with pytest.raises(OutcomeUnknown):
        wire(fail).create(call())
    with pytest.raises(OutcomeUnknown):
        read(wire(fail))


ERROR = b'event: error\ndata: {"type":"error","error":{"type":"%s","message":"x"}}\n\n'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", OutcomeUnknown),
        (EVENTS[: EVENTS.index(b"event: message_stop")], OutcomeUnknown),
        (b"event: message_start\ndata: {\n\n", Fault),
        (ERROR % b"overloaded_error", Throttled),
        (ERROR % b"invalid_request_error", Rejected),
        (ERROR % b"api_error", Fault),
        (b"event: error\ndata: ?\n\n", Fault),
        (EVENTS[: EVENTS.index(b"event: message_delta")] + ERROR % b"overloaded_error", Fault),
    ],
)
def test_a_stream_without_its_end_is_no_success(body, error):
    with pytest.raises(error) as raised:
        read(answering(body, content_type=SSE))
    assert type(raised.value) is error
