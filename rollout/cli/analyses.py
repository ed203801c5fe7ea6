"""`rollout analyses ...` and `rollout product-tables ...`"""

from __future__ import annotations

import click

from rollout.cli.context import json_option, limit_option, show, show_rows, wired
from rollout.core.products import table_json
from rollout.core.tasks import TASKS, result_json

_ANSWERS = ("id", "created_at", "task", "model", "cost_usd_micro")
_TABLES = ("tenant", "id", "rows", "bytes", "version", "updated_at")


@click.group()
def analyses() -> None:
    """What named tasks were answered, while it is kept."""


@analyses.command("list")
@click.option("--tenant", required=True)
@click.option("--task", type=click.Choice(TASKS))
@limit_option(50)
@json_option
def list_answers(tenant: str, task: str | None, limit: int, as_json: bool) -> None:
    """A tenant's, newest first."""
    with wired() as services:
        found = services.analysis_results.page(tenant=tenant, task=task, cursor=None, limit=limit)
    rows = [result_json(kept) for kept in found]
    show_rows(rows, as_json, "No answers are kept.", columns=_ANSWERS, limit=limit)


@analyses.command("show")
@click.argument("analysis")
@json_option
def show_answer(analysis: str, as_json: bool) -> None:
    """One of them; how it came about: `rollout requests show`."""
    with wired() as services:
        show(result_json(services.analysis_results.find(analysis)), as_json)


@click.group("product-tables")
def product_tables() -> None:
    """Tables that pictures of products are compared with."""


@product_tables.command("list")
@click.option("--tenant")
@limit_option()
@json_option
def list_tables(tenant: str | None, limit: int, as_json: bool) -> None:
    """Of a tenant, or of all."""
    with wired() as services:
        found = services.product_tables.page(tenant=tenant, cursor=None, limit=limit)
    rows = [table_json(table) for table in found]
    show_rows(rows, as_json, "No tables. Partners upload them.", columns=_TABLES, limit=limit)
