"""/admin/plans"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from flask import Blueprint, request, url_for

from rollout.core.exports import Row
from rollout.core.steps import Step, parse_step
from rollout.errors import Conflict, NotFound
from rollout.services.registry import Services
from rollout.web.exports import export
from rollout.web.language import _, percent
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read, refused
from .queries import ListView, PageView
from .room import room

routes = Blueprint("plans", __name__)

StepName = Literal["advance", "rollback", "pause", "resume"]
STEP = "<any(advance, rollback, pause, resume):step>"

COLUMNS = ("tenant", "name", "reason")


class MoveView(PageView):
    """`to`: the phase to go to; without it the next or the previous one."""

    to: str | None = None


class MoveForm(ReasonForm):
    to: str | None = None


@routes.get("/plans")
@operation("Where each feature stands among its phases", auth=viewer, query=PageView)
def show_plans(query: PageView) -> Answer:
    plans = services().plans.list()
    counts = {plan["feature"]: services().plans.count(plan["feature"]) for plan in plans}
    return room("plans.html", plans=plans, counts=counts, stopped=services().features.stopped())


@routes.get("/plans/<feature>")
@operation("A plan: its phases, its past, and who is in", auth=viewer, query=ListView)
def show_plan(feature: str, query: ListView) -> Answer:
    if query.format is not None:
        services().plans.get(feature)
        return export(query.format, f"{feature}-tenants", COLUMNS, _members(services(), feature))
    return _shown(feature, query)


@routes.get(f"/plans/<feature>/{STEP}")
@operation("What a move would come to, before it is made", auth=editor, query=MoveView)
def show_move(feature: str, step: StepName, query: MoveView) -> Answer:
    return _confirm(feature, step, query.to)


@routes.post(f"/plans/<feature>/{STEP}")
@operation("Advance a plan, roll it back, pause or resume it", auth=editor)
def move_plan(feature: str, step: StepName) -> Answer:
    def again() -> Answer:
        """Whoever came second sees where it stands now; a form that lacks something is shown again."""
        problem = refused()
        if problem and isinstance(problem.error, Conflict):
            return _shown(feature, ListView(cursor=None, limit=50))
        return _confirm(feature, step, request.form.get("to"))

    return attempt(lambda: _move(feature, step), then=url_for(".show_plan", feature=feature), again=again)


def audience(stated: Mapping[str, Any]) -> str:
    """Whom a phase lets in, in words."""
    match stated:
        case {"kind": "granted", "cohorts": cohorts}:
            return _("tenants with a grant in the cohort %(cohorts)s", cohorts=", ".join(cohorts))
        case {"kind": "granted"}:
            return _("tenants with a grant")
        case {"kind": "segment", "constraints": constraints}:
            return _("tenants with %(attributes)s", attributes=_conditions(constraints))
        case {"kind": "percentage", "basis_points": points, "filter": constraints}:
            share, attributes = percent(points / 10_000), _conditions(constraints)
            return _("%(share)s of the tenants with %(attributes)s", share=share, attributes=attributes)
        case {"kind": "percentage", "basis_points": points}:
            return _("%(share)s of all tenants, always the same ones", share=percent(points / 10_000))
        case _:
            return _("every tenant")


def _conditions(constraints: list[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{item['contextName']} {item['operator']} {item.get('value') or ' '.join(item['values'])}"
        for item in constraints
    )


def _move(feature: str, step: StepName) -> None:
    form = read(MoveForm)
    services().change_requests.submit(actor(), feature, _step(step, form.to), form.reason, based_on=form.version)


def _step(name: StepName, to: str | None) -> Step:
    return parse_step({"do": name, **({"to": to} if to else {})})


def _shown(feature: str, query: ListView) -> Answer:
    plan = services().plans.get(feature)
    return room(
        "plan.html",
        plan=plan,
        position=_positions(plan)[plan["run"]["phase"]],
        **_inside(feature, query),
        stopped=feature in services().features.stopped(),
        audience=audience,
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
