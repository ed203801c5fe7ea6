"""/admin/audit"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.audit import differences
from rollout.errors import InvalidRequest
from rollout.services.audit import AUDIT_COLUMNS, Search, audit_json
from rollout.web.exports import export
from rollout.web.language import _
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import viewer
from .forms import LocalMoment
from .queries import ListView, PageView
from .room import room

routes = Blueprint("audit", __name__)

VERIFIED = 500
"""Entries that the page verifies, the newest; the command verifies all."""


class AuditView(ListView):
    tenant: str | None = Field(None, max_length=64)
    subject: str | None = Field(None, max_length=200)
    actor: str | None = Field(None, max_length=200)
    action: str | None = Field(None, max_length=64)
    since: LocalMoment | None = Field(None, alias="from")
    until: LocalMoment | None = Field(None, alias="to")

    def wanted(self) -> Search:
        return Search(self.tenant, self.subject, self.actor, self.action, self.since, self.until)

    def before(self) -> int | None:
        if self.cursor is None:
            return None
        if not self.cursor.isdigit() or len(self.cursor) > 18:
            raise InvalidRequest("A cursor of the audit log is a whole number.", param="cursor")
        return int(self.cursor)


@routes.get("/audit")
@operation("Who changed what, when and why", auth=viewer, query=AuditView)
def show_audit(query: AuditView) -> Answer:
    log = services().audit
    if query.format is not None:
        return export(query.format, "audit", AUDIT_COLUMNS, map(audit_json, log.walk(query.wanted())))
    found = log.search(query.wanted(), before=query.before(), limit=query.limit)
    actions = [("", _("any")), *((code, words.action(code)) for code in words.ACTIONS)]
    return room("audit.html", query=query, found=found, differences=differences, actions=actions)


@routes.get("/audit/verify")
@operation("Whether the audit log is whole", auth=viewer, query=PageView)
def verify_audit(query: PageView) -> Answer:
    return room("audit_verified.html", newest=VERIFIED, problem=services().audit.verify(VERIFIED))
