"""Rehearsal with test keys: a prompt that begins `sandbox:deny=<code>` makes the gate itself answer it.

So an integrator sees each error of the tree in his own program, with no vendor called and no money moved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from rollout.errors import InvalidRequest, RolloutError, all_errors, by_code

_DENY = re.compile(r"sandbox:(?:[^\s,]+,)*deny=([^\s,]*)")


class _Block(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block] | None = None


def check(prompt: str, decision_id: str) -> None:
    """Raises the error that the prompt asks for, or InvalidRequest when there is no such code."""
    asked = _DENY.match(prompt)
    if asked is None:
        return
    try:
        kind = by_code(asked[1])
    except KeyError:
        known = sorted({error.code for error in all_errors()})
        raise InvalidRequest(
            f"There is no error code {asked[1][:100]!r} to rehearse.",
            param="prompt",
            remedy=f"Write sandbox:deny= and one of {', '.join(known)}.",
        ) from None
    raise _rehearsed(kind, decision_id)


def message_prompt(members: Mapping[str, msgspec.Raw]) -> str:
    """The first text of the last message that a user wrote; '' when there is none."""
    try:
        messages = msgspec.json.decode(members["messages"], type=list[_Message])
    except msgspec.ValidationError:
        return ""
    content = next((message.content for message in reversed(messages) if message.role == "user"), "")
    if isinstance(content, str):
        return content
    return next((block.text for block in content or () if block.text), "")


def _rehearsed(kind: type[RolloutError], decision_id: str) -> RolloutError:
    message = f"{kind.default_message()} (Rehearsed: the prompt asked for it.)"
    return kind(message, retry_after=1 if kind.retryable else None, decision_id=decision_id)
