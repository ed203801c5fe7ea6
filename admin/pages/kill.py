"""/admin/kill: stop a feature or a vendor, see that it has stopped, revive it"""

from __future__ import annotations

from flask import Blueprint, url_for
from pydantic import Field

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.kills import InFlight
from rollout.errors import InvalidRequest
from rollout.web.operation import Answer, operation
from rollout.web.pages import page
from rollout.web.wired import services

from .auth import actor, admin, editor, viewer
from .forms import LocalMoment, ReasonForm, attempt, read
from .queries import PageView
from .room import room

routes = Blueprint("kill", __name__)


class StopView(PageView):
    """`tenant`: for this one alone."""

    tenant: str | None = None


class KillForm(ReasonForm):
    """`confirm`: image-analysis by its name, where that is to be stopped."""

    features: list[str] = Field(default_factory=list)
    tenant: str | None = None
    confirm: str | None = None
    in_flight: InFlight = "finish"
    remind_at: LocalMoment | None = None


class ReviveForm(ReasonForm):
    tenant: str | None = None


@routes.get("/kill")
@operation("Stop a feature or a vendor; what is stopped", auth=viewer, query=StopView)
def show_stops(query: StopView) -> Answer:
    return _stops(query)


@routes.post("/kill")
@operation("Stop features, for all or for one tenant", auth=editor)
def kill() -> Answer:
    stopped: list[str] = []

    def act() -> None:
        form = read(KillForm)
        _check(form)
        for feature in form.features:
            services().switches.stop(
                actor(),
                feature,
                form.reason,
                tenant=form.tenant,
                in_flight=form.in_flight,
                remind_at=form.remind_at,
                wait=0,
            )
        stopped.append(
            url_for(".show_stop", feature=form.features[0], tenant=form.tenant)
            if len(form.features) == 1
            else url_for(".show_stops")
        )

    return attempt(act, then=stopped.pop, again=lambda: _stops(StopView()))


@routes.get("/kill/<feature>")
@operation("A stop, and how far it has spread", auth=viewer, query=StopView)
def show_stop(feature: str, query: StopView) -> Answer:
    return _stop(feature, query.tenant)


@routes.get("/kill/<feature>/acks")
@operation("How far a stop has spread, as a part of its page", auth=viewer, query=StopView)
def show_acks(feature: str, query: StopView) -> Answer:
    return page("console/acks.html", spread=services().switches.spread(feature, query.tenant))


@routes.post("/kill/<feature>/revive")
@operation("Undo a stop", auth=admin)
def revive(feature: str) -> Answer:
    form = read(ReviveForm)

    def act() -> None:
        services().switches.revive(actor(), feature, form.reason, tenant=form.tenant, wait=0)

    target = url_for(".show_stop", feature=feature, tenant=form.tenant)
    return attempt(act, then=target, again=lambda: _stop(feature, form.tenant))


def _check(form: KillForm) -> None:
    """All that can be wrong with one of them is found before the first is stopped."""
    if not form.features:
        raise InvalidRequest("Nothing is ticked.", param="features", remedy="Tick what is to be stopped.")
    for feature in form.features:
        if feature not in services().switches.names:
            raise InvalidRequest(f"There is nothing to stop named {feature!r}.", param="features")
        services().switches.check(feature, form.tenant)
    if ANALYSIS in form.features and form.confirm != ANALYSIS:
        raise InvalidRequest(
            f"{ANALYSIS} is open to all; it is stopped only by its name.",
            param="confirm",
            remedy=f"Type {ANALYSIS} to confirm, or untick it.",
        )


def _stops(query: StopView) -> Answer:
    return room(
        "stops.html",
        query=query,
        stops=services().switches.stops(),
        names=services().switches.names,
        ticked=(GENERATION,),
        typed_name=ANALYSIS,
    )


def _stop(feature: str, tenant: str | None) -> Answer:
    return room("stop.html", spread=services().switches.spread(feature, tenant))
