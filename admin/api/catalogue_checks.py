"""/admin/api/v1/catalogue/verify and /admin/api/v1/catalogue/proposals"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal

from flask import Blueprint

from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, admin, editor, viewer

routes = Blueprint("catalogue_checks", __name__)


class VerifyIn(Shape):
    """`vendor`: this one alone."""

    vendor: str | None = None


class FindingOut(Shape):
    vendor: str
    model: str
    kind: Literal["retires", "gone", "unlisted"]
    found: dict[str, Any]


class VerifiedOut(Shape):
    """`state`: `silent` where no list could be had, for which `detail` says why; `models`: how many it has."""

    vendor: str
    state: Literal["compared", "silent"]
    detail: str | None
    models: int
    found: list[FindingOut]


class VerifiedListOut(Shape):
    data: list[VerifiedOut]


class ProposalQuery(PageQuery):
    state: str | None = None


class EndIn(Shape):
    """`dry_run`: everything is checked, nothing is changed."""

    reason: str | None = None
    dry_run: bool = False


class ProposalOut(Shape):
    """`found`: what the vendor says; `outdated`: it says so no longer."""

    id: str
    vendor: str
    model: str
    kind: Literal["retires", "gone", "unlisted", "retiring"]
    found: dict[str, Any]
    state: Literal["open", "applied", "dismissed", "outdated"]
    created_at: str
    ended_at: str | None
    ended_by: str | None
    version: int


class ProposalsOut(Shape):
    data: list[ProposalOut]
    next_cursor: str | None


@routes.post("/catalogue/verify")
@operation(
    "Compare the catalogue with the vendors' own lists", auth=editor, body=VerifyIn, answer=VerifiedListOut
)
def verify(body: VerifyIn) -> Answer:
    return {"data": services().catalogue_checks.verify(body.vendor)}


@routes.get("/catalogue/proposals")
@operation(
    "What vendors say otherwise than the catalogue, newest first",
    auth=viewer,
    query=ProposalQuery,
    answer=ProposalsOut,
)
def list_proposals(query: ProposalQuery) -> Answer:
    rows = services().catalogue_checks.page(state=query.state, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, itemgetter("id"), dict)


@routes.get("/catalogue/proposals/<proposal_id>")
@operation("Show a proposal", auth=viewer, answer=ProposalOut)
def show_proposal(proposal_id: str) -> Answer:
    return _versioned(services().catalogue_checks.get(proposal_id))


@routes.post("/catalogue/proposals/<proposal_id>/apply")
@operation("Make the catalogue as the vendor says", auth=admin, body=EndIn, answer=ProposalOut)
def apply(proposal_id: str, body: EndIn) -> Answer:
    based = based_on(required=False)
    return _versioned(
        services().catalogue_checks.apply(
            actor(), proposal_id, body.reason, based_on=based, dry_run=body.dry_run
        )
    )


@routes.post("/catalogue/proposals/<proposal_id>/dismiss")
@operation("Leave the catalogue as it is", auth=admin, body=EndIn, answer=ProposalOut)
def dismiss(proposal_id: str, body: EndIn) -> Answer:
    based = based_on(required=False)
    return _versioned(
        services().catalogue_checks.dismiss(
            actor(), proposal_id, body.reason, based_on=based, dry_run=body.dry_run
        )
    )


def _versioned(proposal: dict[str, Any]) -> Answer:
    return versioned(proposal, proposal["version"])
