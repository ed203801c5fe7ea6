import base64
import json
from dataclasses import replace

import httpx2
import pytest
from lines import answered_by
from sandboxes import model, picture

from rollout.core.images import Finished, ImageRequest, Partial
from rollout.core.input_images import InputImage
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.openai_images import OpenAIImages

PAINTER = model("gpt-image-2.5-flare")
B64 = base64.b64encode(picture()).decode()
ANSWER = {
    "created": 5,
    "data": [{"b64_json": B64}],
    "size": "1024x1024",
    "quality": "low",
    "output_format": "png",
}
USAGE = {"input_tokens": 3, "output_tokens": 4, "input_tokens_details": {"text_tokens": 1, "image_tokens": 2}}


def wire(handler):
    return OpenAIImages("sk-ours", "https://vendor.example/v1", answered_by(handler))


def call(**members):
    request = ImageRequest(**{"operation": "generate", "prompt": "a fox", "model": "dall-e-3", **members})
    return ImageCall(PAINTER, request, user="hashed")


def answering(body, status=200, content_type="application/json", **headers):
    """A vendor that always answers the same; `requests` holds what it got."""
    requests = []

    def handler(request):
        requests.append(request)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(status, content=content, headers={"content-type": content_type, **headers})

    port = wire(handler)
    port.requests = requests
    return port


def test_a_host_that_answers_with_an_address_has_its_picture_fetched_once():
    fetched = []

    def fetch(url):
        fetched.append(url)
        return picture()

    answer = {"created": 5, "data": [{"url": "https://cdn.example/1.png", "revised_prompt": "a red fox"}]}
    handler = lambda request: httpx2.Response(200, json=answer)  # noqa: E731
    port = OpenAIImages("k", "https://host.example/v1", replace(answered_by(handler), fetch=fetch))
    finished = port.generate(call())
    assert fetched == ["https://cdn.example/1.png"]
    assert (finished.pictures[0].b64, finished.pictures[0].media_type) == (B64.encode(), "image/png")
    assert (finished.pictures[0].revised_prompt, finished.usage) == ("a red fox", None)


def test_a_picture_that_cannot_be_fetched_is_a_fault():
    port = answering({"created": 5, "data": [{"url": "https://169.254.169.254/"}]})
    with pytest.raises(Fault, match="cannot be fetched"):
        port.generate(call())


def events(*items):
    return b"".join(f"event: {item.get('type')}\ndata: {json.dumps(item)}\n\n".encode() for item in items)


def streaming(*items):
    return answering(events(*items), content_type="text/event-stream; charset=utf-8")


def read(port, **members):
    with port.stream(call(stream=True, **members)) as stream:
        return list(stream)


def completed(**members):
    return {"type": "image_generation.completed", "b64_json": B64, "created_at": 5, "usage": USAGE, **members}


def test_a_generation_is_sent_as_json_with_what_the_caller_chose_and_no_more():
    port = answering(ANSWER)
    port.generate(call(n=2, quality="low", response_format="url"))
    (sent,) = port.requests
    assert str(sent.url) == "https://vendor.example/v1/images/generations"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert json.loads(sent.content) == {
        "model": "gpt-image-2.5-flare",
        "prompt": "a fox",
        "n": 2,
        "quality": "low",
        "safety_identifier": "hashed",
    }


@pytest.mark.parametrize(("count", "field"), [(1, "image"), (2, "image[]")])
def test_an_edit_is_sent_as_a_form_that_spells_its_pictures_as_the_sdk_does(count, field):
    port = answering(ANSWER)
    image = InputImage(picture(), "image/png", 64, 48)
    port.generate(call(operation="edit", images=(image,) * count, mask=image, n=1, input_fidelity="high"))
    (sent,) = port.requests
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    body = sent.content
    assert body.count(f'name="{field}"; filename='.encode()) == count
    assert body.count(b'name="mask"; filename="mask.png"') == 1
    assert body.count(picture()) == count + 1
    assert b'name="input_fidelity"\r\n\r\nhigh' in body
    assert b'name="model"\r\n\r\ngpt-image-2.5-flare' in body


