"""/admin/api/v1/audit"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.services.audit import audit_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import listing
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("audit", __name__)


class AuditQuery(Shape):
    """`cursor` is the `seq` of the last row seen."""

    tenant: str | None = None
    subject: str | None = None
    cursor: int | None = Field(None, ge=1, lt=2**63)
    limit: int = Field(50, ge=1, le=500)


class Verification(Shape):
    """`problem` says where the chain does not hold."""

    intact: bool
    problem: str | None


@routes.get("/audit")
@operation("List changes, newest first", auth=viewer, query=AuditQuery)
def list_audit(query: AuditQuery) -> Answer:
    rows = services().audit.page(
        tenant=query.tenant, subject=query.subject, before=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda row: row["seq"], audit_json)


@routes.get("/audit/verify")
@operation("Verify the chain of the audit log", auth=viewer, answer=Verification)
def verify_audit() -> Answer:
    problem = services().audit.verify()
    return {"intact": problem is None, "problem": problem}
