"""/admin/api/v1/audit"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.services.audit import AUDIT_COLUMNS, Search, audit_json
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, Shape, operation
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("audit", __name__)


class AuditFilter(Shape):
    tenant: str | None = None
    subject: str | None = None
    actor: str | None = None
    action: str | None = None
    since: Moment | None = Field(None, alias="from")
    until: Moment | None = Field(None, alias="to")

    def wanted(self) -> Search:
        return Search(
            self.tenant,
            self.subject,
            self.actor,
            self.action,
            epoch_or_none(self.since),
            epoch_or_none(self.until),
        )


class AuditQuery(AuditFilter):
    """`cursor` is the `next_cursor` of the page before."""

    cursor: int | None = Field(None, ge=1, lt=2**63)
    limit: int = Field(50, ge=1, le=500)


class AuditExport(AuditFilter, ExportQuery):
    pass


class Verification(Shape):
    """`problem` says where the chain does not hold."""

    intact: bool
    problem: str | None


@routes.get("/audit")
@operation("List changes, newest first", auth=viewer, query=AuditQuery)
def list_audit(query: AuditQuery) -> Answer:
    """A page may hold fewer than asked for, or none, and still have a next one: a search looks at so many rows at a time."""
    found = services().audit.search(query.wanted(), before=query.cursor, limit=query.limit)
    return {"data": [audit_json(row) for row in found.rows], "next_cursor": found.next and str(found.next)}


@routes.get("/audit/export")
@operation("All changes that match, as CSV or JSON", auth=viewer, query=AuditExport)
def export_audit(query: AuditExport) -> Answer:
    rows = (audit_json(row) for row in services().audit.walk(query.wanted()))
    return export(query.wanted_format(), "audit", AUDIT_COLUMNS, rows)


@routes.get("/audit/verify")
@operation("Verify the chain of the audit log", auth=viewer, answer=Verification)
def verify_audit() -> Answer:
    problem = services().audit.verify()
    return {"intact": problem is None, "problem": problem}
