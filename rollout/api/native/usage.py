"""/api/v1/usage: what the tenant used and what it cost, as JSON or CSV."""

from __future__ import annotations

from flask import Blueprint

from rollout.core.usage import report_columns, report_json, report_rows
from rollout.web.auth import identity, key
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, operation
from rollout.web.usage import PeriodQuery, UsageOut
from rollout.web.wired import services

routes = Blueprint("usage", __name__, url_prefix="/api/v1/usage")


class UsageQuery(PeriodQuery, ExportQuery):
    """`by`: words from day, model, key, feature, end_user; days are those of the tenant's time zone."""


@routes.get("")
@operation("Usage and cost", auth=key("read"), query=UsageQuery, answer=UsageOut)
def usage(query: UsageQuery) -> Answer:
    done = services().usage.report(identity().facts.tenant.id, query.since, query.until, query.by)
    if query.wanted_format() == "csv":
        return export("csv", "usage", report_columns(done), report_rows(done))
    return report_json(done)
