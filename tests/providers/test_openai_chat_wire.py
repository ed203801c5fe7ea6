import json

import httpx2
import pytest
from lines import answered_by
from sandboxes import model

from rollout.core.catalogue import Usage
from rollout.providers.base import (
    BadCredential,
    ChatCall,
    Fault,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.openai_chat import OpenAIChats

BODY = b'{"model":"m", "messages":[{"role":"user","content":"\\u00e9"}]}'
ANSWER = b'{"id":"1", "choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":3,"completion_tokens":4},"y":1.50}'
SSE = "text/event-stream; charset=utf-8"
CHUNK = b'data: {"choices":[{"delta":{"content":"x"}}]}\r\n\r\n'
FINAL = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"


def answering(body, status=200, content_type="application/json", **headers):
    requests = []

    def handler(request):
        requests.append(request)
        return httpx2.Response(status, content=body, headers={"content-type": content_type, **headers})

    port = OpenAIChats("sk-ours", "https://vendor.example/v1", answered_by(handler))
    port.requests = requests
    return port


def call(stream=False):
    return ChatCall(model("llama-3.2-90b-vision"), BODY, stream)


def read(port):
    with port.stream(call(stream=True)) as events:
        return list(events)


def test_the_callers_bytes_go_out_as_they_came_with_our_key():
    port = answering(ANSWER)
    port.create(call())
    (sent,) = port.requests
    assert sent.content == BODY
    assert str(sent.url) == "https://vendor.example/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"


def test_the_sdks_own_variables_are_never_read(monkeypatch):
    for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", "https://evil.example")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Evil: 1\nAuthorization: Bearer evil")
    port = answering(ANSWER)
    port.create(call())
    (sent,) = port.requests
    assert sent.url.host == "vendor.example"
    assert "evil" not in str(dict(sent.headers)).lower()


def test_the_answer_comes_back_byte_for_byte_with_its_usage_read():
    answer = answering(ANSWER, **{"x-request-id": "req_1"}).create(call())
    assert answer.body == ANSWER
    assert (answer.usage, answer.vendor_request_id) == (Usage(input=3, output=4), "req_1")


def test_a_stream_comes_byte_for_byte_and_a_usage_beside_choices_is_for_the_caller():
    events = read(answering(b": hello\n\n" + CHUNK + FINAL + DONE, content_type=SSE))
    assert b"".join(event.raw for event in events) == CHUNK + FINAL + DONE
    assert [event.usage for event in events] == [None, Usage(input=3, output=4), None]
    assert not any(event.is_usage for event in events)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 20}, Usage(input=9, output=11)),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}},
            Usage(input=4, output=4, cache_read=5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 50}},
            Usage(input=0, output=4, cache_read=9),
        ),
        ({"prompt_tokens": -9, "completion_tokens": -4}, Usage()),
        ({"prompt_tokens": 9}, None),
        (None, None),
    ],
)
def test_usage_is_read_as_the_vendors_tell_it(told, usage):
    body = json.dumps({"choices": [{"message": {}}], "usage": told}).encode()
    assert answering(body).create(call()).usage == usage


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"error":"x"}',
        b'{"choices":[]}',
        b'{"choices":[{}],"usage":5}',
        b'{"request_id":"1"}',
    ],
)
def test_an_answer_that_is_no_completion_is_a_fault(body):
    with pytest.raises(Fault):
        answering(body).create(call())


def test_a_page_or_json_where_something_else_was_asked_for_is_a_fault():
    with pytest.raises(Fault):
        answering(b"<html>", content_type="text/html").create(call())
    with pytest.raises(Fault):
        read(answering(ANSWER))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"message": "bad", "param": "n", "code": None}}, Rejected),
        (400, {"error": {"message": "Incorrect API key provided: sk"}}, BadCredential),
        (400, {"error": {"message": "x", "code": "content_filter"}}, Refused),
        (401, {"error": {"message": "x"}}, BadCredential),
        (403, {"code": "y", "error": "Your team has used all available credits"}, OutOfCredit),
        (403, {"code": "y", "error": "Content violates usage guidelines."}, Refused),
        (404, {"error": {"message": "x", "code": "model_not_found"}}, Retired),
        (413, {"error": {"message": "x"}}, Rejected),
        (422, {"detail": "x"}, Rejected),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, OutOfCredit),
        (429, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, Throttled),
        (307, {}, Fault),
        (408, {}, Fault),
        (500, {"error": {"message": "x"}}, Fault),
    ],
)
def test_an_error_means_what_its_code_or_words_say_or_else_its_status(status, body, error):
    port = answering(json.dumps(body).encode(), status, **{"x-request-id": "req_9", "retry-after": "3"})
    with pytest.raises(error) as raised:
        port.create(call())
    assert type(raised.value) is error
    assert raised.value.vendor_request_id == "req_9"
    assert len(port.requests) == 1
    if error is Throttled:
        assert raised.value.retry_after == 3


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error):
    def fail(request):
        raise error("x", request=request)

    port = OpenAIChats("k", "https://vendor.example/v1", answered_by(fail))
    for ask in (lambda: port.create(call()), lambda: read(port)):
        with pytest.raises(NotSent):
            ask()


@pytest.mark.parametrize(
    "error", [httpx2.ReadTimeout, httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError]
)
def test_any_other_failure_of_transport_leaves_the_outcome_unknown(error):
    def fail(request):
        raise error("x", request=request)

    port = OpenAIChats("k", "https://vendor.example/v1", answered_by(fail))
    for ask in (lambda: port.create(call()), lambda: read(port)):
        with pytest.raises(OutcomeUnknown):
            ask()


ERROR = b'data: {"error":{"message":"x","type":"%s","code":"%s"}}\n\n'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", OutcomeUnknown),
        (CHUNK, OutcomeUnknown),
        (CHUNK + FINAL, OutcomeUnknown),
        (b"data: {\n\n", Fault),
        (b'data: {"error":"all broken"}\n\n', Fault),
        (ERROR % (b"server_error", b"x"), Fault),
        (ERROR % (b"x", b"insufficient_quota"), OutOfCredit),
        (ERROR % (b"x", b"content_filter"), Refused),
        (ERROR % (b"invalid_request_error", b"x"), Rejected),
        (CHUNK + ERROR % (b"x", b"content_filter"), Fault),
        (CHUNK + ERROR % (b"invalid_request_error", b"x"), Fault),
    ],
)
def test_a_stream_that_breaks_before_its_end_says_what_became_of_the_work(body, error):
    with pytest.raises(error) as raised:
        read(answering(body, content_type=SSE))
    assert type(raised.value) is error
