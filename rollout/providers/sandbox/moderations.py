"""Moderations without a vendor: scores that hang on the text alone, all of them low, but for what a prompt tells.

`sandbox:refuse=violence` and `sandbox:flagged=input` flag a text; the faults are those of all prompts.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from rollout.core.moderations import Moderated, ModerationRequest, parse_moderation_request
from rollout.core.steering import Steering
from rollout.errors import RolloutError
from rollout.providers.base import Rejected
from rollout.providers.sandbox.faults import Sleep, spoil, steering_of, suffer

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""Source: OpenAI's moderations reference."""

OF_PICTURES = frozenset(
    {
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "violence",
        "violence/graphic",
    }
)
"""What is looked for in pictures too."""

_TOLD = {"self_harm": "self-harm", "minors": "sexual/minors"}
_HIGH = 0.99


class SandboxModerations:
    """The port `Moderations`; `hang_seconds` bounds what `hang` may take."""

    def __init__(self, sleep: Sleep, hang_seconds: float) -> None:
        self._sleep, self._hang_seconds = sleep, hang_seconds

    def create(self, body: bytes) -> bytes:
        request = read(body)
        steering = steering_of(request.inputs[0].text)
        suffer(steering, self._sleep, self._hang_seconds, streaming=False)
        answer = make(request, steering)
        spoil(steering, streaming=False)
        return msgspec.json.encode(answer)


def read(body: bytes) -> ModerationRequest:
    """Raises Rejected for what is no moderation request."""
    try:
        return parse_moderation_request(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except msgspec.DecodeError as error:
        raise Rejected(f"The body is not JSON: {error}") from error
    except RolloutError as error:
        raise Rejected(error.message, param=error.members.get("param")) from error


def make(request: ModerationRequest, steering: Steering) -> dict[str, Any]:
    """The whole answer, with no fault. Raises Rejected for a category that there is not."""
    told = steering.refuse or ("violence" if steering.flagged else None)
    flagged = _TOLD.get(told or "", told)
    if flagged is not None and flagged not in CATEGORIES:
        raise Rejected(f"the sandbox knows no category {flagged!r}", param="input")
    results = [_result(one, flagged if index == 0 else None) for index, one in enumerate(request.inputs)]
    digest = hashlib.sha256(msgspec.json.encode([request.model, results])).hexdigest()
    return {"id": f"modr-sandbox{digest[:20]}", "model": request.model, "results": results}


def _result(one: Moderated, flagged: str | None) -> dict[str, Any]:
    noise = hashlib.sha256(one.text.encode()).digest()
    scores = {name: noise[index] / 100_000 for index, name in enumerate(CATEGORIES)}
    if flagged:
        scores[flagged] = _HIGH
    kinds = ["text"] if one.text else []
    return {
        "flagged": flagged is not None,
        "categories": {name: name == flagged for name in CATEGORIES},
        "category_scores": scores,
        "category_applied_input_types": {
            name: [*kinds, *(["image"] if one.pictures and name in OF_PICTURES else [])]
            for name in CATEGORIES
        },
    }
