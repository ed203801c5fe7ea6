"""/api/v1/usage: what the tenant used and what it cost, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from typing import Literal

from flask import Blueprint, Response, request

from rollout.core.usage import report_json, report_table
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, operation
from rollout.web.usage import PeriodQuery, UsageOut
from rollout.web.wired import services

routes = Blueprint("usage", __name__, url_prefix="/api/v1/usage")


class UsageQuery(PeriodQuery):
    """`by`: words from day, model, key, feature, end_user; days are those of the tenant's time zone."""

    format: Literal["json", "csv"] | None = None


@routes.get("")
@operation("Usage and cost", auth=key("read"), query=UsageQuery, answer=UsageOut)
def usage(query: UsageQuery) -> Answer:
    done = services().usage.report(identity().facts.tenant.id, query.since, query.until, query.by)
    if not _wants_csv(query):
        return report_json(done)
    text = io.StringIO()
    csv.writer(text).writerows(report_table(done))
    response = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
    return response


def _wants_csv(query: UsageQuery) -> bool:
    if query.format is not None:
        return query.format == "csv"
    return request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
