"""Claude rewrites a prompt before its picture is made. Failure behaviour: open; the prompt goes as it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from rollout.core.images import ImageRequest
from rollout.services.asking import MODEL, Asking, Question, Skipped
from rollout.services.calls import Call
from rollout.services.results import Work
from rollout.services.tasks import load

SECONDS = 8.0
MAX_BYTES = 4_000
"""UTF-8 bytes of a rewritten prompt: what is reserved for one."""


Rewrite = Callable[[str], Mapping[str, Any]]
"""Of a prompt what `Refine.prompt` answers."""


class _Refined(msgspec.Struct):
    prompt: str


class Refine:
    def __init__(self, asking: Asking) -> None:
        self._asking, self._question = asking, Question(load("refine"), SECONDS)

    def work(self, call: Call, work: Work) -> Work:
        """The work with the prompt that Claude made of it, where that was asked for: to be done in the work's hold, before it is
        dispatched."""
        return rewritten(work, lambda prompt: self.prompt(call, prompt))

    def prompt(self, call: Call, prompt: str) -> Mapping[str, Any]:
        """`{"prompt", "model"}`, or `{"skipped": reason}`; never raises for what becomes of the question."""
        draft = {"type": "text", "text": f"<draft>{prompt}</draft>"}
        try:
            refined = self._asking.ask(call, self._question, [draft], _Refined).prompt.strip()
            if not refined or "\x00" in refined:
                raise Skipped("unreadable")
            if len(refined.encode()) > MAX_BYTES:
                raise Skipped("too_long")
        except Skipped as skipped:
            return {"skipped": skipped.reason}
        return {"prompt": refined, "model": MODEL}


def rewritten(work: Work, rewrite: Rewrite) -> Work:
    """The work with what came of its prompt, where that was asked for."""
    if not work.extensions.refine_prompt:
        return work
    refined, request = rewrite(work.request.prompt), work.request
    if "prompt" in refined:
        request = replace(request, prompt=refined["prompt"])
    return replace(work, to_send=replace(work.to_send, request=request), refined=refined)


def longest(request: ImageRequest) -> ImageRequest:
    """The request with the longest prompt that may come of it: what is reserved for."""
    return replace(request, prompt=max(request.prompt, "x" * MAX_BYTES, key=lambda text: len(text.encode())))