def test_the_sdks_own_variables_are_never_read(monkeypatch):
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "BASE_URL"):
        monkeypatch.setenv(f"OPENAI_{name}", "https://evil.example")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Evil: 1\nAuthorization: Bearer evil")
    port = answering(ANSWER)
    port.generate(call())
    (sent,) = port.requests
    assert sent.url.host == "vendor.example"
    assert sent.headers["authorization"] == "Bearer sk-ours"
    assert "evil" not in str(dict(sent.headers)).lower()


def test_an_answer_is_read_without_touching_its_pictures():
    answer = {
        **ANSWER,
        "usage": USAGE,
        "unknown": {"a": [1]},
        "data": [{"b64_json": B64, "revised_prompt": "better"}],
    }
    finished = answering(answer, **{"x-request-id": "req_1"}).generate(call())
    assert finished.pictures[0].b64 == B64.encode()
    assert (finished.pictures[0].media_type, finished.pictures[0].revised_prompt) == ("image/png", "better")
    assert (finished.usage.text_in, finished.usage.image_in, finished.usage.output) == (1, 2, 4)
    assert (finished.created, finished.size, finished.vendor_request_id) == (5, "1024x1024", "req_1")


def test_escaped_slashes_in_base64_are_unescaped():
    body = json.dumps(ANSWER).replace("/", "\\/").encode()
    assert answering(body).generate(call()).pictures[0].b64 == B64.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"ok"',
        b"[" * 5_000,
        {"created": 1},
        {"created": 1, "data": []},
        {"created": 1, "data": [{}]},
        {"created": 1, "data": [{"url": "https://x"}]},
        {"created": 1, "data": [{"b64_json": 5}]},
        {"created": 1, "data": [{"b64_json": ""}]},
        {"created": 1, "data": [{"b64_json": "%%%%"}]},
        {"created": 1, "data": [{"b64_json": base64.b64encode(b"plain text").decode()}]},
        {"created": 1, "data": [{"b64_json": B64[:-1]}]},
        {"created": 1, "data": [{"b64_json": B64}, {"b64_json": "aGk="}]},
        {"created": 1, "data": [{"b64_json": B64}], "usage": "much"},
    ],
)
def test_an_answer_that_is_none_is_a_fault(body):
    with pytest.raises(Fault):
        answering(body).generate(call())


def test_a_page_is_a_fault_to_both_kinds_of_call():
    page = answering(b"<html>busy</html>", content_type="text/html")
    with pytest.raises(Fault, match="text/html"):
        page.generate(call())
    with pytest.raises(Fault, match="text/html"):
        read(page)


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error):
    def fail(request):
        raise error("x", request=request)

    with pytest.raises(NotSent):
        wire(fail).generate(call())
    with pytest.raises(NotSent):
        read(wire(fail))


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ReadTimeout,
        httpx2.WriteTimeout,
        httpx2.WriteError,
        httpx2.ReadError,
        httpx2.RemoteProtocolError,
    ],
)
def test_any_other_failure_of_transport_leaves_the_outcome_unknown(error):
    def fail(request):
        raise error("x", request=request)

    with pytest.raises(OutcomeUnknown):
        wire(fail).generate(call())
    with pytest.raises(OutcomeUnknown):
        read(wire(fail))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "moderation_blocked", Refused),
        (400, "content_policy_violation", Refused),
        (400, "billing_hard_limit_reached", OutOfCredit),
        (400, "invalid_value", Rejected),
        (401, "invalid_api_key", BadCredential),
        (404, "model_not_found", Retired),
        (409, None, Rejected),
        (429, "rate_limit_exceeded", Throttled),
        (429, "insufficient_quota", OutOfCredit),
        (302, None, Fault),
        (500, "server_error", Fault),
    ],
)
def test_an_error_means_what_its_code_says_or_else_its_status(status, code, error):
    body = {"error": {"message": "no", "type": "t", "code": code, "param": "size"}}
    port = answering(body, status, **{"x-request-id": "req_9", "retry-after": "7"})
    with pytest.raises(error) as raised:
        port.generate(call())
    assert type(raised.value) is error
    assert raised.value.vendor_request_id == "req_9"
    assert len(port.requests) == 1


def test_what_the_vendor_rejects_is_told_in_its_own_words():
    with pytest.raises(Rejected) as rejected:
        answering({"error": {"message": "size is odd", "param": "size", "code": "x"}}, 422).generate(call())
    assert (rejected.value.message, rejected.value.param, rejected.value.status) == (
        "size is odd",
        "size",
        422,
    )
    with pytest.raises(Rejected):
        answering(b"<html>413</html>", 413, "text/html").generate(call())


