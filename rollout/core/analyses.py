"""Messages requests: what is read of them before they go to the vendor as they came.

Only the top level and the content blocks are looked at; members stay slices of the body, so that what was
parsed is what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from rollout.core.inline_pictures import check_address, check_base64, check_media_type, no_files, text_of
from rollout.core.members import asked_for, decode_at, member
from rollout.errors import InvalidRequest, PayloadTooLarge, PriceUnknown

MAX_BODY_BYTES = 32 * 1024 * 1024
_MAX_NESTING = 16
_DOCUMENT_PAGES = 600  # a document may hold this many pages, each read as a picture

_BILLED_TOOLS = ("web_search", "web_fetch", "code_execution", "advisor")
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
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
    model = member(members, "model", str, "a string")
    if not model:
        raise InvalidRequest("`model` is required.", param="model")
    _refuse_unpriced(members)
    messages = member(members, "messages", list[_Message], "a list of messages with `role` and `content`")
    if not messages:
        raise InvalidRequest("`messages` must hold at least one message.", param="messages")
    contents = {f"messages.{index}.content": message.content for index, message in enumerate(messages)}
    if "system" in members:
        contents["system"] = members["system"]
    weight = _sum(_look_at_content(content, path, 0) for path, content in contents.items())
    return MessageRequest(
        model=model,
        max_tokens=0 if counting else _max_tokens(members),
        stream=not counting and (member(members, "stream", bool | None, "true or false") or False),
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
        if asked_for(members, name, harmless):
            raise PriceUnknown(
                f"`{name}` is billed by a measure that has no price here.", param=name, remedy="Leave it out."
            )
    if "tools" not in members:
        return
    for index, tool in enumerate(member(members, "tools", list[_Tool] | None, "a list of tools") or ()):
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
    blocks = decode_at(content, list[_Block], path, "a string or a list of content blocks")
    return _sum(_look_at_block(block, f"{path}.{index}", depth) for index, block in enumerate(blocks))


def _sum(weights: Iterable[_Weight]) -> _Weight:
    found = list(weights)
    return _Weight(sum(weight.pictures for weight in found), sum(weight.data_bytes for weight in found))


def _look_at_block(block: _Block, path: str, depth: int) -> _Weight:
    if block.type == "image":
        source = decode_at(block.source, _Source, f"{path}.source", "an object with a `type`")
        _check_image(source, f"{path}.source")
        return _Weight(1, len(memoryview(source.data)) if source.type == "base64" else 0)
    if block.type == "document":
        return _look_at_document(block, f"{path}.source", depth)
    if block.type == "container_upload":
        raise no_files(path)
    if block.type in ("tool_result", "search_result") and bytes(block.content) != b"null":
        return _look_at_content(block.content, f"{path}.content", depth + 1)
    return _Weight()


def _look_at_document(block: _Block, path: str, depth: int) -> _Weight:
    source = decode_at(block.source, _Source, path, "an object with a `type`")
    if source.type == "file":
        raise no_files(path)
    if source.type == "content":
        return _look_at_content(source.content, f"{path}.content", depth + 1)
    if source.type == "url":
        _check_url(source, path)
    return _Weight(0 if source.type == "text" else _DOCUMENT_PAGES)


def _check_image(source: _Source, path: str) -> None:
    if source.type == "file":
        raise no_files(path)
    if source.type == "url":
        _check_url(source, path)
    elif source.type == "base64":
        declared = decode_at(source.media_type, str, f"{path}.media_type", "a string")
        check_media_type(declared, f"{path}.media_type")
        data = text_of(source.data, f"{path}.data", "a base64 string")
        check_base64(data, declared, f"{path}.data", f"{path}.media_type")
    else:
        raise InvalidRequest(f"`{path}.type` must be base64 or url.", param=f"{path}.type")


def _check_url(source: _Source, path: str) -> None:
    check_address(decode_at(source.url, str, f"{path}.url", "a string"), f"{path}.url")
