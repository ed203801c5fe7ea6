"""Amazon Nova Canvas: POST {runtime}/model/{id}/invoke, signed (SigV4, by botocore) or with a bearer token, by httpx2.

Text to picture, a masked edit as in-painting, an edit without mask as a variation of up to five pictures. A mask
says by alpha what to paint anew and is sent as black and white. A 200 whose `error` stands alone is a refusal, so is
a 400 that names the content filters. Failures: by the error's type (`ERRORS`) or status, by class where there was no
answer: only a connection that never stood proves that nothing was sent. Nothing is sent twice: no retries, no
redirects.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import quote

import httpx2
import msgspec
import pybase64
from PIL import Image

from rollout.core.catalogue_checks import Listed
from rollout.core.images import Finished, Partial, Picture, size_of
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.errors import InvalidRequest
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    Retired,
    error_by_status,
    moment,
    picture_of,
    read_list,
)
from rollout.providers.transport import Line, read_whole, send

DEFAULT_BASE_URL = "https://bedrock-runtime.us-east-1.amazonaws.com"
_DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"^bedrock(?:-runtime)?(?:-fips)?\.([a-z0-9-]+)\.")
_JSON = "application/json"
_BLOCKED = "blocked by our content filters"
_ENDED = "end of its life"


class _Answer(msgspec.Struct):
    images: list[msgspec.Raw] | None = None
    error: str | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Lifecycle(msgspec.Struct, rename="camel"):
    end_of_life_time: str | float | None = None


class _Listed(msgspec.Struct, rename="camel"):
    model_id: str
    model_lifecycle: _Lifecycle = msgspec.field(default_factory=_Lifecycle)


class _List(msgspec.Struct, rename="camel"):
    model_summaries: list[_Listed]


Authorize = Callable[[str, str, bytes, Mapping[str, str]], Mapping[str, str]]
"""(method, URL, body, headers) -> the headers with what authorizes the request."""


def encode(call: ImageCall) -> bytes:
    """The JSON body. An in-painting is as large as its picture: no size is sent. Raises Rejected for what cannot be
    said here."""
    request = call.request
    config: dict[str, Any] = {"numberOfImages": request.n}
    if request.quality not in (None, "auto"):
        config["quality"] = request.quality
    edges = size_of(request.size or "")
    if edges and not request.mask:
        config.update(width=edges[0], height=edges[1])
    task: dict[str, Any]
    if request.mask:
        _check_painting(call)
        mask = _black_on_white(request.mask)
        paint = {
            "text": request.prompt,
            "image": _base64(request.images[0].data),
            "maskImage": _base64(mask),
        }
        task = {"taskType": "INPAINTING", "inPaintingParams": paint}
    elif request.images:
        vary = {"text": request.prompt, "images": [_base64(image.data) for image in request.images]}
        task = {"taskType": "IMAGE_VARIATION", "imageVariationParams": vary}
    else:
        task = {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": request.prompt}}
    return msgspec.json.encode({**task, "imageGenerationConfig": config})


class NovaImages:
    """The port `Images` over one line. `api_key` is a bearer token or ACCESS_KEY_ID:SECRET_ACCESS_KEY, `base_url` that
    of the runtime; `clock` gives UTC epoch seconds."""

    def __init__(
        self, api_key: str, base_url: str, line: Line, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._base_url = (base_url or DEFAULT_BASE_URL).rstrip("/")
        self._authorize = _authorize(api_key, self._base_url)
        self._line, self._clock = line, clock

    def generate(self, call: ImageCall) -> Finished:
        path = f"/model/{quote(call.model.upstream_id, safe='')}/invoke"
        response = self._send("POST", self._base_url + path, encode(call))
        return decode(response.content, call.request.quality, int(self._clock()), _id(response))

    @contextmanager
    def stream(self, call: ImageCall) -> Iterator[Iterator[Partial | Finished]]:
        """The vendor shows no partial pictures: the one event is the answer."""
        yield iter([self.generate(call)])

    def models(self) -> list[Listed]:
        """Of the control plane, which is another host than the runtime."""
        control = self._base_url.replace("//bedrock-runtime", "//bedrock", 1)
        response = self._send("GET", f"{control}/foundation-models", b"")
        rows = read_list(response.content, _List).model_summaries
        return [Listed(row.model_id, moment(row.model_lifecycle.end_of_life_time)) for row in rows]

    def _send(self, method: str, url: str, body: bytes) -> httpx2.Response:
        """The whole response, if it is a 200. Raises PortError."""
        headers = self._authorize(method, url, body, {"accept": _JSON, "content-type": _JSON})
        timeout = self._line.look if method == "GET" else self._line.answer
        response = send(self._line, method, url, headers, body, timeout)
        read_whole(response, _id(response))
        if response.status_code != 200:
            raise port_error(response)
        return response


def decode(body: bytes, quality: str | None, created: int, vendor_request_id: str | None) -> Finished:
    """The whole answer, which came at `created`; the size is read from the first picture, as it is what is paid for.
    Raises Refused, and Fault for an answer that cannot be read."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    if answer.error and not answer.images:
        raise Refused(
            "policy",
            answer.error,
            point="output_image",
            vendor_code="error",
            vendor_request_id=vendor_request_id,
        )
    if not answer.images:
        raise Fault("an answer without pictures", vendor_request_id=vendor_request_id)
    pictures = tuple(picture_of(text, vendor_request_id) for text in answer.images)
    return Finished(
        pictures=pictures,
        usage=None,
        created=created,
        size=_size(pictures[0], vendor_request_id),
        quality=quality,
        output_format=pictures[0].media_type.removeprefix("image/"),
        vendor_request_id=vendor_request_id,
    )


