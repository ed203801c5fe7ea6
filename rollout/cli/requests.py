"""`rollout requests ...`"""

from __future__ import annotations

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
    """The story of a request, by any id of it: req_, gen_, anl_, hold_, fb_ or img_."""
    with wired() as services:
        story = story_json(services.requests.story(any_id))
    if as_json:
        print_json(story)
        return
    events = story.pop("events")
    show(story, as_json)
    for event in events:
        click.echo(f"\n{event['at'] or '':<20}  {event['kind']}")
        for line in pairs(_told({**event["links"], **event["values"]})):
            click.echo(f"  {line}")


def _told(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], {})}
