"""/admin/meters"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from flask import Blueprint, url_for

from rollout.core.decisions import FEATURES, check_feature
from rollout.core.exports import Row
from rollout.core.meters import (
    LEVELS,
    PERIODS,
    PLATFORM,
    UNITS,
    Level,
    Limit,
    Meter,
    Period,
    Unit,
    limit_json,
)
from rollout.errors import InvalidRequest
from rollout.services.audit import Search
from rollout.services.registry import Services
from rollout.web.language import N_, _
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import typed, words
from .auth import actor, editor, viewer
from .entrance import local
from .forms import FormView, LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("meters", __name__)

NEARLY = 80
"""Percent of the cap from which a meter is nearly used up."""

SHOWN_CHANGES, SHOWN_ALERTS, SHOWN_TOPUPS, SHOWN_WINDOWS, SHOWN_SHARED = 10, 10, 20, 20, 100
COLUMNS = (
    "tenant", "meter", "name", "feature", "unit", "period", "tz", "cap", "used", "held", "remaining", "resets_at", "hard",
)  # fmt: skip

MEANINGS = {
    "minute": N_("%(feature)s: %(tenant)s may use %(amount)s a minute."),
    "day": N_("%(feature)s: %(tenant)s may use %(amount)s a day, counted in %(tz)s."),
    "month": N_("%(feature)s: %(tenant)s may use %(amount)s a month, counted in %(tz)s."),
    "life": N_("%(feature)s: %(tenant)s may use %(amount)s in all."),
    "concurrent": N_("%(feature)s: %(tenant)s may have %(amount)s under way at a time."),
}


WHOSE: Mapping[tuple[Level, bool], str | None] = {
    ("platform", False): N_("all tenants together"),
    ("phase", True): N_("all tenants together that came in by %(subject)s"),
    ("tenant", False): None,
    ("feature", False): None,
    ("api_key", False): N_("each key of %(tenant)s"),
    ("api_key", True): N_("the key %(subject)s of %(tenant)s"),
    ("end_user", False): N_("each end user of %(tenant)s"),
    ("end_user", True): N_("the end user %(subject)s of %(tenant)s"),
}
"""Whose use is limited, by level and whether a subject is named; None: the tenant's."""


class MetersView(ListView):
    """`nearly`: only those of which more than 80 % are used or held."""

    tenant: str | None = None
    feature: str | None = None
    unit: Unit | None = None
    nearly: bool = False


class NewMeterForm(ReasonForm):
    """Without `tenant`: all tenants share it. Without `level`, `name`, `tz`, `hard`: as `services.Meters.add` promises."""

    tenant: str | None = None
    level: Level | None = None
    subject: str | None = None
    effective_at: LocalMoment | None = None
    until: LocalMoment | None = None
    thresholds: str | None = None
    feature: str | None = None
    unit: Unit
    period: Period
    cap: str
    name: str | None = None
    tz: str | None = None
    hard: Literal["yes", "no"] | None = None


class CapForm(ReasonForm):
    """`next`: the page of the console to go back to."""

    cap: str
    effective_at: LocalMoment | None = None
    until: LocalMoment | None = None
    hard: Literal["yes", "no"] | None = None
    next: str | None = None


class CountingForm(ReasonForm):
    """How it counts and warns, apart from its cap."""

    tz: str
    thresholds: str | None = None


@routes.get("/meters")
@operation("How the tenants' meters stand", auth=viewer, query=MetersView)
def show_meters(query: MetersView) -> Answer:
    return _list(query)


@routes.post("/meters")
@operation("Add a meter", auth=editor)
def add_meter() -> Answer:
    added: list[Meter] = []

    def act() -> None:
        form = read(NewMeterForm)
        fields = {
            **form.model_dump(exclude={"tenant", "reason", "version"}),
            "thresholds": _percentages(form.thresholds) if form.thresholds else None,
            "cap": typed.parse_amount(form.cap, form.unit, "cap"),
            "hard": _flag(form.hard),
        }
        added.append(services().meters.add(actor(), form.tenant, fields, form.reason))

    return attempt(
        act,
        then=lambda: url_for(".show_meter", meter_id=added[0].id),
        again=lambda: _list(MetersView(cursor=None, limit=50)),
    )


@routes.get("/meters/<meter_id>")
@operation("A meter: what it means, how it stands, who changed it", auth=viewer, query=PageView)
def show_meter(meter_id: str, query: PageView) -> Answer:
    return shown(meter_id)


@routes.post("/meters/<meter_id>")
@operation("Change a meter's cap, or whether it refuses", auth=editor)
def change_meter(meter_id: str) -> Answer:
    after: list[str] = []

    def act() -> None:
        unit = services().meters.get(meter_id).unit
        form = read(CapForm)
        after.append(local(form.next) if form.next else url_for(".show_meter", meter_id=meter_id))
        fields: dict[str, Any] = {
            "cap": typed.parse_amount(form.cap, unit, "cap"),
            "effective_at": form.effective_at,
            "until": form.until,
        }
        if form.hard:
            fields["hard"] = _flag(form.hard)
        services().meters.change(actor(), meter_id, fields, form.reason, based_on=form.version)

    return attempt(act, then=after.pop, again=lambda: shown(meter_id))