def port_error(response: httpx2.Response) -> PortError:
    """What an answer that is no 200 means for us."""
    kind = response.headers.get("x-amzn-errortype", "").partition(":")[0]
    try:
        message = msgspec.json.decode(response.content, type=_Error).message
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        message = response.text[:500]
    if _BLOCKED in message:
        return Refused("policy", message, vendor_code=kind or None, vendor_request_id=_id(response))
    if _ENDED in message:
        return Retired(message, vendor_request_id=_id(response))
    if kind in ERRORS:
        return ERRORS[kind](message, vendor_request_id=_id(response))
    return error_by_status(response.status_code, message, vendor_request_id=_id(response))


class _Kind(Protocol):
    def __call__(self, detail: str, *, vendor_request_id: str | None) -> PortError: ...


ERRORS: Mapping[str, _Kind] = {
    "IncompleteSignature": BadCredential,
    "RequestExpired": BadCredential,
    "NotAuthorized": BadCredential,
    "ServiceQuotaExceededException": OutOfCredit,
    "ModelErrorException": Fault,
}
"""By x-amzn-ErrorType: what its status (400, of the last 424) would not tell."""


def _authorize(api_key: str, base_url: str) -> Authorize:
    """Raises ImportError where signing is wanted and the extra is not installed."""
    access_key, is_pair, secret_key = api_key.partition(":")
    if not is_pair:
        return lambda method, url, body, headers: {**headers, "authorization": f"Bearer {api_key}"}
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError as error:
        raise ImportError(
            "ROLLOUT_BEDROCK_API_KEY holds an access key: install phasegate[bedrock], which signs with it, "
            "or set a bearer token."
        ) from error
    host = httpx2.URL(base_url).host
    signer = SigV4Auth(Credentials(access_key, secret_key), "bedrock", _region(host))

    def sign(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        request = AWSRequest(method, url, dict(headers), body)
        signer.add_auth(request)
        return dict(request.headers)

    return sign


def _region(host: str) -> str:
    """By the vendor's naming of its hosts."""
    found = _REGION.match(host)
    return found[1] if found else _DEFAULT_REGION


def _check_painting(call: ImageCall) -> None:
    images, size = call.request.images, call.request.size
    if len(images) > 1:
        raise Rejected(f"{call.model.name} takes a `mask` with one picture only.", param="image")
    own = f"{images[0].width}x{images[0].height}"
    if size not in (None, "auto", own):
        raise Rejected(
            f"An edit with a `mask` is as large as its picture at {call.model.name}: {own}.", param="size"
        )


def _black_on_white(mask: InputImage) -> bytes:
    """As a PNG: black where the mask is transparent, which is what is painted anew."""
    try:
        with Image.open(io.BytesIO(mask.data)) as opened:
            alpha = opened.convert("RGBA").getchannel("A")
    except (OSError, SyntaxError, ValueError) as error:
        raise Rejected("`mask` cannot be decoded.", param="mask") from error
    out = io.BytesIO()
    alpha.point([0] + [255] * 255).convert("RGB").save(out, "PNG")
    return out.getvalue()


def _base64(data: bytes) -> str:
    return pybase64.b64encode(data).decode()


def _size(picture: Picture, vendor_request_id: str | None) -> str:
    try:
        _, width, height = media_type_and_size(pybase64.b64decode(picture.b64, validate=True))
    except (ValueError, InvalidRequest) as error:
        raise Fault(f"a picture without a size: {error}", vendor_request_id=vendor_request_id) from error
    return f"{width}x{height}"


def _id(response: httpx2.Response) -> str | None:
    return response.headers.get("x-amzn-requestid")
