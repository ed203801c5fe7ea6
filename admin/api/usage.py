"""/admin/api/v1/usage"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.usage import report_columns, report_json, report_rows
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, operation
from rollout.web.usage import PeriodQuery, UsageOut
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("usage", __name__)


class UsageQuery(PeriodQuery, ExportQuery):
    """`by`: words from day, model, key, feature, end_user, tenant, phase, vendor; days are those of the tenant's
    time zone, without a tenant those of UTC."""

    tenant: str | None = None


@routes.get("/usage")
@operation("Usage and cost of one tenant or of all", auth=viewer, query=UsageQuery, answer=UsageOut)
def usage(query: UsageQuery) -> Answer:
    done = services().usage.overview(query.tenant, query.since, query.until, query.by)
    if query.wanted_format() == "csv":
        return export("csv", "usage", report_columns(done), report_rows(done))
    return report_json(done)
