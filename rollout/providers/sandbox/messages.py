"""Messages without a vendor: true facts about each picture, in Anthropic's shapes, and told to fail by the
prompt.

The text tells each picture's type, size, dominant colours and hash; a JSON schema is filled with valid
values, true ones where a property has a name that says what it is of (`reading.py`); thinking blocks come where thinking
is asked for. Tokens are counted as a quarter of the bytes and,
for pictures, by the vendor's formula (width x height / 750). Failures: only those that the prompt asks for,
and Rejected for what the vendor would refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64

from rollout.core.catalogue import Model, Usage
from rollout.core.pictures import media_type_and_size
from rollout.core.schemas import Known, check, example
from rollout.core.steering import Steering
from rollout.core.wire import read_message, read_message_event
from rollout.errors import InvalidRequest
from rollout.providers.base import MessageAnswer, MessageCall, MessageEvent, Rejected
from rollout.providers.sandbox.faults import Sleep, cut_short, spoil, steering_of, suffer
from rollout.providers.sandbox.pictures import NotAPicture, facts
from rollout.providers.sandbox.reading import Seen, known_of, label_of
from rollout.providers.sandbox.works import Works

_BYTES_PER_TOKEN = 4
_MAX_IMAGE_TOKENS = 4_784
_URL_IMAGE_TOKENS = 1_600
_LEAST_THINKING_BUDGET = 1_024
_DELTA_CHARACTERS = 48
_THOUGHT = "The sandbox reads each picture's header, counts its colours and hashes its bytes; it understands nothing."


@dataclass(frozen=True)
class _Asked:
    """What the sandbox understands of a request."""

    prompt: str
    pictures: tuple[Seen, ...]
    texts: tuple[str, ...]
    input_tokens: int


class SandboxMessages:
    """The port `Messages`. What becomes of its works is told by `works`; `hang_seconds` bounds what `hang` may take."""

    def __init__(self, works: Works, sleep: Sleep, hang_seconds: float) -> None:
        self._works, self._sleep, self._hang_seconds = works, sleep, hang_seconds

    def create(self, call: MessageCall) -> MessageAnswer:
        request = decoded(call.body)
        body = self._work(call, request, steering_of(last_prompt(request)), streaming=False)[1]
        usage, stop_reason = read_message(body)
        return MessageAnswer(body, usage, stop_reason, _work_id(call))

    @contextmanager
    def stream(self, call: MessageCall) -> Iterator[Iterator[MessageEvent]]:
        request = decoded(call.body)
        steering = steering_of(last_prompt(request))
        message, _ = self._work(call, request, steering, streaming=True)
        yield cut_short(_read_events(events_of(message)), steering, _work_id(call))

    def count_tokens(self, call: MessageCall) -> bytes:
        request = decoded(call.body)
        steering = steering_of(last_prompt(request))
        suffer(steering, self._sleep, self._hang_seconds, streaming=False)
        spoil(steering, streaming=False)
        return _json(self.count(request))

    def _work(
        self, call: MessageCall, request: Mapping[str, Any], steering: Steering, *, streaming: bool
    ) -> tuple[dict[str, Any], bytes]:
        """The message, and as JSON, or fail as told; either way what became of it can be looked up."""
        work_id = _work_id(call)
        with self._works.begin(work_id) as work:
            work.until = self._works.clock() + steering.takes
            suffer(steering, self._sleep, self._hang_seconds, work_id, streaming=streaming)
            message = self.make(call, request, steering)
            body = _json(message)
            work.finish(0, read_message(body)[0])
        spoil(steering, work_id, streaming=streaming)
        return message, body

    def count(self, request: Mapping[str, Any]) -> dict[str, int]:
        """The answer of count_tokens, with no fault. Raises Rejected."""
        return {"input_tokens": _understand(request).input_tokens}

    def make(self, call: MessageCall, request: Mapping[str, Any], steering: Steering) -> dict[str, Any]:
        """The whole message as the vendor would answer it, with no fault. Raises Rejected."""
        most = call.model.max_tokens
        if most and request.get("max_tokens", 0) > most:
            raise Rejected(f"at most {most} output tokens for {call.model.name}", param="max_tokens")
        asked = _understand(request)
        content, stop_reason, output_tokens = _content(request, asked, call.model)
        details = None
        if steering.refuse or steering.flagged:
            content, stop_reason, output_tokens = [], "refusal", 1
            details = {
                "type": "refusal",
                "category": steering.refuse,
                "explanation": "The sandbox was told to refuse.",
            }
        usage = {"input_tokens": asked.input_tokens, "output_tokens": output_tokens}
        rate = call.model.price.per_million.get("out", 0)
        if steering.cost is not None and rate:
            usage = {"input_tokens": 0, "output_tokens": steering.cost * 1_000_000 // rate}
        message = {
            "id": _work_id(call),
            "type": "message",
            "role": "assistant",
            "model": request.get("model", call.model.upstream_id),
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "stop_details": details,
            "usage": {
                **usage,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "service_tier": "standard",
            },
        }
        if steering.nousage:
            del message["usage"]
        return message


def _work_id(call: MessageCall) -> str:
    return f"msg_sandbox_{hashlib.sha256(call.body).hexdigest()[:20]}"


def decoded(body: bytes) -> dict[str, Any]:
    """A Messages request. Raises Rejected for what is none."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Rejected(f"The body is not JSON: {error}") from error
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        raise Rejected("messages: Field required", param="messages")
    return request


