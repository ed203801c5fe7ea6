"""/admin/plans/{feature}/simulate"""

from __future__ import annotations

from typing import Literal

from flask import Blueprint
from pydantic import Field

from rollout.core.simulations import MAX_DAYS
from rollout.core.steps import parse_step
from rollout.services.simulations import DEFAULT_DAYS, Simulated
from rollout.web.exports import export
from rollout.web.language import _
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer
from .phases import basis_points
from .queries import ListView
from .room import room

routes = Blueprint("simulations", __name__)

COLUMNS = ("tenant", "name", "change", "phase")


class SimulateView(ListView):
    """`do` a step, `to` a phase; and, or, a `share` in percent for the phase `phase`."""

    do: Literal["advance", "rollback", "jump"] | None = None
    to: str | None = None
    phase: str | None = None
    share: str | None = None
    days: int = Field(DEFAULT_DAYS, ge=1, le=MAX_DAYS)


@routes.get("/plans/<feature>/simulate")
@operation(
    "What would change if a plan took a step, or let in another share", auth=viewer, query=SimulateView
)
def show_simulation(feature: str, query: SimulateView) -> Answer:
    plan, found = services().plans.get(feature), _simulated(feature, query)
    if query.format is not None and found is not None:
        return export(query.format, f"{feature}-changes", COLUMNS, (one.as_json() for one in found.changes))
    phases = [(phase["key"], phase["title"]) for phase in plan["phases"]]
    steps = [("", _("none")), ("advance", _("Advance")), ("rollback", _("Roll back")), ("jump", _("Jump"))]
    shown = found.page(query.cursor, query.limit) if found else None
    return room("simulation.html", plan=plan, query=query, found=shown, phases=phases, steps=steps)


def _simulated(feature: str, query: SimulateView) -> Simulated | None:
    if query.do is None and query.share is None:
        return None
    step = parse_step({"do": query.do, "to": query.to}) if query.do else None
    phases = None
    if query.share is not None:
        audience = {"kind": "percentage", "basis_points": basis_points(query.share)}
        phases = {query.phase or "": {"audience": audience}}
    return services().simulations.simulate(feature, step=step, phases=phases, days=query.days)
