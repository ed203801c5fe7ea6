"""Analyse pictures with Claude, as Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rollout.core import rehearsal
from rollout.core.analyses import MessageRequest, encode_message, parse_message_request
from rollout.core.catalogue import Resolved
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.prices import maximum_message_cost
from rollout.core.thinking import think
from rollout.providers.base import MessageCall
from rollout.services import calls, upstream
from rollout.services.calls import Call, Told
from rollout.services.pass_through import Answered, Asked, PassThrough, Work

WIRE = "anthropic"
OUR_HEADERS = {"anthropic-version": "2026-10-21"}
"""Of requests that we write ourselves."""


class Analyze(PassThrough):
    def count_tokens(self, call: Call, asked: Asked) -> Answered:
        """The vendor's count of the input; nothing is held or charged. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            _, resolved, to_send, _ = self._read(call, decision, asked, counting=True)
            vendor, port = self._providers.messages(resolved.model, test=call.is_test)
            outcome.headers = calls.headers(call, decision, resolved, vendor, asked.warnings)
            body = upstream.send(resolved.model, lambda: port.count_tokens(to_send))
            return Answered(body, Told(outcome.headers, (), 0))

    def _prepare(self, call: Call, decision: Decision, asked: Asked) -> Work:
        request, resolved, to_send, thinking = self._read(call, decision, asked)
        vendor, port = self._providers.messages(resolved.model, test=call.is_test)
        return Work(
            call=call,
            decision=decision,
            resolved=resolved,
            vendor=vendor,
            maximum=maximum_message_cost(
                resolved.model,
                asked.body_bytes - request.picture_bytes,
                request.max_tokens,
                request.has_cache_control,
                request.images,
            ),
            create=lambda: port.create(to_send),
            stream=lambda: port.stream(to_send),
            warnings=asked.warnings,
            thinking=thinking,
        )

    def _read(
        self, call: Call, decision: Decision, asked: Asked, *, counting: bool = False
    ) -> tuple[MessageRequest, Resolved, MessageCall, str | None]:
        """The request, who answers it, what is sent, and what became of a thinking budget."""
        request = parse_message_request(asked.members, counting=counting)
        resolved = self._resolve(call, decision, request.model, WIRE)
        if call.is_test:
            rehearsal.check(rehearsal.message_prompt(asked.members), decision.id)
        budgets = call.identity.facts.tenant.thinking_budgets
        thought = think(resolved.model, asked.members, None if counting else request.max_tokens, budgets)
        body = encode_message(self._with_user(call, thought.members), resolved.model.upstream_id)
        to_send = MessageCall(resolved.model, body, request.stream, asked.headers)
        return request, resolved, to_send, thought.told

    def _with_user(self, call: Call, members: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
        """The end user of the header, hashed, where the caller has not said `metadata` himself."""
        user = call.upstream_user(self._secret, call.end_user)
        if user is None or "metadata" in members:
            return members
        return {**members, "metadata": msgspec.Raw(msgspec.json.encode({"user_id": user}))}
