"""Analyse pictures with models that are asked by chat completions: Llama, Grok, and others' at OpenAI-compatible hosts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from rollout.core import rehearsal
from rollout.core.chats import ChatRequest, encode_chat, parse_chat_request
from rollout.core.decisions import Decision
from rollout.core.prices import maximum_message_cost
from rollout.providers.base import ChatCall, ChatEvent, Chats
from rollout.services.calls import Call
from rollout.services.pass_through import Asked, PassThrough, Work

WIRE = "openai_chat"


class Chat(PassThrough):
    def _prepare(self, call: Call, decision: Decision, asked: Asked) -> Work:
        request = parse_chat_request(asked.members)
        resolved = self._resolve(call, decision, request.model, WIRE)
        if call.is_test:
            rehearsal.check(rehearsal.message_prompt(asked.members), decision.id)
        model = resolved.model
        vendor, port = self._providers.chats(model, test=call.is_test)
        members = self._with_user(call, asked.members)
        to_send = ChatCall(
            model, encode_chat(members, model.upstream_id, stream=request.stream), request.stream
        )
        most = model.max_tokens if request.max_tokens is None else request.max_tokens
        return Work(
            call=call,
            decision=decision,
            resolved=resolved,
            vendor=vendor,
            maximum=maximum_message_cost(
                model, asked.body_bytes - request.picture_bytes, request.choices * most, False, request.images
            ),
            create=lambda: port.create(to_send),
            stream=lambda: _events(port, to_send, request),
            warnings=asked.warnings,
        )

    def _with_user(self, call: Call, members: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
        """The end user of the header, hashed, where the caller has not named one himself."""
        user = call.upstream_user(self._secret, call.end_user)
        if user is None or "user" in members:
            return members
        return {**members, "user": msgspec.Raw(msgspec.json.encode(user))}


@contextmanager
def _events(port: Chats, to_send: ChatCall, request: ChatRequest) -> Iterator[Iterator[ChatEvent]]:
    """The vendor's chunks; the one that tells the usage, which we asked for, is hidden from a caller who did not."""
    with port.stream(to_send) as events:
        yield (
            dataclasses.replace(event, raw=b"") if event.is_usage and not request.tells_usage else event
            for event in events
        )
