"""The served sandbox, as the vendors' own SDKs see it over real sockets."""

import base64
import hashlib
import http.client
import json

import anthropic
import openai
import pytest
from sandboxes import picture, serve_sandbox

from rollout.services.sandbox.bench import Arrived, Journal

HELLO = [{"role": "user", "content": "hello"}]
READER = "claude-sonnet-5-5"


@pytest.fixture(scope="module")
def served():
    with serve_sandbox() as running:
        yield running


@pytest.fixture
def painter(served):
    with openai.OpenAI(api_key="any", base_url=f"{served.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def reader(served):
    with anthropic.Anthropic(api_key="any", base_url=served.url, max_retries=0) as client:
        yield client


def send(served, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=10)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"authorization": "Bearer any", **names})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_openai_generates_edits_and_streams(painter):
    made = painter.images.generate(model="gpt-image-2", prompt="a fox", size="64x64", n=2)
    assert len(made.data) == 2
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    assert made._request_id.startswith("req_sandbox_")
    data = base64.b64decode(made.data[0].b64_json)
    edited = painter.images.edit(
        model="gpt-image-2",
        prompt="bluer",
        image=[("a.png", data, "image/png"), ("b.png", data)],
        size="64x64",
    )
    assert edited.data[0].b64_json != made.data[0].b64_json
    stream = painter.images.generate(
        model="gpt-image-2", prompt="a fox", size="64x64", stream=True, partial_images=1
    )
    events = [event.type for event in stream]
    assert events == ["image_generation.partial_image", "image_generation.completed"]
    stream = painter.images.edit(
        model="gpt-image-2", prompt="a fox", image=("a.png", data), size="64x64", stream=True
    )
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_anthropic_creates_streams_and_counts(reader):
    message = reader.messages.create(model=READER, max_tokens=50, messages=HELLO)
    assert message.content[0].text.startswith("SANDBOX")
    with reader.messages.stream(model=READER, max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == message.content[0].text
        assert stream.get_final_message().usage.output_tokens == message.usage.output_tokens
    assert reader.messages.count_tokens(model=READER, messages=HELLO).input_tokens > 0


def test_both_list_models_in_their_own_shape(painter, reader):
    assert {"gpt-image-2", READER} <= {row.id for row in painter.models.list()}
    assert {"gpt-image-2", READER} <= {row.id for row in reader.models.list()}
    assert painter.models.retrieve("gpt-image-2").owned_by == "openai"
    assert reader.models.retrieve("claude-sonnet-4-5").lifecycle == "deprecated"
    with pytest.raises(openai.NotFoundError):
        painter.models.retrieve("claude-opus-4")
    with pytest.raises(anthropic.NotFoundError):
        reader.models.retrieve("nothing")


def test_errors_have_the_vendors_shapes(painter, reader):
    with pytest.raises(openai.BadRequestError) as bad:
        painter.images.generate(model="gpt-image-2", prompt="x", n=11)
    assert bad.value.param == "n"
    with pytest.raises(openai.NotFoundError) as gone:
        painter.images.generate(model="dall-e-3", prompt="x")
    assert gone.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError) as poor:
        painter.images.generate(model="gpt-image-2", prompt="sandbox:error=429:insufficient_quota x")
    assert poor.value.code == "insufficient_quota"
    with pytest.raises(openai.APIError) as refused:
        list(
            painter.images.generate(
                model="gpt-image-2", prompt="sandbox:flagged=output x", size="64x64", stream=True
            )
        )
    assert refused.value.code == "moderation_blocked"
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        reader.messages.create(model=READER, max_tokens=10**6, messages=HELLO, timeout=10)
    with pytest.raises(anthropic.NotFoundError):
        reader.messages.create(model="claude-sonnet-4", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.APIStatusError) as busy:
        reader.messages.create(
            model=READER, max_tokens=5, messages=[{"role": "user", "content": "sandbox:error=529 x"}]
        )
    assert busy.value.body["error"]["type"] == "overloaded_error"
    assert busy.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("fault", ["drop", "cut=0", "hang"])