@routes.post("/meters/<meter_id>/counting")
@operation("Change a meter's time zone, or when it warns", auth=editor)
def change_counting(meter_id: str) -> Answer:
    def act() -> None:
        form = read(CountingForm)
        fields = {"tz": form.tz, "thresholds": _percentages(form.thresholds or "")}
        services().meters.change(actor(), meter_id, fields, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_meter", meter_id=meter_id), again=lambda: shown(meter_id))


@routes.post("/meters/<meter_id>/unplan")
@operation("Drop the caps that are planned for a meter", auth=editor)
def drop_plan(meter_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().meters.change(actor(), meter_id, {"scheduled": ()}, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_meter", meter_id=meter_id), again=lambda: shown(meter_id))


@routes.post("/meters/<meter_id>/archive")
@operation("Archive a meter: it limits nothing from now on", auth=editor)
def archive_meter(meter_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().meters.archive(actor(), meter_id, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_meters"), again=lambda: shown(meter_id))


def shown(meter_id: str) -> Answer:
    """The page of a meter."""
    limit, booked = services().meters.standing(meter_id)
    meter = limit.meter
    changes = services().audit.search(Search(subject=meter_id), before=None, limit=SHOWN_CHANGES)
    topups = services().topups.page(tenant=None, meter=meter_id, cursor=None, limit=SHOWN_TOPUPS)
    return room(
        "meter.html",
        limit=limit,
        meter=meter,
        who=who(meter),
        windows=services().meters.windows(meter, limit=SHOWN_WINDOWS) if meter.only_subject is None else None,
        told=services().alerts.page(meter=meter_id, limit=SHOWN_ALERTS),
        form=cap_form(meter),
        counting=counting_form(meter),
        meaning=meaning(limit),
        booked=booked,
        changes=changes.rows,
        topups=topups,
        now=time.time(),
    )


def cap_form(meter: Meter) -> FormView:
    """The form that changes a meter's cap; it is the same on every page that has it."""
    written = {"cap": typed.amount(meter.cap, meter.unit), "hard": "yes" if meter.hard else "no"}
    return FormView(f"cap-{meter.id}", meter.version, written)


def counting_form(meter: Meter) -> FormView:
    percentages = " ".join(map(str, meter.thresholds))
    return FormView(f"counting-{meter.id}", meter.version, {"tz": meter.last_tz, "thresholds": percentages})


def meaning(limit: Limit) -> str:
    """What the meter means, in a sentence."""
    meter = limit.meter
    feature = words.feature(meter.feature) if meter.feature else _("All features")
    return _(
        MEANINGS[meter.period],
        tenant=who(meter),
        amount=words.amount(limit.cap, meter.unit),
        feature=feature,
        tz=meter.tz,
    )


def who(meter: Meter) -> str:
    """Whose use the meter limits."""
    sentence = WHOSE[meter.level, meter.subject is not None]
    return _(sentence, tenant=meter.tenant_id, subject=meter.subject) if sentence else meter.tenant_id


def _list(query: MetersView) -> Answer:
    if query.feature is not None:
        check_feature(query.feature)
    return show_list(
        "meters.html",
        query,
        partial(_limits, services(), query),
        _cursor,
        file="meters",
        columns=COLUMNS,
        as_row=_row,
        nearly=NEARLY,
        shared=services().meters.limits(tenant=PLATFORM, limit=SHOWN_SHARED),
        who=who,
        levels=[(name, words.level(name)) for name in LEVELS],
        features=[(name, words.feature(name)) for name in FEATURES],
        units=[(name, words.unit(name)) for name in UNITS],
        periods=[(name, words.period(name)) for name in PERIODS],
    )


def _limits(wired: Services, query: MetersView, cursor: str | None, at_once: int) -> Sequence[Limit]:
    tenant, _slash, meter = (cursor or "").partition("/")
    return wired.meters.limits(
        tenant=query.tenant,
        feature=query.feature,
        unit=query.unit,
        above=NEARLY if query.nearly else 0,
        shared=False,
        after=(tenant, meter),
        limit=at_once,
    )


def _cursor(limit: Limit) -> str:
    return f"{limit.meter.tenant_id}/{limit.meter.id}"


def _row(limit: Limit) -> Row:
    return {"tenant": limit.meter.tenant_id, "tz": limit.meter.tz, **limit_json(limit)}


def _percentages(text: str) -> tuple[int, ...]:
    """`50 80 100`. Raises InvalidRequest."""
    try:
        return tuple(int(word.rstrip("%")) for word in text.replace(",", " ").split())
    except ValueError:
        raise InvalidRequest(
            "thresholds are whole percentages such as 50 80 100.", param="thresholds"
        ) from None


def _flag(answer: Literal["yes", "no"] | None) -> bool | None:
    return None if answer is None else answer == "yes"
