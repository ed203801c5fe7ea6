"""/admin/statements"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.exports import Format
from rollout.core.statements import STATEMENT_COLUMNS, TOTAL_COLUMNS, statement_rows, total_row
from rollout.web.exports import export
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("statements", __name__)


class StatementsView(ListView):
    month: str | None = Field(None, max_length=20)


class StatementView(PageView):
    month: str | None = Field(None, max_length=20)
    format: Format | None = None


@routes.get("/statements")
@operation("What each tenant's statement of a month comes to", auth=viewer, query=StatementsView)
def show_statements(query: StatementsView) -> Answer:
    statements = services().statements
    month = statements.month(query.month)
    return show_list(
        "statements.html",
        query,
        lambda after, limit: statements.page(month.name, after=after, limit=limit),
        lambda row: row[0].id,
        file=f"statements-{month.name}",
        columns=TOTAL_COLUMNS,
        as_row=lambda row: total_row(month.name, *row),
        month=month,
    )


@routes.get("/statements/<tenant_id>")
@operation("A tenant's statement of a month, beside its meters", auth=viewer, query=StatementView)
def show_statement(tenant_id: str, query: StatementView) -> Answer:
    done = services().statements.get(tenant_id, query.month)
    if query.format is not None:
        name = f"statement-{tenant_id}-{done.month.name}"
        return export(query.format, name, STATEMENT_COLUMNS, statement_rows(done))
    return room("statement.html", statement=done)
