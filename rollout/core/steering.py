"""Prompts that tell the sandbox what to do: `sandbox:key=value[,key=value] text`.

| key | the sandbox then |
|---|---|
| `error=429[:code]` | answers that status, with that code |
| `takes=30s` | is at the work for so long, whatever it answers: to be seen where works are looked up |
| `slow=3s` | waits first (also `300ms`) |
| `refuse=category`, `flagged=input` or `output` | refuses the content, before or after the work |
| `drop` | does the work, which is billed, and closes the connection unanswered |
| `cut=N` | does the work, and stops after N events, or in the middle of an answer |
| `hang` | never answers, and does no work |
| `malformed`, `html`, `json` | sends broken JSON; a page; JSON where a stream was asked for |
| `retired` | does not know the model |
| `nousage`, `fewer=N`, `cost=usd_micro` | tells no usage; makes N pictures fewer; tells a usage of that price |
| `refine=KEY[:VALUE]`, `judge=KEY[:VALUE]` | does so when asked to rewrite this prompt, or to judge its picture; beside the keys
above `score:0.3` |
| `progress=N` | of a vendor that works by tasks: is done after N looks at the task; `error=500:FAILURE`: the task fails |

`deny=` belongs to the gate before the vendors: it is accepted and means nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.errors import InvalidRequest

PREFIX = "sandbox:"
MAX_SECONDS = 600.0
_SWITCHES = ("drop", "hang", "malformed", "html", "json", "retired", "nousage")
_FOREIGN = ("deny",)
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)")
_ERROR = re.compile(r"([45]\d\d)(?::([\w.-]{1,64}))?")
_NUMBER = re.compile(r"\d{1,12}")
_COUNTS = ("cut", "fewer", "cost", "progress")
_QUESTIONS = ("refine", "judge")
_QUOTED = {"draft": "refine", "asked": "judge"}  # as services/prompts have it
_SCORE = re.compile(r"0(?:\.\d{1,6})?|1(?:\.0{1,6})?")
_QUOTING = re.compile("<(draft|asked)>(.*)</\\1>", re.DOTALL)
_WORDS = {
    "refuse": (re.compile(r"[a-z_]{1,40}"), "a category such as violence"),
    "flagged": (re.compile("input|output"), "input or output"),
}


@dataclass(frozen=True)
class Steering:
    """What a prompt asks of the sandbox; `text` is the prompt without it. `error` is an HTTP status, `slow`
    and `takes` seconds. `is_question`: the prompt is one about another prompt, `refine` and `judge` what is
    asked of such questions."""

    text: str
    error: int | None = None
    code: str | None = None
    slow: float = 0.0
    takes: float = 0.0
    refuse: str | None = None
    flagged: str | None = None
    cut: int | None = None
    progress: int | None = None
    fewer: int = 0
    cost: int | None = None
    drop: bool = False
    hang: bool = False
    malformed: bool = False
    html: bool = False
    json: bool = False
    retired: bool = False
    nousage: bool = False
    is_question: bool = False
    score: float | None = None
    refine: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] = field(default_factory=dict)


def parse_steering(prompt: str) -> Steering:
    """The steering of a prompt; a prompt without it steers nothing. One that quotes another, as questions about a
    picture do, is steered by what the other says of such questions; its `text` is the other.

    Raises InvalidRequest for a key or value that means nothing.
    """
    if (quoted := _QUOTING.fullmatch(prompt)) is not None:
        told = getattr(parse_steering(quoted[2]), _QUOTED[quoted[1]])
        return Steering(quoted[2], is_question=True, **told)
    if not prompt.startswith(PREFIX):
        return Steering(prompt)
    keys, _, text = prompt[len(PREFIX) :].partition(" ")
    values: dict[str, Any] = {}
    for item in filter(None, keys.split(",")):
        key, has_value, value = item.partition("=")
        values.update(_read(key, value if has_value else None))
    return Steering(text, **values)


def _read(key: str, value: str | None) -> Mapping[str, Any]:
    if key in _FOREIGN:
        return {}
    if key in _SWITCHES and value is None:
        return {key: True}
    if key == "error":
        status, code = _match(_ERROR, key, value, "a status from 400 to 599, with :code if wanted").groups()
        return {"error": int(status), "code": code}
    if key in ("slow", "takes"):
        number, unit = _match(_SECONDS, key, value, "a time such as 3s or 300ms").groups()
        return {key: min(MAX_SECONDS, float(number) / (1000 if unit == "ms" else 1))}
    if key in _WORDS:
        pattern, expected = _WORDS[key]
        return {key: _match(pattern, key, value, expected)[0]}
    if key in _QUESTIONS:
        inner, has_value, told = (value or "").partition(":")
        return {key: _read(inner, told if has_value else None)}
    if key == "score":
        return {key: float(_match(_SCORE, key, value, "a number from 0 to 1")[0])}
    if key in _COUNTS:
        return {key: int(_match(_NUMBER, key, value, "a whole number")[0])}
    raise _unknown(f"The sandbox does not know {key[:100]!r}.")


def _match(pattern: re.Pattern[str], key: str, value: str | None, expected: str) -> re.Match[str]:
    found = pattern.fullmatch(value or "")
    if found is None:
        raise _unknown(f"The sandbox's {key} must be {expected}.")
    return found


def _unknown(message: str) -> InvalidRequest:
    return InvalidRequest(
        message,
        param="prompt",
        remedy="Known: error=429[:code], slow=3s, takes=30s, refuse=category, flagged=input|output, drop, hang, cut=N, "
        "malformed, html, json, retired, nousage, fewer=N, cost=usd_micro, progress=N, refine=KEY[:VALUE], judge=KEY[:VALUE].",
    )
