"""Chat completions without a vendor: what the sandbox's Messages say of the pictures, in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from rollout.core.steering import Steering
from rollout.core.wire import read_chat
from rollout.providers.base import ChatAnswer, ChatCall, ChatEvent, MessageCall
from rollout.providers.sandbox.faults import Sleep, cut_short, spoil, steering_of, suffer
from rollout.providers.sandbox.messages import SandboxMessages, decoded, last_prompt
from rollout.providers.sandbox.works import Works

_DELTA_CHARACTERS = 48
_MOST_TOKENS = 4_096
_FINISH = {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}
_DONE = b"data: [DONE]\n\n"


class SandboxChats:
    """The port `Chats`. What becomes of its works is told by `works`; `hang_seconds` bounds what `hang` may take."""

    def __init__(self, works: Works, sleep: Sleep, hang_seconds: float) -> None:
        self._works, self._sleep, self._hang_seconds = works, sleep, hang_seconds
        self._messages = SandboxMessages(works, sleep, hang_seconds)

    def create(self, call: ChatCall) -> ChatAnswer:
        request = decoded(call.body)
        completion = self._work(call, request, steering_of(last_prompt(request)), streaming=False)
        body = msgspec.json.encode(completion)
        told = read_chat(body)
        return ChatAnswer(body, told.usage, told.refusal, completion["id"])

    @contextmanager
    def stream(self, call: ChatCall) -> Iterator[Iterator[ChatEvent]]:
        request = decoded(call.body)
        steering = steering_of(last_prompt(request))
        completion = self._work(call, request, steering, streaming=True)
        chunks = map(_read, chunks_of(completion, tells_usage=asks_for_usage(request)))
        yield cut_short(chunks, steering, completion["id"])

    def _work(
        self, call: ChatCall, request: Mapping[str, Any], steering: Steering, *, streaming: bool
    ) -> dict[str, Any]:
        """The completion, or fail as told; either way what became of it can be looked up."""
        completion = self.make(call, request, steering)
        work_id = completion["id"]
        with self._works.begin(work_id) as work:
            work.until = self._works.clock() + steering.takes
            suffer(steering, self._sleep, self._hang_seconds, work_id, streaming=streaming)
            work.finish(0, read_chat(msgspec.json.encode(completion)).usage)
        spoil(steering, work_id, streaming=streaming)
        return completion

    def make(self, call: ChatCall, request: Mapping[str, Any], steering: Steering) -> dict[str, Any]:
        """The whole completion as the vendor would answer it, with no fault. Raises Rejected."""
        message = self._messages.make(
            MessageCall(call.model, call.body), _as_message(request, call.model.max_tokens), steering
        )
        text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        refusal = message["stop_details"]["explanation"] if steering.refuse else None
        choice = {
            "message": {"role": "assistant", "content": text or None, "refusal": refusal},
            "finish_reason": "stop" if refusal else _FINISH[message["stop_reason"]],
            "logprobs": None,
        }
        choices = int(request.get("n") or 1)
        completion = {
            "id": message["id"].replace("msg_", "chatcmpl_"),
            "object": "chat.completion",
            "created": int(self._works.clock()),
            "model": message["model"],
            "choices": [{"index": index, **choice} for index in range(choices)],
        }
        if told := message.get("usage"):
            prompt, output = told["input_tokens"], told["output_tokens"] * choices
            completion["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": output,
                "total_tokens": prompt + output,
            }
        return completion


def asks_for_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def chunks_of(completion: Mapping[str, Any], *, tells_usage: bool) -> Iterator[bytes]:
    """The raw events of the stream that would have carried this completion."""
    head = {name: completion[name] for name in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    for choice in completion["choices"]:
        message, index = choice["message"], choice["index"]
        yield _chunk(head, index, {"role": "assistant", "content": ""})
        for name in ("content", "refusal"):
            text = message[name] or ""
            for at in range(0, len(text), _DELTA_CHARACTERS):
                yield _chunk(head, index, {name: text[at : at + _DELTA_CHARACTERS]})
        yield _chunk(head, index, {}, choice["finish_reason"])
    if tells_usage and "usage" in completion:
        yield _event({**head, "choices": [], "usage": completion["usage"]})
    yield _DONE


def _chunk(
    head: Mapping[str, Any], index: int, delta: Mapping[str, Any], finish_reason: str | None = None
) -> bytes:
    return _event({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})


def _event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _read(raw: bytes) -> ChatEvent:
    if raw == _DONE:
        return ChatEvent(raw, is_last=True)
    told = read_chat(raw.removeprefix(b"data: "))
    return ChatEvent(raw, told.usage, told.refusal, told.is_empty)


def _as_message(request: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The same request as the sandbox's Messages understand it."""
    asked = request.get("max_completion_tokens") or request.get("max_tokens") or most or _MOST_TOKENS
    message = {
        "model": request.get("model"),
        "max_tokens": asked,
        "messages": [
            {**message, "content": _content(message.get("content"))}
            for message in request["messages"]
            if isinstance(message, Mapping)
        ],
    }
    wanted = request.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema")
        message["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return message


def _content(content: Any) -> Any:
    return [_block(part) for part in content] if isinstance(content, list) else content


def _block(part: Any) -> Any:
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return part
    url = str((part.get("image_url") or {}).get("url"))
    head, _, data = url.partition(";base64,")
    if not data:
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type = head.removeprefix("data:")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
