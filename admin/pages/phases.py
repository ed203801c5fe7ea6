"""A phase as a form: what a person types into it, as the JSON of the admin API, and back; and a phase in words."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from markupsafe import Markup
from pydantic import Field

from rollout.core.gates import CONDITIONS, Kind
from rollout.core.times import epoch, rfc3339
from rollout.errors import Conflict, InvalidRequest
from rollout.web.language import N_, _, moment, money, number, percent

from . import typed
from .forms import LocalMoment, ReasonForm

AudienceKind = Literal["granted", "segment", "percentage", "all"]

AUDIENCES: Mapping[AudienceKind, str] = {
    "granted": N_("tenants with a grant"),
    "segment": N_("tenants with certain attributes"),
    "percentage": N_("a share of the tenants, always the same ones"),
    "all": N_("every tenant"),
}

SAID: Mapping[tuple[Kind, str], str] = {
    ("entry", "not_before"): N_("opens %(value)s at the earliest"),
    ("entry", "approvals"): N_("people who must approve the way in: %(value)s"),
    ("exit", "seconds"): N_("hours in this phase: %(value)s"),
    ("exit", "approvals"): N_("people who must approve the way on: %(value)s"),
    ("exit", "requests"): N_("requests: %(value)s at least"),
    ("exit", "tenants"): N_("tenants that used it: %(value)s at least"),
    ("exit", "ratings"): N_("ratings: %(value)s at least"),
    ("exit", "raters"): N_("end users who rated: %(value)s at least"),
    ("exit", "evaluations"): N_("pictures judged by Claude: %(value)s at least"),
    ("hold", "refused_percent"): N_("refused for their content: %(value)s at most"),
    ("hold", "failed_percent"): N_("failed: %(value)s at most"),
    ("hold", "negative_percent"): N_("rated bad: %(value)s at most"),
    ("hold", "poor_percent"): N_("judged poor by Claude: %(value)s at most"),
    ("hold", "usd_micro_per_image"): N_("a picture costs %(value)s at most"),
    ("hold", "requests"): N_("judged from %(value)s requests on"),
    ("hold", "ratings"): N_("judged from %(value)s ratings on"),
    ("hold", "evaluations"): N_("judged from %(value)s pictures judged by Claude on"),
}
"""Conditions of gates, for who reads."""

_UNITS = {"image": "image", "usd": "usd_micro", "request": "request", "call": "slot"}
_PERIODS = {"minute": "minute", "day": "day", "month": "month", "life": "life", "once": "concurrent"}
_QUOTA = re.compile(r"\s*([\d.]+)\s+([a-z]+)/([a-z]+)(?:\s+([a-z_]+))?\s*")
_POINTER = re.compile(r"phases\.[^.]*\.?")
_FIELDS = {
    "audience.cohorts": "cohorts",
    "audience.basis_points": "share",
    "audience.constraints": "conditions",
    "audience.filter": "conditions",
    "audience": "kind",
    "entry": "entry_not_before",
    "exit": "exit_seconds",
    "hold": "hold_refused_percent",
}
"""Where in the form a member of the JSON is typed, by how its name begins; others have fields of their own name."""


class PhaseForm(ReasonForm):
    """`quota`: a line for each meter, such as `200 image/day`; `conditions`: one a line, such as `program IN beta`."""

    title: str
    kind: AudienceKind
    cohorts: str = ""
    share: str = ""
    conditions: str = ""
    vendors: list[str] = Field(default_factory=list)
    quota: str = ""
    moves_on: Literal["yes", "no"] = "no"
    entry_not_before: LocalMoment | None = None
    entry_approvals: int | None = None
    exit_seconds: float | None = None
    exit_approvals: int | None = None
    exit_requests: int | None = None
    exit_tenants: int | None = None
    exit_ratings: int | None = None
    exit_raters: int | None = None
    exit_evaluations: int | None = None
    hold_refused_percent: float | None = None
    hold_failed_percent: float | None = None
    hold_negative_percent: float | None = None
    hold_poor_percent: float | None = None
    hold_usd_micro_per_image: str | None = None
    hold_requests: int | None = None
    hold_ratings: int | None = None
    hold_evaluations: int | None = None


class NewPhaseForm(PhaseForm):
    key: str
    after: str


def stated(form: PhaseForm, before: Mapping[str, Any]) -> dict[str, Any]:
    """`before` with what the form says. Raises InvalidRequest that names the form's field."""
    return {
        **before,
        "title": form.title,
        "audience": _audience(form),
        "vendors": form.vendors or None,
        "quota": _quota(form.quota, before.get("quota", ())),
        "moves_on": form.moves_on == "yes",
        **{kind: _gate(form, kind) for kind in CONDITIONS},
    }


