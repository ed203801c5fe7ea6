"""OpenAI's moderations as the vendor answers them."""

from __future__ import annotations

from rollout.core.steering import parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import Rejected
from rollout.providers.sandbox import moderations
from rollout.services.sandbox.bench import Bench, Reply
from rollout.services.sandbox.openai_images import refusal


class ModerationsSandbox:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def moderate(self, body: bytes) -> Reply:
        """/v1/moderations. Raises ConnectionDropped."""
        try:
            request = moderations.read(body)
            steering = parse_steering(request.inputs[0].text)
            told = self._bench.fault(refusal, steering, streaming=False)
            return told or self._bench.json(moderations.make(request, steering), steering)
        except Rejected as rejected:
            return refusal(400, rejected.message, param=rejected.param)
        except RolloutError as error:
            return refusal(400, error.message, param="input")
