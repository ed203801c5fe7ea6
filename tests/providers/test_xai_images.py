"""xAI's wire, word for word: what is sent, and what its answers mean."""

import base64
import json
from dataclasses import replace

import httpx2
import pytest
from lines import answered_by
from sandboxes import model, picture

from rollout.core.catalogue import Usage
from rollout.core.images import ImageRequest, parse_image_request
from rollout.core.input_images import InputImage, Upload
from rollout.errors import InvalidRequest
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    NoPicture,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.xai import XaiImages

GROK, FIRST = model("grok-imagine-image-2.0"), model("grok-imagine-image")
JPEG = picture("JPEG")
DATUM = {"b64_json": base64.b64encode(JPEG).decode(), "mime_type": "image/jpeg", "revised_prompt": ""}
INPUT = InputImage(picture(), "image/png", 64, 48)
URL = "data:image/png;base64," + base64.b64encode(picture()).decode()


def call(row=GROK, **members):
    request = ImageRequest(**{"operation": "generate", "prompt": "a fox", "model": row.name, **members})
    return ImageCall(row, request, user="hashed")


def edit(*images, **members):
    return call(operation="edit", images=images, **members)


def answering(body, status=200, **headers):
    """xAI that always answers the same; `requests` holds what it got."""
    requests = []

    def handler(request):
        requests.append(request)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(status, content=content, headers={"x-request-id": "abc", **headers})

    port = XaiImages("xai-ours", "https://vendor.example/v1", answered_by(handler), clock=lambda: 7.9)
    port.requests = requests
    return port


def sent(asked):
    """(path, body) of what xAI got."""
    port = answering({"data": [DATUM]})
    port.generate(asked)
    (request,) = port.requests
    assert request.method == "POST"
    assert request.headers["authorization"] == "Bearer xai-ours"
    assert request.headers["content-type"] == "application/json"
    return request.url.path, json.loads(request.content)


def test_a_generation_goes_as_a_ratio_and_a_resolution():
    assert sent(call(n=3, size="2688x1536", quality="low")) == (
        "/v1/images/generations",
        {
            "model": "grok-imagine-image-2.0",
            "prompt": "a fox",
            "n": 3,
            "response_format": "b64_json",
            "resolution": "2k",
            "aspect_ratio": "16:9",
            "quality": "low",
            "user": "hashed",
        },
    )


@pytest.mark.parametrize("size", [None, "auto"])
def test_what_the_caller_leaves_open_is_the_vendors_choice_but_for_the_resolution_that_was_priced(size):
    _, body = sent(call(size=size, quality="auto", background="auto", moderation="auto"))
    assert body == {
        "model": "grok-imagine-image-2.0",
        "prompt": "a fox",
        "n": 1,
        "response_format": "b64_json",
        "resolution": "1k",
        "user": "hashed",
    }


def test_a_model_without_qualities_is_sent_none():
    assert "quality" not in sent(call(FIRST, quality="auto"))[1]
    with pytest.raises(InvalidRequest) as refused:
        parse_image_request("generate", {"prompt": b"x", "quality": b"low"}, (), None, FIRST)
    assert refused.value.members["param"] == "quality"


def test_an_edit_of_one_picture_is_json_and_keeps_its_shape():
    path, body = sent(edit(INPUT, size="1152x864"))
    assert path == "/v1/images/edits"
    assert body == {
        "model": "grok-imagine-image-2.0",
        "prompt": "a fox",
        "n": 1,
        "response_format": "b64_json",
        "resolution": "1k",
        "image": {"type": "image_url", "url": URL},
        "user": "hashed",
    }


def test_an_edit_of_one_picture_in_another_shape_is_refused_before_anything_is_sent():
    port = answering({"data": [DATUM]})
    with pytest.raises(Rejected, match="4:3") as refused:
        port.generate(edit(INPUT, size="1344x768"))
    assert (refused.value.param, port.requests) == ("size", [])


def test_an_edit_of_several_pictures_has_a_ratio():
    _, body = sent(edit(INPUT, INPUT, size="1344x768"))
    assert body["images"] == [{"type": "image_url", "url": URL}] * 2
    assert body["aspect_ratio"] == "16:9"
    assert "image" not in body


def test_every_size_of_the_row_goes_as_one_of_its_ratios_at_either_resolution():
    said = {
        (body["aspect_ratio"], body["resolution"]) for body in (sent(call(size=s))[1] for s in GROK.sizes)
    }
    assert said == {(ratio, resolution) for ratio in GROK.aspect_ratios for resolution in ("1k", "2k")}


@pytest.mark.parametrize("field", ["mask", "image"])
def test_more_than_the_vendor_takes_is_refused_by_field(field):
    some = Upload("image", picture(), "image/png")
    mask = Upload("mask", picture("PNG", 64, 48, "RGBA", (0, 0, 0, 0)), "image/png")
    images = [some] * (1 if field == "mask" else 4)
    with pytest.raises(InvalidRequest) as refused:
        parse_image_request("edit", {"prompt": b"x"}, images, mask if field == "mask" else None, GROK)
    assert refused.value.members["param"] == field


def test_an_answer_is_told_with_its_price_in_money():
    usage = {"cost_in_usd_ticks": 600_000_001}
    finished = answering({"data": [{**DATUM, "revised_prompt": "a red fox"}], "usage": usage}).generate(
        call()
    )
    assert finished.usage == Usage(usd_micro=60_001)
    assert (finished.created, finished.output_format, finished.vendor_request_id) == (7, "jpeg", "abc")
    assert (finished.pictures[0].b64, finished.pictures[0].media_type) == (
        DATUM["b64_json"].encode(),
        "image/jpeg",
    )
    assert finished.pictures[0].revised_prompt == "a red fox"


