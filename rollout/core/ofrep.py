"""Answers as the OpenFeature Remote Evaluation Protocol 0.3.0 tells them.

What its real clients need of us: `variant` and `reason` in every answer, and only the reasons below; whole numbers and fractions told
apart, because `1` is no float to them; `errorDetails` in every failure. A flag that carries values answers without one where it is off:
the caller's own default then stands. A gate always answers true or false, so that no default ever opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from rollout.core.decisions import Reason
from rollout.core.flag_answers import FlagAnswer
from rollout.core.flags import NAME

Told = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "DEFAULT", "UNKNOWN"]

REASONS: Mapping[Reason, Told] = {
    "ga": "STATIC",
    "granted": "TARGETING_MATCH",
    "segment": "TARGETING_MATCH",
    "percentage": "SPLIT",
    "killed": "DISABLED",
    "tenant_halted": "DISABLED",
    "flag_off": "DISABLED",
    "flag_unknown": "DISABLED",
    "flags_stale": "UNKNOWN",
    "not_granted": "DEFAULT",
    "grant_expired": "DEFAULT",
    "not_in_phase": "DEFAULT",
}
"""Why a gate answers as it does, in OpenFeature's words; ours stand in `metadata`."""


class _NoValue(Exception):
    """The payload is not what its type says."""


def is_key(text: str) -> bool:
    """Whether a flag of this name can be asked for: clients put it into the path as it is."""
    return NAME.fullmatch(text) is not None


def evaluation(answer: FlagAnswer, context: Mapping[str, Any]) -> dict[str, Any]:
    """The answer, or the failure, for one flag."""
    key, decision = answer.flag.name, answer.decision
    if decision is not None:
        told = {
            "value": decision.allowed,
            "reason": REASONS[decision.reason],
            "variant": _switch(decision.allowed),
        }
        metadata = {"reason": decision.reason, "detail": answer.detail, "phase": decision.phase}
        return {"key": key, **told, "metadata": {name: text for name, text in metadata.items() if text}}
    if "userId" in answer.flag.reads and "userId" not in context:
        return failure(
            key, "TARGETING_KEY_MISSING", f"{key} depends on who asks: send a targetingKey in the context."
        )
    try:
        value = _value(answer)
    except _NoValue:
        name = answer.variant["name"]
        return failure(key, "PARSE_ERROR", f"The payload of the variant {name} of {key} is not of its type.")
    return {"key": key, **value, "reason": _reason(answer), "variant": _variant(answer)}


def failure(key: str, code: str, details: str) -> dict[str, Any]:
    return {"key": key, "errorCode": code, "errorDetails": details}


def _reason(answer: FlagAnswer) -> Told:
    if not answer.enabled:
        return "DEFAULT" if answer.flag.enabled else "DISABLED"
    if not answer.flag.reads:
        return "STATIC"
    return "SPLIT" if answer.variant["enabled"] else "TARGETING_MATCH"


def _variant(answer: FlagAnswer) -> str:
    drawn = answer.enabled and answer.variant["enabled"]
    return str(answer.variant["name"]) if drawn else _switch(answer.enabled)


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _value(answer: FlagAnswer) -> dict[str, Any]:
    """The member `value`, or none. Raises _NoValue."""
    if not answer.flag.valued:
        return {"value": answer.enabled}
    payload = answer.variant.get("payload")
    if not answer.enabled or payload is None:
        return {}
    return {"value": _typed(payload, fractional=answer.flag.fractional)}


def _typed(payload: Mapping[str, Any], *, fractional: bool) -> Any:
    kind, text = payload.get("type"), str(payload.get("value"))
    if kind not in ("json", "number"):
        return text
    try:
        value = orjson.loads(text)
    except ValueError as error:
        raise _NoValue from error
    if kind == "json":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _NoValue
    return float(value) if fractional else value
