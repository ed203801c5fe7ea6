"""Gemini's wire: bodies as ai.google.dev/api/generate-content has them, answers and errors as it documents them."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest
from lines import answered_by
from sandboxes import model, picture

from rollout.core.images import Finished, ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.prices import maximum_image_cost, usage_image_cost
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    NoPicture,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.gemini import GeminiImages

PAINTER = model("gemini-nano-banana-2.1")
B64 = base64.b64encode(picture()).decode()
INLINE = {"inlineData": {"mimeType": "image/png", "data": B64}}
USAGE = {
    "promptTokenCount": 1_125,
    "candidatesTokenCount": 1_130,
    "thoughtsTokenCount": 90,
    "totalTokenCount": 2_345,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 5},
        {"modality": "IMAGE", "tokenCount": 1_120},
    ],
    "candidatesTokensDetails": [
        {"modality": "IMAGE", "tokenCount": 1_120},
        {"modality": "TEXT", "tokenCount": 10},
    ],
}


def answer(*parts: dict[str, Any], reason: str = "STOP", **members: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, "index": 0}
    return {"candidates": [candidate], "usageMetadata": USAGE, "responseId": "r1", **members}


def call(**members: Any) -> ImageCall:
    asked = {"operation": "generate", "prompt": "a fox", "model": PAINTER.name, **members}
    return ImageCall(PAINTER, ImageRequest(**asked), user="hashed")


class Port(GeminiImages):
    """A vendor that always answers the same; `requests` holds what it got."""

    def __init__(self, body: Any, status: int = 200, base_url: str = "") -> None:
        self.requests: list[httpx2.Request] = []

        def handler(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            if isinstance(body, Exception):
                raise body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return httpx2.Response(status, content=content)

        super().__init__("g-key", base_url, answered_by(handler), clock=lambda: 5.5)

    def sent(self) -> Any:
        (request,) = self.requests
        return json.loads(request.content)


def failed(port: Port) -> PortError:
    with pytest.raises(PortError) as raised:
        port.generate(call())
    assert len(port.requests) == 1
    return raised.value


def test_a_prompt_is_one_part_of_one_content() -> None:
    port = Port(answer(INLINE))
    port.generate(call())
    (request,) = port.requests
    assert str(request.url) == (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-nano-banana-2.1:generateContent"
    )
    assert request.headers["x-goog-api-key"] == "g-key"
    assert request.headers["content-type"] == "application/json"
    assert port.sent() == {
        "contents": [{"role": "user", "parts": [{"text": "a fox"}]}],
        "generationConfig": {"responseModalities": ["IMAGE"], "maxOutputTokens": PAINTER.max_tokens},
    }


@pytest.mark.parametrize(
    ("size", "ratio", "resolution"),
    [
        ("1024x1024", "1:1", "1K"),
        ("1376x768", "16:9", "1K"),
        ("1536x1024", "3:2", "1K"),
        ("848x1264", "2:3", "1K"),
        ("3168x1344", "21:9", "2K"),
        ("3072x5504", "9:16", "4K"),
    ],
)
def test_a_size_is_asked_for_as_ratio_and_resolution(size: str, ratio: str, resolution: str) -> None:
    port = Port(answer(INLINE))
    port.generate(call(size=size))
    config = port.sent()["generationConfig"]["imageConfig"]
    assert config == {"aspectRatio": ratio, "imageSize": resolution}


def test_every_ratio_of_the_row_is_what_its_sizes_are_sent_as() -> None:
    told = set()
    for size in PAINTER.sizes:
        port = Port(answer(INLINE))
        port.generate(call(size=size))
        told.add(port.sent()["generationConfig"]["imageConfig"]["aspectRatio"])
    assert told == set(PAINTER.aspect_ratios)


def test_pictures_to_edit_are_parts_after_the_prompt() -> None:
    images = (
        InputImage(picture(), "image/png", 64, 48),
        InputImage(picture("JPEG"), "image/jpeg", 64, 48),
    )
    port = Port(answer(INLINE), base_url="http://proxy.example/gemini/")
    port.generate(call(operation="edit", images=images, size="auto"))
    assert port.requests[0].url.path.startswith("/gemini/v1beta/")
    assert port.sent()["contents"][0]["parts"] == [
        {"text": "a fox"},
        {"inlineData": {"mimeType": "image/png", "data": B64}},
        {"inlineData": {"mimeType": "image/jpeg", "data": base64.b64encode(picture("JPEG")).decode()}},
    ]
    assert "imageConfig" not in port.sent()["generationConfig"]


def test_an_answer_is_read_without_touching_its_pictures() -> None:
    thought = {**INLINE, "thought": True}
    finished = Port(answer({"text": "here it is"}, thought, INLINE)).generate(call())
    (made,) = finished.pictures
    assert (made.b64, made.media_type) == (B64.encode(), "image/png")
    assert (finished.created, finished.output_format, finished.vendor_request_id) == (5, "png", "r1")


def test_usage_tells_pictures_from_words_and_thoughts() -> None:
    usage = Port(answer(INLINE)).generate(call()).usage
    assert usage
    assert (usage.text_in, usage.image_in) == (5, 1_120)
    assert (usage.output, usage.text_out) == (1_220, 100)
    assert usage_image_cost(PAINTER, usage).usd_micro == 8 + 1_680 + 33_600 + 750  # rounded up once
    assert usage_image_cost(PAINTER, usage).usd_micro < maximum_image_cost(PAINTER, call().request).usd_micro


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"promptTokenCount": 5},
        {**USAGE, "promptTokenCount": -5},
        {**USAGE, "thoughtsTokenCount": -900},
    ],
)
def test_usage_that_is_missing_or_cannot_be_is_none(told: Any) -> None:
    assert Port(answer(INLINE, usageMetadata=told)).generate(call()).usage is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"<html>busy</html>",
        b"[" * 5_000,
        {},
        {"candidates": []},
        {"candidates": None},
        {"candidates": [{"finishReason": "STOP"}]},
        answer({"inlineData": {"data": 5}}),
        answer({"inlineData": {"data": "%%%%"}}),
        answer({"inlineData": {"data": B64[:-1]}}),
        answer({"inlineData": {"data": base64.b64encode(b"plain text, no picture").decode()}}),
        answer(INLINE, usageMetadata={"promptTokenCount": "many"}),
    ],
)
def test_an_answer_that_is_none_is_a_fault(body: Any) -> None:
    assert type(failed(Port(body))) is Fault


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        ("SAFETY", "policy"),
        ("PROHIBITED_CONTENT", "policy"),
        ("BLOCKLIST", "policy"),
        ("SPII", "policy"),
        ("RECITATION", "copyright"),
        ("IMAGE_SAFETY", "policy"),
        ("IMAGE_PROHIBITED_CONTENT", "policy"),
        ("IMAGE_RECITATION", "copyright"),
    ],
)
def test_a_picture_that_is_held_back_is_a_refusal_with_its_usage(reason: str, category: str) -> None:
    refused = failed(Port(answer(reason=reason)))
    assert isinstance(refused, Refused)
    assert (refused.category, refused.point, refused.vendor_code) == (category, "output_image", reason)
    assert refused.usage
    assert refused.vendor_request_id == "r1"


def test_a_blocked_prompt_is_a_refusal_by_its_rating() -> None:
    ratings = [
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
        {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "probability": "HIGH", "blocked": True},
    ]
    feedback = {"blockReason": "SAFETY", "safetyRatings": ratings}
    refused = failed(Port({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}}))
    assert isinstance(refused, Refused)
    assert (refused.category, refused.point, refused.vendor_code) == ("sexual", "prompt", "SAFETY")
    assert refused.usage
    assert (refused.usage.input, refused.usage.output) == (4, 0)


@pytest.mark.parametrize("reason", ["NO_IMAGE", "IMAGE_OTHER", "MAX_TOKENS", "STOP", "A_NEW_ONE"])
def test_work_that_led_to_no_picture_is_settled_by_its_usage(reason: str) -> None:
    nothing = failed(Port(answer({"text": "I would rather not."}, reason=reason)))
    assert isinstance(nothing, NoPicture)
    assert nothing.usage.output == 1_220
    assert type(failed(Port(answer(reason=reason, usageMetadata=None)))) is Fault


@pytest.mark.parametrize(
    ("status", "name", "reason", "error"),
    [
        (400, "INVALID_ARGUMENT", "", Rejected),
        (400, "INVALID_ARGUMENT", "API_KEY_INVALID", BadCredential),
        (400, "FAILED_PRECONDITION", "", OutOfCredit),
        (401, "UNAUTHENTICATED", "", BadCredential),
        (403, "PERMISSION_DENIED", "", BadCredential),
        (403, "PERMISSION_DENIED", "BILLING_DISABLED", OutOfCredit),
        (404, "NOT_FOUND", "", Retired),
        (413, "INVALID_ARGUMENT", "", Rejected),
        (429, "RESOURCE_EXHAUSTED", "", Throttled),
        (302, "", "", Fault),
        (500, "INTERNAL", "", Fault),
        (503, "UNAVAILABLE", "", Fault),
        (504, "DEADLINE_EXCEEDED", "", Fault),
    ],
)
def test_an_error_means_what_its_reason_says_or_else_its_status(
    status: int, name: str, reason: str, error: type[PortError]
) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    body = {"error": {"code": status, "message": "no", "status": name, "details": details}}
    found = failed(Port(body, status))
    assert type(found) is error
    assert "no" in found.detail


def test_a_throttle_says_when_to_come_back() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
    throttled = failed(Port({"error": {"message": "slow", "details": [retry]}}, 429))
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after == 37


def test_an_error_that_is_a_page_is_judged_by_its_status() -> None:
    assert type(failed(Port(b"<html>busy</html>", 503))) is Fault
    assert type(failed(Port(b"[]", 429))) is Throttled


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error: Any) -> None:
    assert type(failed(Port(error("x")))) is NotSent


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
def test_any_other_failure_of_transport_leaves_the_outcome_unknown(error: Any) -> None:
    assert type(failed(Port(error("x")))) is OutcomeUnknown


def test_a_stream_is_the_answer_alone() -> None:
    with Port(answer(INLINE)).stream(call(stream=True)) as events:
        (end,) = events
    assert isinstance(end, Finished)