@pytest.mark.parametrize("usage", [None, {}, {"cost_in_usd_ticks": 0}, {"cost_in_usd_ticks": -5}])
def test_a_price_that_is_missing_or_absurd_is_none(usage):
    assert answering({"data": [DATUM], "usage": usage, "created": 5}).generate(call()).usage is None


def test_pictures_that_were_refused_among_others_are_left_out_and_alone_are_a_refusal():
    hidden = {"respect_moderation": False, "mime_type": "image/jpeg"}
    usage = {"cost_in_usd_ticks": 600_000_000}
    assert len(answering({"data": [DATUM, hidden]}).generate(call(n=2)).pictures) == 1
    with pytest.raises(Refused) as refused:
        answering({"data": [hidden], "usage": usage}).generate(call())
    assert (refused.value.point, refused.value.usage) == ("output_image", Usage(usd_micro=60_000))


@pytest.mark.parametrize(
    ("status", "error", "meant", "point", "category", "code"),
    [
        (
            403,
            "Content violates usage guidelines. Team: t, Failed check: SAFETY_CHECK_TYPE_BIO",
            Refused,
            "prompt",
            "bio",
            "SAFETY_CHECK_TYPE_BIO",
        ),
        (400, "Content violates usage guidelines.", Refused, "prompt", "policy", "usage_guidelines"),
        (
            400,
            "Generated image rejected by content moderation.",
            Refused,
            "output_image",
            "policy",
            "content_moderation",
        ),
    ],
)
def test_refusals_are_told_apart_by_the_vendors_words(status, error, meant, point, category, code):
    body = {
        "code": "Client specified an invalid argument",
        "error": error,
        "usage": {"cost_in_usd_ticks": 10_000},
    }
    with pytest.raises(meant) as refused:
        answering(body, status).generate(call())
    told = refused.value
    assert (told.point, told.category, told.vendor_code) == (point, category, code)
    assert (told.usage, told.vendor_request_id) == (Usage(usd_micro=1), "abc")


@pytest.mark.parametrize(
    ("status", "error", "meant"),
    [
        (400, "Incorrect API key provided: xa***. You can obtain one at the console.", BadCredential),
        (401, "no", BadCredential),
        (403, "Your team has used all available credits or reached its monthly spending limit.", OutOfCredit),
        (429, "Your team has reached its monthly spending limit.", OutOfCredit),
        (429, "Too many requests", Throttled),
        (404, "The model does not exist", Retired),
        (400, "Argument not supported: size", Rejected),
        (422, "n must be at most 10", Rejected),
        (500, "content moderation is down", Fault),
        (503, "busy", Fault),
    ],
)
def test_failures_are_told_apart(status, error, meant):
    with pytest.raises(meant) as failed:
        answering({"code": "c", "error": error}, status, **{"retry-after": "4"}).generate(call())
    assert failed.value.detail.endswith(error)
    assert failed.value.vendor_request_id == "abc"
    if meant is Throttled:
        assert failed.value.retry_after == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>a page</html>",
        b"[]",
        {},
        {"data": []},
        {"data": [{}]},
        {"data": [{"b64_json": None, "url": "https://imgen.x.ai/1.jpeg"}]},
        {"data": [{"b64_json": "bm8gcGljdHVyZQ=="}]},
        {"data": [DATUM], "usage": {"cost_in_usd_ticks": "many"}},
    ],
)
def test_an_answer_that_is_none_is_a_fault(body):
    with pytest.raises(Fault):
        answering(body).generate(call())


def test_an_answer_without_pictures_that_was_billed_is_settled():
    with pytest.raises(NoPicture) as nothing:
        answering({"data": [], "usage": {"cost_in_usd_ticks": 600_000_000}}).generate(call())
    assert nothing.value.usage == Usage(usd_micro=60_000)


def test_an_error_that_is_a_page_keeps_its_status():
    with pytest.raises(Throttled):
        answering(b"<html>slow down</html>", 429).generate(call())


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (httpx2.ConnectError("refused"), NotSent),
        (httpx2.ConnectTimeout("late"), NotSent),
        (httpx2.ReadTimeout("late"), OutcomeUnknown),
        (httpx2.ReadError("cut"), OutcomeUnknown),
        (httpx2.WriteError("cut"), OutcomeUnknown),
        (httpx2.RemoteProtocolError("cut"), OutcomeUnknown),
    ],
)
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error, meant):
    def handler(_request):
        raise error

    with pytest.raises(meant):
        XaiImages("k", "https://vendor.example/v1", answered_by(handler)).generate(call())


def test_a_stream_of_a_model_that_streams_nothing_is_its_answer():
    with answering({"data": [DATUM]}).stream(call()) as events:
        assert [len(event.pictures) for event in events] == [1]
    with pytest.raises(InvalidRequest, match="cannot stream"):
        parse_image_request("generate", {"prompt": b"x", "stream": b"true"}, (), None, GROK)


def test_a_redirect_is_not_followed():
    port = answering(b"", 307, location="https://elsewhere.example/")
    with pytest.raises(Fault):
        port.generate(call(replace(GROK)))
    assert len(port.requests) == 1
