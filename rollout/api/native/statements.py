"""/api/v1/statements: what a month came to, as JSON or CSV."""

from __future__ import annotations

from flask import Blueprint

from rollout.core.statements import STATEMENT_COLUMNS, statement_json, statement_rows
from rollout.web.auth import identity, key
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, operation
from rollout.web.usage import StatementOut
from rollout.web.wired import services

routes = Blueprint("statements", __name__, url_prefix="/api/v1/statements")


@routes.get("/<month>")
@operation("A month's statement", auth=key("read"), query=ExportQuery, answer=StatementOut)
def show_statement(month: str, query: ExportQuery) -> Answer:
    done = services().statements.get(identity().facts.tenant.id, month)
    if query.wanted_format() == "csv":
        return export("csv", f"statement-{done.month.name}", STATEMENT_COLUMNS, statement_rows(done))
    return statement_json(done)
