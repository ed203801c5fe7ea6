"""/admin/api/v1/statements"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.statements import STATEMENT_COLUMNS, TOTAL_COLUMNS, checked_json, statement_rows, total_row
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing, walk
from rollout.web.usage import StatementOut
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("statements", __name__)

EXPORT_PAGE = 500


class MonthQuery(ExportQuery):
    """`month` such as 2026-11, in the time zone of each tenant; without it this one."""

    month: str | None = Field(None, max_length=20)


class StatementsQuery(MonthQuery, PageQuery):
    pass


class CheckOut(Shape):
    """A money meter that counted all the month: what it booked, and what the statement says of the same."""

    meter: str
    name: str
    feature: str | None
    booked_usd_micro: int
    stated_usd_micro: int
    agrees: bool


class CheckedStatementOut(StatementOut):
    checks: list[CheckOut]


@routes.get("/statements")
@operation("What each tenant's statement of a month comes to", auth=viewer, query=StatementsQuery)
def list_statements(query: StatementsQuery) -> Answer:
    statements = services().statements
    month = statements.month(query.month).name
    if query.wanted_format() == "csv":
        whole = walk(
            lambda after: statements.page(month, after=after, limit=EXPORT_PAGE), lambda row: row[0].id
        )
        return export("csv", f"statements-{month}", TOTAL_COLUMNS, (total_row(month, *row) for row in whole))
    rows = statements.page(month, after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda row: row[0].id, lambda row: total_row(month, *row))


@routes.get("/statements/<tenant_id>")
@operation(
    "A tenant's statement of a month, beside its meters",
    auth=viewer,
    query=MonthQuery,
    answer=CheckedStatementOut,
)
def show_statement(tenant_id: str, query: MonthQuery) -> Answer:
    done = services().statements.get(tenant_id, query.month)
    if query.wanted_format() == "csv":
        return export(
            "csv", f"statement-{tenant_id}-{done.month.name}", STATEMENT_COLUMNS, statement_rows(done)
        )
    return checked_json(done)
