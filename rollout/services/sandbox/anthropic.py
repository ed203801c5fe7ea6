"""Anthropic's Messages as the vendor answers them: messages, their streams, token counts, errors."""

from __future__ import annotations

import msgspec

from rollout.core.analyses import parse_message_request, split_members
from rollout.core.steering import parse_steering
from rollout.core.wire import read_message
from rollout.errors import RolloutError
from rollout.providers.base import MessageCall, Rejected
from rollout.providers.sandbox.messages import SandboxMessages, decoded, events_of, last_prompt
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, json_reply, vendor_status

WIRE = "anthropic"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicSandbox:
    """The Messages of Anthropic."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._messages = SandboxMessages(bench.works, bench.sleep, bench.hang_seconds)

    def message(self, request_id: str, body: bytes) -> Reply:
        """/v1/messages. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._message(work, body)

    def _message(self, work: Work, body: bytes) -> Reply:
        try:
            asked = parse_message_request(split_members(body))
            model = self._bench.model(asked.model, WIRE)
            request = decoded(body)
            steering = parse_steering(last_prompt(request))
            work.until = self._bench.clock() + steering.takes
            told = self._bench.fault(refusal, steering, streaming=asked.stream)
            if told:
                return told
            message = self._messages.make(MessageCall(model, body, asked.stream), request, steering)
        except (RolloutError, Rejected) as error:
            return _rejected(error)
        work.finish(0, read_message(msgspec.json.encode(message))[0])
        if asked.stream:
            return self._bench.stream((raw for _, raw in events_of(message)), steering)
        return self._bench.json(message, steering)

    def count_tokens(self, body: bytes) -> Reply:
        """/v1/messages/count_tokens. Raises ConnectionDropped."""
        try:
            asked = parse_message_request(split_members(body), counting=True)
            self._bench.model(asked.model, WIRE)
            request = decoded(body)
            steering = parse_steering(last_prompt(request))
            told = self._bench.fault(refusal, steering, streaming=False)
            return told or self._bench.json(self._messages.count(request), steering)
        except (RolloutError, Rejected) as error:
            return _rejected(error)


def refusal(status: int, message: str, *, code: str | None = None) -> Reply:
    """An error in Anthropic's envelope."""
    kind = code or _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status)


def _rejected(error: RolloutError | Rejected) -> Reply:
    """The vendor names the field at the head of its message."""
    if isinstance(error, Rejected):
        status, param = 400, error.param
    else:
        status, param = vendor_status(error), error.members.get("param")
    return refusal(status, f"{param}: {error.message}" if param else error.message)
