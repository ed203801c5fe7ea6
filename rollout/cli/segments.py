"""`rollout segments ...`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import (
    actor,
    change_options,
    json_option,
    limit_option,
    print_json,
    said,
    show,
    show_rows,
    wired,
)
from rollout.cli.documents import Document
from rollout.cli.flags import accept_option
from rollout.core.segments import segment_json

file_option = click.option(
    "--file",
    "document",
    type=Document(),
    required=True,
    help='Its document: {"name": "testers", "constraints": [...]}, in Unleash\'s format.',
)


@click.group()
def segments() -> None:
    """Constraints that flags share, by number."""


@segments.command("list")
@limit_option()
@json_option
def list_(limit: int, as_json: bool) -> None:
    """Segments in order of number."""
    with wired() as services:
        rows = [segment_json(segment) for segment in services.segments.page(cursor=None, limit=limit)]
    example = "rollout segments add --file testers.json --reason 'who tries things first'"
    show_rows(
        rows,
        as_json,
        f"No segments yet. Add one: {example}",
        columns=("id", "name", "version", "updated_at"),
        limit=limit,
    )


@segments.command("show")
@click.argument("segment", type=int)
@click.option("--document", "alone", is_flag=True, help="Only the segment in Unleash's format.")
@json_option
def show_(segment: int, alone: bool, as_json: bool) -> None:
    """One segment, and which flags use it."""
    with wired() as services:
        found = services.segments.get(segment)
        users = [f"{flag.environment}/{flag.name}" for flag in services.segments.users(segment)]
    if alone:
        print_json(found.document)
    else:
        show({**segment_json(found), "flags": users}, as_json)


@segments.command("add")
@file_option
@accept_option
@change_options
def add(document: dict[str, Any], accept_warnings: bool, reason: str, dry_run: bool, as_json: bool) -> None:
    """Add a segment; it gets a number."""
    with wired() as services:
        kept = services.segments.add(
            actor(), document, reason, accept_warnings=accept_warnings, dry_run=dry_run
        )
    show(segment_json(kept.segment), as_json)
    said(f"segment {kept.segment.id} added", dry_run)


@segments.command("set")
@click.argument("segment", type=int)
@file_option
@accept_option
@change_options
def set_(
    segment: int,
    document: dict[str, Any],
    accept_warnings: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a document in the place of the SEGMENT's, for all flags that use it."""
    with wired() as services:
        kept = services.segments.put(
            actor(), segment, document, reason, accept_warnings=accept_warnings, dry_run=dry_run
        )
    show(segment_json(kept.segment), as_json)
    said(f"segment {segment} changed", dry_run)


@segments.command("remove")
@click.argument("segment", type=int)
@change_options
def remove(segment: int, reason: str, dry_run: bool, as_json: bool) -> None:
    """Remove a SEGMENT that no flag uses."""
    with wired() as services:
        gone = services.segments.remove(actor(), segment, reason, dry_run=dry_run)
    show(segment_json(gone), as_json)
    said(f"segment {segment} removed", dry_run)
