"""/admin/api/v1/ledger"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.verifications import verification_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("ledger", __name__)


class VerificationOut(Shape):
    """`differences`: a sentence each, [] when the books are right; of very many the first."""

    id: str
    at: str
    seconds: int
    clean: bool
    differences: list[str]
    actor: str


@routes.get("/ledger")
@operation("How the books were found, newest first", auth=viewer, query=PageQuery)
def list_verifications(query: PageQuery) -> Answer:
    rows = services().verifications.page(cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda one: one.id, verification_json)


@routes.post("/ledger/verify")
@operation("Add up the books now", auth=editor, answer=VerificationOut)
def verify_ledger() -> Answer:
    return verification_json(services().verifications.run(actor().name))
