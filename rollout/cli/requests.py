"""`rollout requests ...`"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from rollout.cli.context import (
    format_option,
    json_option,
    limit_option,
    print_file,
    print_json,
    show,
    show_rows,
    wired,
)
from rollout.cli.moments import MOMENT
from rollout.cli.tables import pairs
from rollout.core.exports import Format
from rollout.core.refusals import REFUSAL_COLUMNS, refusal_json
from rollout.core.stories import story_json
from rollout.core.times import rfc3339

COLUMNS = ("request_id", "at", "tenant", "status", "code", "route", "message")

TOPUP_COLUMNS = ("id", "amount", "effective", "ends_at", "created_by", "reason")
ENTRY_COLUMNS = ("at", "kind", "name", "d_used", "d_held", "used", "actor", "reason", "id")
TOLD_ABOVE = ("limits", "lines")
"""Figures of events that stand in the parts above them."""

ADJUSTMENT_COLUMNS = ("id", "at", "feature", "unit", "amount", "created_by", "reason")

since_option = click.option(
    "--from", "since", type=MOMENT, help="From this time, in RFC 3339, or day in UTC on."
)


@click.group()
def requests() -> None:
    """What partners asked: who was refused and why, and by any id the whole story."""


@requests.command("list")
@click.option("--tenant")
@click.option("--code", help="One error code only, such as insufficient_quota.")
@since_option
@limit_option(50)
@json_option
def list_(tenant: str | None, code: str | None, since: int | None, limit: int, as_json: bool) -> None:
    """Refused requests, newest first; --json shows what each was told besides."""
    with wired() as services:
        found = services.requests.page(tenant=tenant, code=code, since=since, limit=limit)
    rows = [refusal_json(refusal) for refusal in found]
    show_rows(
        rows,
        as_json,
        "No refused request here. They are kept as long as pictures are.",
        columns=COLUMNS,
        limit=limit,
    )


@requests.command("export")
@click.option("--tenant")
@click.option("--code", help="One error code only, such as insufficient_quota.")
@since_option
@format_option
def export(tenant: str | None, code: str | None, since: int | None, format_: Format) -> None:
    """All refused requests that match, newest first, as CSV or as a JSON array with one a line."""
    from rollout.web.paging import walk

    with wired() as services:
        page = partial(services.requests.page, tenant=tenant, code=code, since=since, limit=500)
        found = walk(lambda cursor: page(before=cursor), lambda refusal: refusal.request_id)
        print_file(format_, REFUSAL_COLUMNS, map(refusal_json, found))


@requests.command("summary")
@since_option
@json_option
def summary(since: int | None, as_json: bool) -> None:
    """Refused requests by code and route; without --from of the last 24 hours."""
    with wired() as services:
        found = services.requests.grouped(since)
    rows = [{**vars(group), "last_at": rfc3339(group.last_at)} for group in found.groups]
    if as_json:
        print_json({"from": rfc3339(found.since), "data": rows})
        return
    show_rows(rows, as_json, f"No request was refused since {rfc3339(found.since)}.")


@requests.command("show")
@click.argument("any_id", metavar="ID")
@json_option
def show_(any_id: str, as_json: bool) -> None:
    """Why it was refused, where its money went, and its story; by any id of it: req_, gen_, anl_, hold_, fb_ or img_."""
    with wired() as services:
        story = story_json(services.requests.story(any_id))
    if as_json:
        print_json(story)
        return
    refused_by, money, events = story.pop("refused_by"), story.pop("money"), story.pop("events")
    show(story, as_json)
    for full in refused_by:
        _print_part(f"refused by {full['name']}", full, held_by=("hold", "amount"), topups=TOPUP_COLUMNS)
    if money is not None:
        _print_part("money", money, lines=(), entries=ENTRY_COLUMNS, adjustments=ADJUSTMENT_COLUMNS)
    for event in events:
        told = {name: value for name, value in event["values"].items() if name not in TOLD_ABOVE}
        _print_part(f"{event['at'] or '':<20}  {event['kind']}", {**event["links"], **told})


def _print_part(title: str, values: dict[str, Any], **lists: Sequence[str]) -> None:
    """What there is of the values under a title; those in `lists` as tables with these columns."""
    click.echo(f"\n{title}")
    told = {name: value for name, value in values.items() if value not in (None, [], {})}
    for line in pairs({name: value for name, value in told.items() if name not in lists}):
        click.echo(f"  {line}")
    for name, columns in lists.items():
        if name in told:
            click.echo(f"  {name}:")
            show_rows(told[name], False, "", columns=columns)
