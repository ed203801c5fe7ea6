"""Nova Canvas's wire: bodies as the Nova user guide has them, signed as AWS checks it, answers and errors as Bedrock documents them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import sys
from typing import Any

import httpx2
import pytest
from lines import answered_by
from PIL import Image
from sandboxes import model, picture

from rollout.core.catalogue import Cost
from rollout.core.images import ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.prices import actual_image_cost, maximum_image_cost
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.nova import NovaImages

PAINTER = model("nova-canvas")
B64 = base64.b64encode(picture()).decode()
PRICE = PAINTER.price.id
TOKYO = "https://bedrock-runtime.ap-northeast-1.amazonaws.com"


def call(**members: Any) -> ImageCall:
    asked = {"operation": "generate", "prompt": "a fox", "model": PAINTER.name, **members}
    return ImageCall(PAINTER, ImageRequest(**asked), user="hashed")


def image(data: bytes | None = None) -> InputImage:
    return InputImage(data or picture(), "image/png", 64, 48)


class Port(NovaImages):
    """A vendor that always answers the same; `requests` holds what it got."""

    def __init__(
        self, body: Any, status: int = 200, kind: str = "", *, key: str = "bearer-token", base_url: str = ""
    ) -> None:
        self.requests: list[httpx2.Request] = []

        def handler(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            if isinstance(body, Exception):
                raise body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"x-amzn-requestid": "q1"} | ({"x-amzn-errortype": f"{kind}:http://x/"} if kind else {})
            return httpx2.Response(status, content=content, headers=headers)

        super().__init__(key, base_url, answered_by(handler), clock=lambda: 5.5)

    def sent(self) -> Any:
        (request,) = self.requests
        return json.loads(request.content)


def failed(port: Port) -> PortError:
    with pytest.raises(PortError) as raised:
        port.generate(call())
    assert len(port.requests) == 1
    return raised.value


def test_a_prompt_is_text_to_image_with_what_the_caller_chose_and_no_more() -> None:
    port = Port({"images": [B64]})
    port.generate(call())
    (request,) = port.requests
    assert request.url.host == "bedrock-runtime.us-east-1.amazonaws.com"
    assert request.url.raw_path == b"/model/amazon.nova-canvas-v1%3A0/invoke"
    assert request.headers["authorization"] == "Bearer bearer-token"
    assert (request.headers["accept"], request.headers["content-type"]) == (
        "application/json",
        "application/json",
    )
    assert port.sent() == {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": {"text": "a fox"},
        "imageGenerationConfig": {"numberOfImages": 1},
    }


def test_size_quality_and_count_are_sent() -> None:
    port = Port({"images": [B64] * 3})
    assert len(port.generate(call(n=3, size="1280x720", quality="premium")).pictures) == 3
    assert port.sent()["imageGenerationConfig"] == {
        "numberOfImages": 3,
        "quality": "premium",
        "width": 1280,
        "height": 720,
    }


def test_an_edit_without_mask_is_a_variation_of_its_pictures() -> None:
    port = Port({"images": [B64]})
    port.generate(call(operation="edit", images=(image(), image()), size="auto", quality="auto"))
    assert port.sent() == {
        "taskType": "IMAGE_VARIATION",
        "imageVariationParams": {"text": "a fox", "images": [B64, B64]},
        "imageGenerationConfig": {"numberOfImages": 1},
    }


def test_a_mask_is_sent_black_where_it_is_transparent_and_white_elsewhere() -> None:
    alpha = Image.new("L", (64, 48), 255)
    alpha.paste(0, (0, 0, 32, 48))
    alpha.paste(7, (32, 0, 40, 48))
    mask = Image.new("RGBA", (64, 48), "red")
    mask.putalpha(alpha)
    out = io.BytesIO()
    mask.save(out, "PNG")
    port = Port({"images": [B64]})
    port.generate(call(operation="edit", images=(image(),), mask=image(out.getvalue()), size="64x48", n=2))
    body = port.sent()
    params = body["inPaintingParams"]
    assert body["taskType"] == "INPAINTING"
    assert (params["text"], params["image"]) == ("a fox", B64)
    assert body["imageGenerationConfig"] == {"numberOfImages": 2}
    with Image.open(io.BytesIO(base64.b64decode(params["maskImage"]))) as sent:
        assert (sent.format, sent.mode, sent.size) == ("PNG", "RGB", (64, 48))
        assert [sent.getpixel((x, 9)) for x in (0, 31, 32, 63)] == [(0, 0, 0)] * 2 + [(255, 255, 255)] * 2


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"images": (image(), image())}, "image"),
        ({"images": (image(),), "size": "1024x1024"}, "size"),
        ({"images": (image(),), "mask": image(picture()[:60])}, "mask"),
    ],
)
def test_what_an_in_painting_cannot_say_is_rejected_by_field_and_not_sent(
    members: dict[str, Any], param: str
) -> None:
    port = Port({"images": [B64]})
    with pytest.raises(Rejected) as rejected:
        port.generate(call(**{"operation": "edit", "mask": image(picture(mode="RGBA")), **members}))
    assert rejected.value.param == param
    assert port.requests == []


def test_an_access_key_signs_each_request_as_aws_checks_it() -> None:
    """The signature is computed anew, by the rules of Signature Version 4."""
    port = Port({"images": [B64]}, key="AKIDEXAMPLE:wJalr/XUtn+FEMI", base_url=TOKYO)
    port.generate(call())
    (request,) = port.requests
    told = dict(
        part.strip().split("=", 1)
        for part in request.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(",")
    )
    day = request.headers["x-amz-date"][:8]
    scope = f"{day}/ap-northeast-1/bedrock/aws4_request"
    assert told["Credential"] == f"AKIDEXAMPLE/{scope}"
    names = told["SignedHeaders"].split(";")
    assert {"host", "x-amz-date"} <= set(names)
    canonical = "\n".join(
        (
            "POST",
            "/model/amazon.nova-canvas-v1%253A0/invoke",  # each segment is encoded once more
            "",
            *(f"{name}:{request.headers[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.content).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{digest}"
    key = b"AWS4wJalr/XUtn+FEMI"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert told["Signature"] == hmac.digest(key, to_sign.encode(), "sha256").hex()


def test_without_the_extra_an_access_key_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ImportError, match=r"phasegate\[bedrock\]"):
        Port({}, key="AKID:secret")
    Port({}, key="bearer-token")


def test_a_picture_is_charged_by_its_own_size() -> None:
    """No usage is told: the price list is charged, for what came."""
    small, large = picture(width=1024, height=1024), picture(width=1536, height=1024)
    for data, size, cost in ((small, "1024x1024", 40_000), (large, "1536x1024", 60_000)):
        finished = Port({"images": [base64.b64encode(data).decode()]}).generate(call())
        assert (finished.size, finished.usage) == (size, None)
        assert (finished.created, finished.vendor_request_id) == (5, "q1")
        assert actual_image_cost(PAINTER, call().request, finished) == Cost(cost, "price_list", PRICE)
        assert cost <= maximum_image_cost(PAINTER, call().request).usd_micro


def test_pictures_that_came_are_delivered_beside_those_that_were_held_back() -> None:
    finished = Port({"images": [B64], "error": "one was held back"}).generate(call(n=2))
    assert len(finished.pictures) == 1


@pytest.mark.parametrize("images", [[], None])
def test_an_error_in_a_200_is_a_refusal_of_the_picture(images: Any) -> None:
    refused = failed(Port({"images": images, "error": "conflicts with the AUP"}))
    assert isinstance(refused, Refused)
    assert (refused.category, refused.point, refused.vendor_request_id) == ("policy", "output_image", "q1")


def test_content_filters_refuse_a_prompt_by_a_400() -> None:
    message = "This request has been blocked by our content filters. Our filters flagged this prompt."
    refused = failed(Port({"message": message}, 400, "ValidationException"))
    assert isinstance(refused, Refused)
    assert (refused.point, refused.vendor_code) == ("prompt", "ValidationException")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"<html>busy</html>",
        {},
        {"images": []},
        {"images": [5]},
        {"images": ["%%%%"]},
        {"images": [B64[:-1]]},
        {"images": [base64.b64encode(b"plain text, no picture").decode()]},
        {"images": [base64.b64encode(picture()[:20]).decode()]},
        {"images": [B64], "error": 5},
    ],
)
def test_an_answer_that_is_none_is_a_fault(body: Any) -> None:
    found = failed(Port(body))
    assert type(found) is Fault
    assert found.vendor_request_id == "q1"


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (400, "ValidationException", "width must be a multiple of 16", Rejected),
        (400, "ValidationException", "This model version has reached the end of its life.", Retired),
        (400, "ServiceQuotaExceededException", "no", OutOfCredit),
        (400, "IncompleteSignature", "no", BadCredential),
        (401, "", "no", BadCredential),
        (403, "AccessDeniedException", "no", BadCredential),
        (404, "ResourceNotFoundException", "no", Retired),
        (408, "ModelTimeoutException", "no", Fault),
        (424, "ModelErrorException", "no", Fault),
        (429, "ThrottlingException", "no", Throttled),
        (429, "ModelNotReadyException", "no", Throttled),
        (500, "InternalServerException", "no", Fault),
        (503, "ServiceUnavailableException", "no", Fault),
        (302, "", "no", Fault),
    ],
)
def test_an_error_means_what_its_type_says_or_else_its_status(
    status: int, kind: str, message: str, error: type[PortError]
) -> None:
    found = failed(Port({"message": message}, status, kind))
    assert type(found) is error
    assert found.vendor_request_id == "q1"
    assert message in found.detail


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
def test_only_a_connection_that_never_stood_proves_that_nothing_was_sent(error: Any) -> None:
    assert type(failed(Port(error("x")))) is NotSent


@pytest.mark.parametrize("error", [httpx2.ReadTimeout, httpx2.WriteError, httpx2.RemoteProtocolError])
def test_any_other_failure_of_transport_leaves_the_outcome_unknown(error: Any) -> None:
    assert type(failed(Port(error("x")))) is OutcomeUnknown