def test_a_throttle_says_when_to_come_back():
    with pytest.raises(Throttled) as throttled:
        answering({"error": {"message": "slow down"}}, 429, **{"retry-after": "7"}).generate(call())
    assert throttled.value.retry_after == 7


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("rejected. safety_violations=[violence].", "violence"),
        ("rejected. safety_violations=[self-harm, hate].", "self_harm"),
        ("rejected. safety_violations=[sexual/minors].", "minors"),
        ("rejected. safety_violations=[novel].", "policy"),
        ("rejected.", "policy"),
    ],
)
def test_a_refusal_is_put_into_our_categories(message, category):
    with pytest.raises(Refused) as refused:
        answering({"error": {"message": message, "code": "moderation_blocked"}}, 400).generate(call())
    assert (refused.value.category, refused.value.point) == (category, "prompt")


def test_a_refusal_says_in_the_vendors_word_what_was_refused():
    message = "The generated images were rejected. safety_violations=[sexual/minors]."
    with pytest.raises(Refused) as refused:
        answering({"error": {"message": message, "code": "moderation_blocked"}}, 400).generate(call())
    assert (refused.value.point, refused.value.vendor_code) == ("output_image", "sexual/minors")


def test_a_stream_gives_partials_and_one_end():
    partial = {"type": "image_generation.partial_image", "b64_json": B64, "partial_image_index": 0}
    port = streaming(partial, {"type": "image_generation.news"}, completed())
    first, end = read(port, partial_images=1)
    assert isinstance(first, Partial)
    assert isinstance(end, Finished)
    assert json.loads(port.requests[0].content)["partial_images"] == 1
    assert port.requests[0].headers["accept"] == "text/event-stream"


def test_several_completed_pictures_are_one_answer_with_their_usages_added():
    (end,) = read(streaming(completed(), completed()), n=2)
    assert len(end.pictures) == 2
    assert (end.usage.output, end.usage.text_in, end.usage.image_in) == (8, 2, 4)
    (part,) = read(streaming(completed(), completed(usage=None)), n=2)
    assert part.usage is None


def test_fewer_completed_pictures_than_asked_for_are_an_answer():
    (end,) = read(streaming(completed()), n=3)
    assert len(end.pictures) == 1


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([], OutcomeUnknown),
        ([{"type": "image_generation.partial_image", "b64_json": B64}], OutcomeUnknown),
        ([completed(b64_json="aGk=")], Fault),
        ([completed(usage="x")], Fault),
        ([{"type": "error", "error": {"code": "moderation_blocked", "message": "no"}}], Refused),
        ([{"type": "error", "error": {"code": "server_error", "message": "no"}}], Fault),
        ([{"type": "error", "error": "?"}], Fault),
    ],
)
def test_a_stream_without_its_picture_is_no_success(items, error):
    with pytest.raises(error):
        read(streaming(*items))


def test_a_stream_of_nonsense_is_a_fault():
    with pytest.raises(Fault):
        read(answering(b"data: {\n\n", content_type="text/event-stream"))


class Cut(httpx2.SyncByteStream):
    """A body that ends in an error of transport."""

    def __init__(self, *chunks):
        self.chunks, self.closed = chunks, False

    def __iter__(self):
        yield from self.chunks
        raise httpx2.ReadError("cut")

    def close(self):
        self.closed = True


@pytest.mark.parametrize("items", [(), (completed(),)])
def test_a_cut_stream_leaves_the_outcome_unknown_and_no_connection_open(items):
    body = Cut(events(*items))
    port = wire(
        lambda request: httpx2.Response(200, stream=body, headers={"content-type": "text/event-stream"})
    )
    with pytest.raises(OutcomeUnknown):
        read(port, n=2)
    assert body.closed


def test_a_picture_that_is_whole_counts_although_the_stream_is_cut_after_it():
    body = Cut(events(completed()))
    port = wire(
        lambda request: httpx2.Response(200, stream=body, headers={"content-type": "text/event-stream"})
    )
    (end,) = read(port)
    assert len(end.pictures) == 1