def test_a_dropped_connection_is_seen_as_one(painter, reader, fault):
    with pytest.raises(openai.APIConnectionError):
        painter.images.generate(model="gpt-image-2", prompt=f"sandbox:{fault} x", size="64x64")
    with pytest.raises(anthropic.APIConnectionError):
        reader.messages.create(
            model=READER, max_tokens=5, messages=[{"role": "user", "content": f"sandbox:{fault} x"}]
        )


@pytest.mark.parametrize(
    ("path", "headers", "envelope"),
    [
        ("/v1/models", {}, "openai"),
        ("/v1/models", {"anthropic_version": "2023-06-01"}, "anthropic"),
        ("/v1/messages", {"anthropic_version": "2023-06-01"}, "anthropic"),
    ],
)
def test_some_key_is_needed(served, path, headers, envelope):
    status, _, body = send(served, "GET", path, authorization="", **headers)
    assert status == 401
    assert (json.loads(body).get("type") == "error") is (envelope == "anthropic")
    assert send(served, "GET", "/v1/models", authorization="", x_api_key="k")[0] == 200


def test_messages_need_a_version(served):
    status, _, body = send(served, "POST", "/v1/messages", b"{}")
    assert (status, json.loads(body)["error"]["message"]) == (400, "anthropic-version: header is required")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/images/generations", 405), ("POST", "/v1/images/edits", 404)],
)
def test_a_wrong_route_is_answered_in_the_envelope(served, method, path, status):
    told, headers, body = send(served, method, path)
    assert told == status
    assert json.loads(body)["error"]["message"]
    assert headers["x-request-id"] == headers["request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"model":"gpt-image-2","prompt":5}'])
def test_a_body_that_is_none_is_a_bad_request(served, body):
    assert send(served, "POST", "/v1/images/generations", body)[0] in (400, 404)
    assert send(served, "POST", "/v1/messages", body, anthropic_version="2023-06-01")[0] == 400
    assert send(served, "POST", "/v1/messages/count_tokens", body, anthropic_version="2023-06-01")[0] == 400


def test_the_journal_proves_what_arrived_without_keeping_secrets():
    with serve_sandbox() as served:
        body = json.dumps({"model": "gpt-image-2", "prompt": "a fox", "size": "64x64"}).encode()
        status, headers, _ = send(
            served, "POST", "/v1/images/generations?a=1", body, x_api_key="secret", x_mark="7"
        )
        assert status == 200
        told = json.loads(send(served, "GET", "/sandbox/journal")[2])
        (arrived,) = told["data"]
        assert (arrived["method"], arrived["path"]) == ("POST", "/v1/images/generations?a=1")
        assert arrived["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert arrived["id"] == headers["x-request-id"]
        assert arrived["at"].endswith("Z")
        shown = {name.lower(): value for name, value in arrived["headers"].items()}
        assert shown["x-mark"] == "7"
        assert "secret" not in json.dumps(told)
        assert "authorization" not in shown
        assert told["total"] == 1
        assert send(served, "DELETE", "/sandbox/journal")[0] == 204
        assert json.loads(send(served, "GET", "/sandbox/journal")[2]) == {"data": [], "total": 0}


def test_the_journal_forgets_the_oldest_and_still_counts_them():
    journal = Journal(most=2)
    for number in range(3):
        journal.add(Arrived(str(number), 0.0, "GET", "/", {}, "", 0))
    told = journal.read()
    assert [entry["id"] for entry in told["data"]] == ["1", "2"]
    assert told["total"] == 3


def test_a_picture_in_a_message_that_cannot_be_decoded_is_a_bad_request(reader):
    data = base64.b64encode(picture(width=500, height=500)[:200]).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    with pytest.raises(anthropic.BadRequestError, match="Could not process image"):
        reader.messages.create(
            model=READER,
            max_tokens=5,
            messages=[{"role": "user", "content": [{"type": "image", "source": source}]}],
        )