def last_prompt(request: Mapping[str, Any]) -> str:
    """The first text of the last message that a user wrote: where steering stands."""
    for message in reversed(request.get("messages") or []):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return next((text for text in _texts(message.get("content"))), "")
    return ""


def events_of(message: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(name, raw event) of the stream that would have carried this message."""
    usage = message.get("usage")
    start = {**message, "content": [], "stop_reason": None, "stop_details": None}
    if usage:
        start["usage"] = {**usage, "output_tokens": 1}
    yield _event("message_start", message=start)
    yield _event("ping")
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=delta, **({"usage": usage} if usage else {}))
    yield _event("message_stop")


def _block_events(index: int, block: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    kind = block["type"]
    empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
    yield _event("content_block_start", index=index, content_block=empty)
    text = block[kind]
    for at in range(0, len(text), _DELTA_CHARACTERS):
        delta = {"type": f"{kind}_delta", kind: text[at : at + _DELTA_CHARACTERS]}
        yield _event("content_block_delta", index=index, delta=delta)
    if kind == "thinking":
        signature = {"type": "signature_delta", "signature": block["signature"]}
        yield _event("content_block_delta", index=index, delta=signature)
    yield _event("content_block_stop", index=index)


def _event(name: str, **members: Any) -> tuple[str, bytes]:
    return name, f"event: {name}\ndata: ".encode() + _json({"type": name, **members}) + b"\n\n"


def _read_events(events: Iterator[tuple[str, bytes]]) -> Iterator[MessageEvent]:
    usage: Usage | None = None
    for name, raw in events:
        stop_reason, told = None, None
        if name in ("message_start", "message_delta"):
            usage, stop_reason = read_message_event(raw.split(b"data: ", 1)[1].strip(), usage)
            told = usage
        yield MessageEvent(name, raw, told, stop_reason)


def _content(
    request: Mapping[str, Any], asked: _Asked, model: Model
) -> tuple[list[dict[str, Any]], str, int]:
    """Content blocks, stop reason and output tokens, kept within max_tokens."""
    most = int(request.get("max_tokens", 0))
    blocks: list[dict[str, Any]] = []
    spent = 0
    if _thinks(request, most, model):
        thought = _within(_THOUGHT, most)
        signature = hashlib.sha256(_THOUGHT.encode()).hexdigest()
        blocks.append({"type": "thinking", "thinking": thought, "signature": signature})
        spent += _tokens(thought)
    answer = _answer(request, asked)
    text = _within(answer, most - spent)
    spent += _tokens(text)
    if text:
        blocks.append({"type": "text", "text": text})
    return blocks, "end_turn" if text == answer else "max_tokens", spent


def _thinks(request: Mapping[str, Any], max_tokens: int, model: Model) -> bool:
    thinking = request.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind is not None and model.thinking and kind not in model.thinking:
        raise Rejected(f"{kind!r} is not supported by this model", param="thinking.type")
    if kind == "enabled":
        budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
        if not isinstance(budget, int) or not _LEAST_THINKING_BUDGET <= budget < max_tokens:
            raise Rejected(
                f"thinking.budget_tokens must be at least {_LEAST_THINKING_BUDGET} and less than max_tokens",
                param="thinking.budget_tokens",
            )
    return kind in ("enabled", "adaptive")


def _answer(request: Mapping[str, Any], asked: _Asked) -> str:
    config = request.get("output_config")
    wanted = config.get("format") if isinstance(config, Mapping) else None
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        try:
            check(wanted.get("schema"))
            known = {**known_of(asked.pictures, asked.texts), **_known(asked.prompt)}
            return _json(example(wanted.get("schema"), known)).decode()
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
            raise Rejected(
                f"output_config.format.schema: {error}", param="output_config.format.schema"
            ) from error
    count = len(asked.pictures)
    lines = [f"SANDBOX: no model looked at this. {count} picture{'' if count == 1 else 's'}."]
    lines += [f"Picture {index}: {seen.facts}." for index, seen in enumerate(asked.pictures, 1)]
    return "\n".join([*lines, f"You wrote: {asked.prompt[:200]}"])


def _known(prompt: str) -> Known:
    """What answers our own questions about a picture, by the names that `services/prompts` has for it."""
    steering = steering_of(prompt)
    if not steering.is_question:
        return {}
    return {
        "prompt": [f"{steering.text}, in more words (SANDBOX)"],
        "score": [0.9 if steering.score is None else steering.score],
        "reasons": [["SANDBOX: no model looked at this."]],
    }


def _understand(request: Mapping[str, Any]) -> _Asked:
    pictures, picture_tokens = [], 0
    for block in _image_blocks(request.get("messages")):
        seen, tokens = _look(block.get("source") or {})
        pictures.append(seen)
        picture_tokens += tokens
    texts = tuple(_all_texts(request))
    words = sum(len(text.encode()) for text in texts)
    return _Asked(
        last_prompt(request), tuple(pictures), texts, max(1, words // _BYTES_PER_TOKEN) + picture_tokens
    )


def _look(source: Mapping[str, Any]) -> tuple[Seen, int]:
    """What can truly be said of one picture, and its tokens."""
    if source.get("type") != "base64":
        return Seen(f"at {str(source.get('url'))[:200]}, which the sandbox does not fetch"), _URL_IMAGE_TOKENS
    try:
        data = pybase64.b64decode(str(source.get("data")), validate=True)
        media_type, width, height = media_type_and_size(data)
        seen = Seen(facts(data, media_type, width, height), width, height, label_of(data))
    except (ValueError, InvalidRequest, NotAPicture) as error:
        raise Rejected(f"Could not process image: {error}", param="messages") from error
    return seen, min(_MAX_IMAGE_TOKENS, max(1, width * height // 750))


def _image_blocks(value: Any) -> Iterator[Mapping[str, Any]]:
    """Image blocks wherever they stand: in messages, in tool results, in documents."""
    if isinstance(value, list):
        for item in value:
            yield from _image_blocks(item)
    elif isinstance(value, Mapping):
        if value.get("type") == "image":
            yield value
        else:
            yield from _image_blocks(value.get("content"))
            yield from _image_blocks(value.get("source"))


def _all_texts(request: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts(request.get("system"))
    for message in request.get("messages") or []:
        yield from _texts(message.get("content") if isinstance(message, Mapping) else None)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and isinstance(block.get("text"), str):
            yield block["text"]


def _within(text: str, tokens: int) -> str:
    return text.encode()[: max(0, tokens) * _BYTES_PER_TOKEN].decode("utf-8", "ignore")


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
