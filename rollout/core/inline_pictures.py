"""Pictures inside of JSON: base64, or an address that the vendor fetches and we never do.

Of base64 the first bytes are decoded: a picture that is not one, or is not of its declared type, never costs anybody
anything.
"""

from __future__ import annotations

import re

import msgspec
import pybase64

from rollout.core.members import decode_at
from rollout.core.pictures import media_type_and_size, media_type_of
from rollout.errors import InvalidRequest

MAX_EDGE = 8_000
MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_HEAD_CHARACTERS = 128 * 1024
_DATA, _BASE64 = b"data:", b";base64"
_URL = "a data: URL with base64, or an http(s) address"
_HTTP_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)


class _ImageURL(msgspec.Struct):
    url: msgspec.Raw


def check_address(url: str, param: str) -> None:
    """Only its form is looked at. Raises InvalidRequest."""
    if not _HTTP_URL.fullmatch(url):
        raise InvalidRequest(f"`{param}` must be an http:// or https:// address.", param=param)


def check_media_type(declared: str, param: str) -> None:
    """Raises InvalidRequest for a type that no vendor reads."""
    if declared not in MEDIA_TYPES:
        raise InvalidRequest(f"`{param}` must be one of {', '.join(MEDIA_TYPES)}.", param=param)


def check_base64(data: bytes, declared: str, param: str, type_param: str) -> None:
    """The declared type and the picture's own header must agree. Of `data` only as much is decoded as the header
    takes. Raises InvalidRequest."""
    media_type, width, height = _header(data, param)
    if media_type != declared:
        raise InvalidRequest(
            f"`{type_param}` says {declared}, but the picture is {media_type}.", param=type_param
        )
    if max(width, height) > MAX_EDGE:
        raise InvalidRequest(
            f"`{param}` is {width}x{height} pixels; at most {MAX_EDGE} an edge.", param=param
        )


def check_image_url(image_url: msgspec.Raw, path: str) -> int:
    """OpenAI's `{"url": ..}`: a data: URL or an address. How many bytes of the body its base64 is. Raises
    InvalidRequest."""
    url = decode_at(image_url, _ImageURL, path, "an object with a `url`").url
    param = f"{path}.url"
    text = text_of(url, param, _URL)
    if text[: len(_DATA)].lower() != _DATA:
        check_address(text.decode(), param)
        return 0
    head, comma, data = text.partition(b",")
    if not comma or not head.lower().endswith(_BASE64):
        raise InvalidRequest(f"`{param}` must be {_URL}.", param=param)
    declared = head[len(_DATA) :].partition(b";")[0].decode().lower()
    check_media_type(declared, param)
    check_base64(data, declared, param, param)
    return len(memoryview(url))


def text_of(data: msgspec.Raw, param: str, expected: str) -> bytes:
    """The text between the quotes of a JSON string; decoded only where it holds escapes (some encoders write `\\/`).
    Raises InvalidRequest."""
    text = bytes(data)
    if not text.startswith(b'"') or len(text) < 3:
        raise InvalidRequest(f"`{param}` must be {expected}.", param=param)
    if b"\\" in text:
        return str(decode_at(data, str, param, expected)).encode()
    return text[1:-1]


def no_files(param: str) -> InvalidRequest:
    """What names a file that a vendor keeps."""
    return InvalidRequest(
        f"`{param}` names a file of the vendor's, which is not reachable from here.",
        param=param,
        remedy="Send the picture as base64 or by an http(s) url.",
    )


def _header(data: bytes, param: str) -> tuple[str, int, int]:
    head = _unbase64(data[:_HEAD_CHARACTERS], param)
    if len(data) > _HEAD_CHARACTERS and media_type_of(head) == "image/jpeg":
        try:
            return media_type_and_size(head, param)
        except InvalidRequest:  # metadata pushed its size beyond the head
            return media_type_and_size(_unbase64(data, param), param)
    return media_type_and_size(head, param)


def _unbase64(data: bytes, param: str) -> bytes:
    try:
        return pybase64.b64decode(data, validate=True)
    except ValueError:
        raise InvalidRequest(
            f"`{param}` is not valid base64.", param=param, remedy="Send standard base64 without line breaks."
        ) from None