def written(phase: Mapping[str, Any]) -> dict[str, Any]:
    """What the form's fields hold for a phase."""
    audience = phase["audience"]
    points = audience.get("basis_points")
    return {
        "title": phase["title"],
        "kind": audience["kind"],
        "cohorts": ", ".join(audience.get("cohorts", ())),
        "share": "" if points is None else f"{Decimal(points) / 100:f}",
        "conditions": "\n".join(map(_condition_line, _conditions_of(audience))),
        "vendors": phase["vendors"] or [],
        "quota": "\n".join(map(_quota_line, phase["quota"])),
        "moves_on": "yes" if phase["moves_on"] else "no",
        **{
            f"{kind}_{name}": _typed(name, value)
            for kind in CONDITIONS
            for name, value in (phase[kind] or {}).items()
        },
    }


@contextmanager
def by_field() -> Iterator[None]:
    """What is refused names the field of the form in which it was typed."""
    try:
        yield
    except (InvalidRequest, Conflict) as error:
        pointer = _POINTER.sub("", error.members.get("param", ""), count=1)
        name = next((field for at, field in _FIELDS.items() if re.match(rf"{at}(\.\d|$)", pointer)), None)
        if pointer:
            error.members["param"] = name or re.sub(r"\.\d.*$", "", pointer).replace(".", "_")
        raise


def audience(said: Mapping[str, Any]) -> str:
    """Whom a phase lets in, in words."""
    match said:
        case {"kind": "granted", "cohorts": cohorts}:
            return _("tenants with a grant in the cohort %(cohorts)s", cohorts=", ".join(cohorts))
        case {"kind": "segment", "constraints": constraints}:
            return _("tenants with %(attributes)s", attributes=_conditions(constraints))
        case {"kind": "percentage", "basis_points": points, "filter": constraints}:
            share, attributes = percent(points / 10_000, 2), _conditions(constraints)
            return _("%(share)s of the tenants with %(attributes)s", share=share, attributes=attributes)
        case {"kind": "percentage", "basis_points": points}:
            return _("%(share)s of all tenants, always the same ones", share=percent(points / 10_000, 2))
        case {"kind": kind}:
            return _(AUDIENCES[kind])
    raise AssertionError(said)


def gates(phase: Mapping[str, Any]) -> list[str]:
    """What must be true of a phase, in words."""
    said = [
        condition(kind, name, value) for kind in CONDITIONS for name, value in (phase[kind] or {}).items()
    ]
    return [*said, *([_("then moves on by itself")] if phase["moves_on"] else [])]


def condition(kind: Kind, name: str, wanted: Any) -> str:
    """One of them, in words."""
    return Markup(_(SAID[kind, name])) % {"value": measured(name, wanted)}


def measured(name: str, value: Any) -> Any:
    """What a condition wants, or what there is of it, as the reader writes it; a time in RFC 3339."""
    match name:
        case "not_before":
            return moment(value)
        case "seconds":
            return f"{value / 3600:.4g}"
        case "usd_micro_per_image":
            return money(value)
    return percent(value / 100, 2) if name.endswith("_percent") else number(value)


def _audience(form: PhaseForm) -> dict[str, Any]:
    match form.kind:
        case "granted":
            cohorts = [name.strip() for name in form.cohorts.split(",") if name.strip()]
            return {"kind": "granted", **({"cohorts": cohorts} if cohorts else {})}
        case "segment":
            return {"kind": "segment", "constraints": _parsed_conditions(form.conditions)}
        case "percentage":
            filters = _parsed_conditions(form.conditions)
            points = {"kind": "percentage", "basis_points": basis_points(form.share)}
            return {**points, **({"filter": filters} if filters else {})}
    return {"kind": "all"}


