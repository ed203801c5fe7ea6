"""Chat completions as OpenAI, xAI and the hosts of Llama answer them: completions, their streams, errors."""

from __future__ import annotations

import msgspec

from rollout.core.analyses import split_members
from rollout.core.chats import parse_chat_request
from rollout.core.steering import parse_steering
from rollout.core.wire import read_chat
from rollout.errors import RolloutError
from rollout.providers.base import ChatCall, Rejected
from rollout.providers.sandbox.chats import SandboxChats, asks_for_usage, chunks_of
from rollout.providers.sandbox.messages import decoded, last_prompt
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, vendor_status
from rollout.services.sandbox.openai_images import refusal

WIRE = "openai_chat"


class OpenAIChatSandbox:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._chats = SandboxChats(bench.works, bench.sleep, bench.hang_seconds)

    def complete(self, request_id: str, body: bytes) -> Reply:
        """/v1/chat/completions. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._complete(work, body)

    def _complete(self, work: Work, body: bytes) -> Reply:
        try:
            asked = parse_chat_request(split_members(body))
            model = self._bench.model(asked.model, WIRE)
            request = decoded(body)
            steering = parse_steering(last_prompt(request))
            work.until = self._bench.clock() + steering.takes
            told = self._bench.fault(refusal, steering, streaming=asked.stream)
            if told:
                return told
            completion = self._chats.make(ChatCall(model, body, asked.stream), request, steering)
        except RolloutError as error:
            param = error.members.get("param")
            return refusal(vendor_status(error), error.message, code=error.code, param=param)
        except Rejected as rejected:
            return refusal(400, rejected.message, param=rejected.param)
        work.finish(0, read_chat(msgspec.json.encode(completion)).usage)
        if asked.stream:
            return self._bench.stream(chunks_of(completion, tells_usage=asks_for_usage(request)), steering)
        return self._bench.json(completion, steering)
