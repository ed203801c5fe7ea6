"""Request bodies that are read by hand: the members of a JSON object as slices, or the parts of a form.

Only the top level is parsed: what was parsed, and nothing else, is what is priced and sent. Of a repeated key the last
one counts, as for every vendor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from flask import request
from werkzeug.datastructures import FileStorage

from rollout.core.fingerprint import form_content, json_content
from rollout.core.input_images import Upload
from rollout.errors import InvalidRequest, UnsupportedMediaType

MAX_DEPTH = 100
MAX_FIELD_BYTES = 1 << 20
MAX_PARTS = 200

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_FLAT = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class JsonBody:
    """`content` is what a fingerprint is taken of, `size` the body's length in bytes."""

    members: dict[str, msgspec.Raw]
    content: bytes
    size: int


@dataclass(frozen=True)
class FormBody:
    fields: dict[str, bytes]
    files: Mapping[str, tuple[Upload, ...]]
    content: bytes


def json_body(largest: int) -> JsonBody:
    """The body as a JSON object of at most `largest` bytes.

    Raises UnsupportedMediaType, InvalidRequest, or (by Flask) PayloadTooLarge.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send a JSON body with Content-Type: application/json.")
    request.max_content_length = min(largest, request.max_content_length or largest)
    raw = request.get_data(cache=False)
    members = _members(raw)
    if _is_deep(raw):
        raise _too_deep()
    return JsonBody(members, json_content(raw), len(raw))


def _members(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        if not raw.isascii():
            raw.decode()
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8 text.", param="body") from None
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            f"The body is not a JSON object: {error}.", param="body", remedy="Send one JSON object."
        ) from None


def form_body() -> FormBody:
    """The body as multipart form. Raises UnsupportedMediaType, InvalidRequest, or (by Flask) PayloadTooLarge."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send a form with Content-Type: multipart/form-data.")
    request.max_form_memory_size, request.max_form_parts = MAX_FIELD_BYTES, MAX_PARTS
    fields = {name: _single(name, values).encode() for name, values in request.form.lists()}
    files = {name: tuple(_upload(name, file) for file in found) for name, found in request.files.lists()}
    if not fields and not files:
        raise InvalidRequest("The form has no parts, or its boundary is wrong.", param="body")
    content = form_content(fields, [upload for uploads in files.values() for upload in uploads])
    return FormBody(fields, files, content)


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise InvalidRequest(
            f"`{name[:100]}` was sent {len(values)} times.", param=name[:100], remedy="Send it once."
        )
    return values[0]


def _upload(name: str, file: FileStorage) -> Upload:
    return Upload(name, file.stream.read(), file.mimetype or None, file.filename)


def _is_deep(raw: bytes) -> bool:
    """Whether valid JSON is nested deeper than MAX_DEPTH: each round takes the innermost brackets away."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(_FLAT, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"The body is nested more than {MAX_DEPTH} deep.", param="body", remedy="Send flatter JSON."
    )