def basis_points(share: str) -> int:
    """`12.5` or `12.5 %` -> 1250. Raises InvalidRequest."""
    try:
        points = Decimal(share.strip().rstrip("%").strip()) * 100
        if points == int(points):
            return int(points)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise InvalidRequest("A share is a percentage from 0 to 100, in steps of 0.01.", param="share")


def _conditions_of(audience: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = audience.get("constraints") or audience.get("filter") or ()
    return found


def _conditions(constraints: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(map(_condition_line, constraints))


def _condition_line(item: Mapping[str, Any]) -> str:
    values = [item["value"]] if item.get("value") else item["values"]
    return f"{item['contextName']} {item['operator']} {', '.join(map(_quoted, values))}"


def _quoted(value: str) -> str:
    plain = value == value.strip() and not set(value) & set(',"\n')
    return value if plain else '"' + value.replace('"', '""') + '"'


def _parsed_conditions(text: str) -> list[dict[str, Any]]:
    return [_parsed_condition(line) for line in text.splitlines() if line.strip()]


def _parsed_condition(line: str) -> dict[str, Any]:
    words = line.split(maxsplit=2)
    if len(words) < 3:
        raise InvalidRequest(
            "A condition is an attribute, an operator and values, such as: program IN beta, pilot",
            param="conditions",
        )
    name, operator, rest = words
    values = [value.strip() for value in next(csv.reader([rest], skipinitialspace=True))]
    compared = {"value": rest.strip()} if operator.startswith("NUM_") else {"values": values}
    return {"contextName": name, "operator": operator, "values": [], **compared}


def _quota(text: str, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A meter that was there keeps its name and whether it refuses."""
    known = {(item.get("level", "feature"), item["unit"], item["period"]): item for item in before}
    meters = []
    for line in filter(str.strip, text.splitlines()):
        match = _QUOTA.fullmatch(line)
        if match is None or match[2] not in _UNITS or match[3] not in _PERIODS:
            raise InvalidRequest(
                f"A line of a quota is like 200 image/day; units are {', '.join(_UNITS)}, periods {', '.join(_PERIODS)}.",
                param="quota",
            )
        unit, period, level = _UNITS[match[2]], _PERIODS[match[3]], match[4] or "feature"
        place = (level, unit, period)
        cap = typed.parse_amount(match[1], unit, "quota")  # type: ignore[arg-type]
        new = {"level": level, "unit": unit, "period": period}
        meters.append({**known.get(place, new), "cap": cap})
    return meters


def _quota_line(meter: Mapping[str, Any]) -> str:
    unit = next(word for word, unit in _UNITS.items() if unit == meter["unit"])
    period = next(word for word, period in _PERIODS.items() if period == meter["period"])
    level = meter.get("level", "feature")
    return f"{typed.amount(meter['cap'], meter['unit'])} {unit}/{period}{'' if level == 'feature' else f' {level}'}"


def _gate(form: PhaseForm, kind: Kind) -> dict[str, Any] | None:
    sent = {name: getattr(form, f"{kind}_{name}") for name in CONDITIONS[kind]}
    return {name: _meant(kind, name, value) for name, value in sent.items() if value is not None} or None


def _meant(kind: Kind, name: str, value: Any) -> Any:
    match name:
        case "not_before":
            return rfc3339(value)
        case "seconds":
            return round(value * 3600)
        case "usd_micro_per_image":
            return typed.parse_amount(value, "usd_micro", f"{kind}_{name}")
    return value


def _typed(name: str, value: Any) -> str:
    """What `_meant` reads."""
    match name:
        case "not_before":
            return typed.moment(epoch(value))
        case "seconds":
            return repr(value / 3600)
        case "usd_micro_per_image":
            return typed.amount(value, "usd_micro")
    return str(value)
