"""/admin/plans"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from flask import Blueprint, request, url_for

from rollout.core.decisions import GATED
from rollout.core.exports import Row
from rollout.core.steps import STEPS, Edit, Restart, Step, parse_step
from rollout.core.templates import TEMPLATES
from rollout.errors import Conflict, NotFound
from rollout.services.registry import Services
from rollout.web.exports import export
from rollout.web.language import _
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read, refused
from .phases import (
    AUDIENCES,
    NewPhaseForm,
    PhaseForm,
    audience,
    by_field,
    condition,
    gates,
    measured,
    stated,
    written,
)
from .queries import ListView, PageView
from .room import room

routes = Blueprint("plans", __name__)

StepName = Literal["advance", "rollback", "jump", "restart", "pause", "resume"]
STEP = "<any(advance, rollback, jump, restart, pause, resume):step>"

COLUMNS = ("tenant", "name", "reason")


class MoveView(PageView):
    """`to`: the phase to go to; without it the next or the previous one."""

    to: str | None = None


class MoveForm(ReasonForm):
    to: str | None = None


class NewPlanForm(ReasonForm):
    feature: str
    template: str
    four_eyes: Literal["yes", "no"] = "no"


class FourEyesForm(ReasonForm):
    four_eyes: Literal["yes", "no"]


FIRST_PAGE = ListView(cursor=None, limit=50)


@routes.get("/plans")
@operation("Where each feature stands among its phases", auth=viewer, query=PageView)
def show_plans(query: PageView) -> Answer:
    return _list()


@routes.get("/plans/<feature>")
@operation("A plan: its phases, its past, and who is in", auth=viewer, query=ListView)
def show_plan(feature: str, query: ListView) -> Answer:
    if query.format is not None:
        services().plans.get(feature)
        return export(query.format, f"{feature}-tenants", COLUMNS, _members(services(), feature))
    return shown(feature, query)


@routes.get(f"/plans/<feature>/{STEP}")
@operation("What a move would come to, before it is made", auth=editor, query=MoveView)
def show_move(feature: str, step: StepName, query: MoveView) -> Answer:
    return _confirm(feature, step, query.to)


@routes.post(f"/plans/<feature>/{STEP}")
@operation("Take a step of a plan", auth=editor)
def move_plan(feature: str, step: StepName) -> Answer:
    def act() -> None:
        form = read(MoveForm)
        _submit(feature, _step(step, form.to), form)

    def again() -> Answer:
        """Whoever came second sees where it stands now; a form that lacks something is shown again."""
        problem = refused()
        if problem and isinstance(problem.error, Conflict):
            return shown(feature)
        return _confirm(feature, step, request.form.get("to"))

    return attempt(act, then=url_for(".show_plan", feature=feature), again=again)


@routes.post("/plans")
@operation("Give a feature a plan, from a template", auth=editor)
def add_plan() -> Answer:
    def act() -> None:
        form = read(NewPlanForm)
        services().plans.add(
            actor(), form.feature, form.reason, template=form.template, four_eyes=form.four_eyes == "yes"
        )

    then = url_for(".show_plan", feature=request.form.get("feature", ""))
    return attempt(act, then=then, again=lambda: _list())


@routes.post("/plans/<feature>/four-eyes")
@operation("Have the steps of a plan wait for a second person, or not", auth=editor)
def change_four_eyes(feature: str) -> Answer:
    def act() -> None:
        form = read(FourEyesForm)
        _submit(feature, Edit({"four_eyes": form.four_eyes == "yes"}), form)

    return attempt(act, then=url_for(".show_plan", feature=feature), again=lambda: shown(feature))


@routes.get("/plans/<feature>/new-phase")
@operation("A phase to come", auth=editor, query=PageView)
def show_new_phase(feature: str, query: PageView) -> Answer:
    return _phase(feature, None)


@routes.post("/plans/<feature>/new-phase")
@operation("Add a phase to a plan", auth=editor)
def add_phase(feature: str) -> Answer:
    def act() -> None:
        form = read(NewPhaseForm)
        with by_field():
            phase = stated(form, {"after": form.after})
            _submit(feature, Edit({"phases": {form.key: phase}}), form)

    return attempt(act, then=url_for(".show_plan", feature=feature), again=lambda: _phase(feature, None))


@routes.get("/plans/<feature>/phases/<key>")
@operation("What a phase says", auth=viewer, query=PageView)
def show_phase(feature: str, key: str, query: PageView) -> Answer:
    return _phase(feature, key)


@routes.post("/plans/<feature>/phases/<key>")
@operation("Change what a phase says; the one at which the plan stands begins anew with it", auth=editor)
def change_phase(feature: str, key: str) -> Answer:
    def act() -> None:
        form = read(PhaseForm)
        plan = services().plans.get(feature)
        with by_field():
            phases = [stated(form, one) if one["key"] == key else one for one in plan["phases"]]
            edit = services().plans.edit_to(feature, {**plan, "phases": phases})
            changed = edit.patch.get("phases", {}).get(key, {})
            restarts = key == plan["run"]["phase"] and set(changed) - {"title"}
            _submit(feature, Restart(changed) if restarts else edit, form)

    return attempt(act, then=url_for(".show_plan", feature=feature), again=lambda: _phase(feature, key))


@routes.post("/plans/<feature>/phases/<key>/remove")
@operation("Remove a phase that is not open", auth=editor)
def remove_phase(feature: str, key: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        _submit(feature, Edit({"phases": {key: None}}), form)

    return attempt(act, then=url_for(".show_plan", feature=feature), again=lambda: _phase(feature, key))


def _submit(feature: str, step: Step, form: ReasonForm) -> None:
    services().change_requests.submit(actor(), feature, step, form.reason, based_on=form.version)


def _step(name: StepName, to: str | None) -> Step:
    return parse_step({"do": name, **({"to": to} if to else {})})


def _list() -> Answer:
    plans = services().plans.list()
    counts = {plan["feature"]: services().plans.count(plan["feature"]) for plan in plans}
    without = [feature for feature in GATED if feature not in counts]
    stopped = services().switches.stopped()
    templates = [(name, words.template(name)) for name in TEMPLATES]
    return room(
        "plans.html", plans=plans, counts=counts, stopped=stopped, without=without, templates=templates
    )


def shown(feature: str, query: ListView = FIRST_PAGE) -> Answer:
    """The page of a plan; on its first page of tenants, as a rule."""
    plan = services().plans.get(feature)
    return room(
        "plan.html",
        plan=plan,
        position=_positions(plan)[plan["run"]["phase"]],
        **_inside(feature, query),
        stopped=feature in services().switches.stopped(),
        audience=audience,
        gates=gates,
        condition=condition,
        measured=measured,
        waits_for=services().change_requests.waits_for(feature),
        schedules=services().schedules.open_of(feature),
        steps=[(name, words.step(name)) for name in STEPS if name != "edit"],
        targets=[(phase["key"], phase["title"]) for phase in plan["phases"]],
    )


def _phase(feature: str, key: str | None) -> Answer:
    """The form of a phase; without `key`, of one to come."""
    plan = services().plans.get(feature)
    positions = _positions(plan)
    if key is not None and key not in positions:
        raise NotFound(f"The plan of {feature} has no phase {key!r}.", param="phase")
    phase = None if key is None else plan["phases"][positions[key]]
    return room(
        "phase.html",
        plan=plan,
        phase=phase,
        values=written(phase) if phase else {},
        said=[audience(phase["audience"]), *gates(phase)] if phase else [],
        followed=_followed(plan["phases"]),
        kinds=[(kind, _(text)) for kind, text in AUDIENCES.items()],
        vendors=services().plans.vendors(feature),
    )


def _inside(feature: str, query: ListView) -> dict[str, Any]:
    """Who is in; the first page also says how many, which one look at all of them tells."""
    if query.cursor is not None:
        members = services().plans.members(feature, after=query.cursor, limit=query.limit)
        return {"inside": members.inside, "next_cursor": members.after, "count": None}
    count = services().plans.count(feature, limit=query.limit)
    more = count.inside > len(count.first) or not count.complete
    next_cursor = count.first[-1][0].id if more and count.first else None
    return {"inside": count.first, "next_cursor": next_cursor, "count": count}


def _confirm(feature: str, step: StepName, to: str | None) -> Answer:
    plan = services().plans.get(feature)
    if to and to not in _positions(plan):
        raise NotFound(f"The plan of {feature} has no phase {to!r}.", param="to")
    foreseen = services().plans.foresee(actor(), feature, _step(step, to))
    titles = {phase["key"]: phase["title"] for phase in plan["phases"]}
    return room(
        "plan_move.html",
        plan=plan,
        step=step,
        titles=titles,
        next=foreseen.after.run.phase,
        tenants=foreseen.tenants,
    )


def _followed(phases: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Behind which phases a new one may stand: the last that is open, and those to come; nothing follows everyone."""
    open_ones = sum(phase["open"] for phase in phases)
    return [
        (phase["key"], phase["title"])
        for phase in phases[open_ones - 1 :]
        if phase["audience"]["kind"] != "all"
    ]


def _positions(plan: Mapping[str, Any]) -> dict[str, int]:
    return {phase["key"]: phase["position"] for phase in plan["phases"]}


def _members(wired: Services, feature: str) -> Iterator[Row]:
    after: str | None = None
    while True:
        page = wired.plans.members(feature, after=after, limit=500)
        for tenant, reason in page.inside:
            yield {"tenant": tenant.id, "name": tenant.name, "reason": reason}
        if page.after is None:
            return
        after = page.after
