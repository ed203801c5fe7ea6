"""Messages requests: what is read of them before they go to the vendor as they came.

Only the top level and the content blocks are looked at; members stay slices of the body, so that what was
parsed is what is sent. Of an image block the first bytes are decoded: a picture that is not one, or is not of
its declared type, never costs anybody anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64

from rollout.core.images import media_type_and_size, media_type_of
from rollout.errors import InvalidRequest, PayloadTooLarge, PriceUnknown

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_IMAGE_EDGE = 8_000
_MAX_NESTING = 16
_DOCUMENT_PAGES = 600  # a document may hold this many pages, each read as a picture
_HEAD_CHARACTERS = 128 * 1024

_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_BILLED_TOOLS = ("web_search", "web_fetch", "code_execution", "advisor")
_HTTP_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_ERROR_PATH = re.compile(r"at `\$([^`]*)`")
_UNPRICED: Mapping[str, tuple[bytes, ...]] = {
    "speed": (b'"standard"',),
    "inference_geo": (b'"global"',),
    "container": (),
    "mcp_servers": (b"[]",),
}


@dataclass(frozen=True)
class MessageRequest:
    """What metering and admission need to know. `images` counts pictures, and what may be read as many;
    `picture_bytes` is how much of the body is their base64. `max_tokens` is 0 for a count."""

    model: str
    max_tokens: int
    stream: bool
    images: int
    picture_bytes: int
    has_cache_control: bool


@dataclass(frozen=True)
class _Weight:
    """What a content is worth beside its text: pictures, and how many bytes of the body are their base64."""

    pictures: int = 0
    data_bytes: int = 0


class _Block(msgspec.Struct):
    type: str
    source: msgspec.Raw = msgspec.Raw(b"null")
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw


class _Source(msgspec.Struct):
    type: str
    media_type: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    url: msgspec.Raw = msgspec.Raw(b"null")
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Tool(msgspec.Struct):
    type: str | None = None


def split_members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object as slices; of a repeated key the last. Raises InvalidRequest,
    PayloadTooLarge."""
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body has {len(body):,} bytes; Messages take at most {MAX_BODY_BYTES:,}.")
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except RecursionError:
        raise InvalidRequest(
            "The JSON of the body is nested too deeply.", remedy="Send flatter JSON."
        ) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(
            f"The body must be a JSON object: {error}.", remedy="Send a JSON object."
        ) from None


def encode_message(members: Mapping[str, msgspec.Raw], upstream_id: str) -> bytes:
    """The body to send: every member as it came, in its order; `model` names what the vendor knows."""
    return msgspec.json.encode({**members, "model": upstream_id})


def parse_message_request(members: Mapping[str, msgspec.Raw], *, counting: bool = False) -> MessageRequest:
    """Check what must be right before the vendor is asked; everything else is the vendor's to judge.

    Args: `counting` for count_tokens, which has no `max_tokens` and does not stream.
    Raises InvalidRequest (`param` as a path, `messages.0.content.1.source.data`) and PriceUnknown for what is
    billed beyond tokens.
    """
    model = _decode(members, "model", str, "a string")
    if not model:
        raise InvalidRequest("`model` is required.", param="model")
    _refuse_unpriced(members)
    messages = _decode(members, "messages", list[_Message], "a list of messages with `role` and `content`")
    if not messages:
        raise InvalidRequest("`messages` must hold at least one message.", param="messages")
    contents = {f"messages.{index}.content": message.content for index, message in enumerate(messages)}
    if "system" in members:
        contents["system"] = members["system"]
    weight = _sum(_look_at_content(content, path, 0) for path, content in contents.items())
    return MessageRequest(
        model=model,
        max_tokens=0 if counting else _max_tokens(members),
        stream=not counting and (_decode(members, "stream", bool | None, "true or false") or False),
        images=weight.pictures,
        picture_bytes=weight.data_bytes,
        has_cache_control=any(_may_cache(bytes(member)) for member in members.values()),
    )


def _max_tokens(members: Mapping[str, msgspec.Raw]) -> int:
    if "max_tokens" not in members:
        raise InvalidRequest("`max_tokens` is required.", param="max_tokens")
    text = bytes(members["max_tokens"])
    if not text.isdigit() or len(text) > 7:
        raise InvalidRequest("`max_tokens` must be a whole number from 0 to 9999999.", param="max_tokens")
    return int(text)


def _may_cache(member: bytes) -> bool:
    """Whether something in here may ask for the prompt cache. A key may be spelled with escapes: then assume
    the dearer."""
    return b'"cache_control"' in member or (b"\\u00" in member and _ESCAPED_LETTER.search(member) is not None)


def _refuse_unpriced(members: Mapping[str, msgspec.Raw]) -> None:
    """What costs more than the catalogue's tokens say cannot be held for."""
    for name, harmless in _UNPRICED.items():
        if name in members and bytes(members[name]) not in (b"null", *harmless):
            raise PriceUnknown(
                f"`{name}` is billed by a measure that has no price here.", param=name, remedy="Leave it out."
            )
    if "tools" not in members:
        return
    for index, tool in enumerate(_decode(members, "tools", list[_Tool] | None, "a list of tools") or ()):
        if tool.type and tool.type.startswith(_BILLED_TOOLS):
            raise PriceUnknown(
                f"The tool {tool.type[:100]} runs at the vendor and is billed for each use: there is no price here.",
                param=f"tools.{index}",
                remedy="Offer a tool that you run yourself.",
            )


