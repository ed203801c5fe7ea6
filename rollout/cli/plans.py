"""`rollout plans ...`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import click
import orjson

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, Resume, RollBack, Step


@click.group()
def plans() -> None:
    """The phases of a feature, and where it stands."""


@plans.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All plans."""
    with wired() as services:
        rows = services.plans.list()
    show_rows(
        rows if as_json else [_line(row) for row in rows], as_json, "No plans yet; `rollout demo` seeds one."
    )


@plans.command("show")
@click.argument("feature")
@json_option
def show_(feature: str, as_json: bool) -> None:
    """The phases of FEATURE."""
    with wired() as services:
        plan = services.plans.get(feature)
        waits_for = services.change_requests.waits_for(feature)
        schedules = services.schedules.open_of(feature)
    if as_json:
        show({**plan, "waits_for": waits_for, "schedules": schedules}, as_json)
        return
    names = ("key", "title", "open", "audience")
    show_rows(plan["phases"], as_json, "No phases.", columns=names)
    for condition in waits_for["conditions"]:
        said(f"{condition['word']}: {condition['sentence']}", False)


@plans.command("members")
@click.argument("feature")
@limit_option()
@json_option
def members(feature: str, limit: int, as_json: bool) -> None:
    """Who is in by the plan of FEATURE, and why."""
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    with wired() as services:
        while after is not None and len(rows) < limit:
            found = services.plans.members(feature, after=after, limit=limit - len(rows))
            rows += [{"tenant": one.id, "name": one.name, "reason": reason} for one, reason in found.inside]
            after = found.after
    example = f"rollout grants add acme {feature} --reason 'pilot customer'"
    show_rows(rows, as_json, f"Nobody is in by this plan. Let one in: {example}", limit=limit)


@plans.command("templates")
@json_option
def templates(as_json: bool) -> None:
    """What plans can begin with."""
    with wired() as services:
        rows = services.plans.templates()
    if not as_json:
        rows = [{**row, "phases": ", ".join(phase["key"] for phase in row["phases"])} for row in rows]
    show_rows(rows, as_json, "No templates.")


@plans.command("add")
@click.argument("feature")
@click.option("--template", help="One of `rollout plans templates`.")
@click.option("--file", "file", type=click.File("rb"), help="Its contents as JSON, as `set` takes them.")
@click.option("--phase", help="The phase at which it stands; without it, the first.")
@click.option("--four-eyes", is_flag=True, help="Its steps wait for a second person.")
@change_options
def add(
    feature: str,
    template: str | None,
    file: IO[bytes] | None,
    phase: str | None,
    four_eyes: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give FEATURE a plan."""
    content = json_object(file.read(), "--file") if file else {}
    with wired() as services:
        added = services.plans.add(
            actor(),
            feature,
            reason,
            template=template,
            phases=content.get("phases"),
            phase=phase,
            four_eyes=four_eyes or bool(content.get("four_eyes")),
            dry_run=dry_run,
        )
    show(added if as_json else _line(added), as_json)
    said(f"plan of {feature} added", dry_run)


@plans.command("set")
@click.argument("feature")
@click.option(
    "--file", "file", type=click.File("rb"), help="All of its contents, as `show --json` tells them."
)
@click.option("--patch", help='What changes, as JSON: {"phases": {"KEY": {...}}}; null removes a phase.')
@change_options
def set_(
    feature: str, file: IO[bytes] | None, patch: str | None, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Change what the plan of FEATURE says, where it is not open yet."""
    if (file is None) == (patch is None):
        raise click.UsageError("Say either --file or --patch.")
    with wired() as services:
        if file is not None:
            step: Step = services.plans.edit_to(feature, json_object(file.read(), "--file"))
        else:
            step = Edit(json_object(patch or "", "--patch"))
        _submit(services, feature, step, reason, dry_run, as_json)


@plans.command("advance")
@click.argument("feature")
@click.option("--to", help="A later phase than the next one.")
@change_options
def advance(feature: str, to: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """On to the next phase; nobody loses access."""
    with wired() as services:
        _submit(services, feature, Advance(to), reason, dry_run, as_json)


@plans.command("rollback")
@click.argument("feature")
@click.option("--to", help="An earlier phase than the previous one.")
@change_options
def rollback(feature: str, to: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Back to the previous phase; who came later loses access."""
    with wired() as services:
        _submit(services, feature, RollBack(to), reason, dry_run, as_json)


@plans.command("jump")
@click.argument("feature")
@click.argument("phase")
@change_options
def jump(feature: str, phase: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """To any PHASE, past time and evidence; nobody loses access."""
    with wired() as services:
        _submit(services, feature, Jump(phase), reason, dry_run, as_json)


@plans.command("restart")
@click.argument("feature")
@click.option("--patch", help='What changes of the phase, as JSON: {"hold": {"failed_percent": 2}}.')
@change_options
def restart(feature: str, patch: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Begin the phase anew: its figures start at nothing, nobody loses access."""
    changes = json_object(patch, "--patch") if patch else {}
    with wired() as services:
        _submit(services, feature, Restart(changes), reason, dry_run, as_json)


@plans.command("pause")
@click.argument("feature")
@change_options
def pause(feature: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Keep the plan where it is; who is in stays in."""
    with wired() as services:
        _submit(services, feature, Pause(), reason, dry_run, as_json)


@plans.command("resume")
@click.argument("feature")
@change_options
def resume(feature: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Undo a pause."""
    with wired() as services:
        _submit(services, feature, Resume(), reason, dry_run, as_json)


def json_object(text: str | bytes, option: str) -> dict[str, Any]:
    """What an option says as JSON; what is none ends the command with a word about it."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"{option} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f"{option} is a JSON object.")
    return value


def _line(plan: Mapping[str, Any]) -> dict[str, Any]:
    run = plan["run"]
    return {
        "feature": plan["feature"],
        **{name: run[name] for name in ("phase", "state", "run", "entered_at")},
    }


def _submit(services: Any, feature: str, step: Step, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take the step, or file it, and say what came of it."""
    done = services.change_requests.submit(actor(), feature, step, reason, dry_run=dry_run)
    if done.plan is None:
        show(done.change_request, as_json)
        said(f"{step.do} of {feature} waits for approval: {done.change_request['id']}", dry_run)
        return
    show(done.plan if as_json else _line(done.plan), as_json)
    run, came = done.plan["run"], done.plan["tenants"]
    counted = "all" if came["complete"] else f"the first {came['examined']}"
    said(
        f"{feature} in {run['phase']}: {came['gained']} tenants gain access, {came['lost']} lose it"
        f" (of {counted})",
        dry_run,
    )