def _look_at_content(content: msgspec.Raw, path: str, depth: int) -> _Weight:
    """What a content is worth: text is nothing. Raises InvalidRequest for a picture or document that cannot
    be sent."""
    if bytes(memoryview(content)[:1]) == b'"':
        return _Weight()
    if depth > _MAX_NESTING:
        raise InvalidRequest(f"`{path}` is nested too deeply.", param=path)
    blocks = _decode_at(content, list[_Block], path, "a string or a list of content blocks")
    return _sum(_look_at_block(block, f"{path}.{index}", depth) for index, block in enumerate(blocks))


def _sum(weights: Iterable[_Weight]) -> _Weight:
    found = list(weights)
    return _Weight(sum(weight.pictures for weight in found), sum(weight.data_bytes for weight in found))


def _look_at_block(block: _Block, path: str, depth: int) -> _Weight:
    if block.type == "image":
        source = _decode_at(block.source, _Source, f"{path}.source", "an object with a `type`")
        _check_image(source, f"{path}.source")
        return _Weight(1, len(memoryview(source.data)) if source.type == "base64" else 0)
    if block.type == "document":
        return _look_at_document(block, f"{path}.source", depth)
    if block.type == "container_upload":
        raise _no_files(path)
    if block.type in ("tool_result", "search_result") and bytes(block.content) != b"null":
        return _look_at_content(block.content, f"{path}.content", depth + 1)
    return _Weight()


def _look_at_document(block: _Block, path: str, depth: int) -> _Weight:
    source = _decode_at(block.source, _Source, path, "an object with a `type`")
    if source.type == "file":
        raise _no_files(path)
    if source.type == "content":
        return _look_at_content(source.content, f"{path}.content", depth + 1)
    if source.type == "url":
        _check_url(source, path)
    return _Weight(0 if source.type == "text" else _DOCUMENT_PAGES)


def _check_image(source: _Source, path: str) -> None:
    if source.type == "file":
        raise _no_files(path)
    if source.type == "url":
        _check_url(source, path)
    elif source.type == "base64":
        _check_base64(source, path)
    else:
        raise InvalidRequest(f"`{path}.type` must be base64 or url.", param=f"{path}.type")


def _check_url(source: _Source, path: str) -> None:
    """We never fetch it, the vendor does; so only its form is looked at."""
    url = _decode_at(source.url, str, f"{path}.url", "a string")
    if not _HTTP_URL.fullmatch(url):
        raise InvalidRequest(f"`{path}.url` must be an http:// or https:// address.", param=f"{path}.url")


def _check_base64(source: _Source, path: str) -> None:
    """The declared type and the picture's own header must agree. Of the data only as much is decoded as the
    header takes."""
    declared = _decode_at(source.media_type, str, f"{path}.media_type", "a string")
    if declared not in _MEDIA_TYPES:
        raise InvalidRequest(
            f"`{path}.media_type` must be one of {', '.join(_MEDIA_TYPES)}.", param=f"{path}.media_type"
        )
    data = _base64_text(source.data, f"{path}.data")
    media_type, width, height = _header(data, f"{path}.data")
    if media_type != declared:
        raise InvalidRequest(
            f"`{path}.media_type` says {declared}, but the picture is {media_type}.",
            param=f"{path}.media_type",
        )
    if max(width, height) > MAX_IMAGE_EDGE:
        raise InvalidRequest(
            f"`{path}.data` is {width}x{height} pixels; at most {MAX_IMAGE_EDGE} an edge.",
            param=f"{path}.data",
        )


def _base64_text(data: msgspec.Raw, path: str) -> bytes:
    """The text between the quotes; decoded as JSON only where it holds escapes (some encoders write
    `\\/`)."""
    text = bytes(data)
    if not text.startswith(b'"') or len(text) < 3:
        raise InvalidRequest(f"`{path}` must be a base64 string.", param=path)
    if b"\\" in text:
        return str(_decode_at(data, str, path, "a base64 string")).encode()
    return text[1:-1]


def _header(data: bytes, path: str) -> tuple[str, int, int]:
    head = _unbase64(data[:_HEAD_CHARACTERS], path)
    if len(data) > _HEAD_CHARACTERS and media_type_of(head) == "image/jpeg":
        try:
            return media_type_and_size(head, path)
        except InvalidRequest:
            return media_type_and_size(
                _unbase64(data, path), path
            )  # metadata pushed its size beyond the head
    return media_type_and_size(head, path)


def _unbase64(data: bytes, path: str) -> bytes:
    try:
        return pybase64.b64decode(data, validate=True)
    except ValueError:
        raise InvalidRequest(
            f"`{path}` is not valid base64.", param=path, remedy="Send standard base64 without line breaks."
        ) from None


def _no_files(path: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{path}` names a file of the vendor's, which is not reachable from here.",
        param=path,
        remedy="Send the picture as base64 or by an http(s) url.",
    )


def _decode(members: Mapping[str, msgspec.Raw], name: str, kind: Any, expected: str) -> Any:
    return _decode_at(members.get(name, msgspec.Raw(b"null")), kind, name, expected)


def _decode_at(value: msgspec.Raw, kind: Any, path: str, expected: str) -> Any:
    """Decode one slice; an error names the deepest field that it can."""
    try:
        return msgspec.json.decode(value, type=kind)
    except RecursionError:
        raise InvalidRequest(f"`{path}` is nested too deeply.", param=path) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        if bytes(value) == b"null":
            raise InvalidRequest(f"`{path}` is required.", param=path) from None
        inner = _ERROR_PATH.search(str(error))
        deeper = inner[1].replace("[", ".").replace("]", "") if inner and "..." not in inner[1] else ""
        raise InvalidRequest(f"`{path}` must be {expected}: {error}.", param=f"{path}{deeper}") from None
