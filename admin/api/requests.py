"""/admin/api/v1/requests"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint
from pydantic import Field

from rollout.core.refusals import REFUSAL_COLUMNS, Refusal, refusal_json
from rollout.core.stories import story_json
from rollout.web.exports import ExportQuery, export
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing, walk
from rollout.web.times import Moment, epoch_or_none, rfc3339
from rollout.web.wired import services

from .adjustments import AdjustmentOut
from .auth import viewer
from .topups import TopUpOut

routes = Blueprint("requests", __name__)

EXPORTED_AT_ONCE = 500


class RefusalFilter(Shape):
    tenant: str | None = None
    code: str | None = None
    since: Moment | None = Field(None, alias="from")

    def pages(self) -> Callable[[str | None, int], list[Refusal]]:
        """Reads those behind a request id; an export does so after the view has returned."""
        requests, since = services().requests, epoch_or_none(self.since)
        return lambda before, limit: requests.page(
            tenant=self.tenant, code=self.code, since=since, before=before, limit=limit
        )


class RefusalQuery(RefusalFilter, PageQuery):
    """`cursor` is the request id of the last one seen."""


class RefusalExport(RefusalFilter, ExportQuery):
    pass


class SummaryQuery(Shape):
    """Without `from`: the last 24 hours."""

    since: Moment | None = Field(None, alias="from")


class GroupOut(Shape):
    code: str
    status: int
    route: str
    count: int
    last_at: str


class SummaryOut(Shape):
    """`from` is later than asked for when there was more than is counted."""

    since: str = Field(alias="from")
    data: list[GroupOut]


class WindowOut(Shape):
    """`ends` null: it never ends."""

    start: str
    ends: str | None


class SetByOut(Shape):
    """The change that gave a meter its cap; `audit` is its number in the audit log."""

    audit: int
    at: str
    by: str
    action: str
    reason: str
    cap: int


class HeldByOut(Shape):
    hold: str
    amount: int


class RefusedByOut(Shape):
    """A limit that refused: its figures `at` that time, and what made them so. `cap` has the top-ups in it."""

    meter: str
    name: str
    feature: str | None
    unit: str
    period: str
    level: str
    subject: str | None
    cap: int
    used: int
    held: int
    remaining: int
    needed: int
    resets_at: str | None
    hard: bool
    window: WindowOut
    at: str
    set_by: SetByOut | None
    topups: list[TopUpOut]
    held_by: list[HeldByOut]


class PriceOut(Shape):
    id: str
    as_of: str
    source: str


class LineOut(Shape):
    """`usd_pico` is `tokens * usd_micro_per_million`."""

    unit: str
    tokens: int
    usd_micro_per_million: int
    usd_pico: int


class EntryOut(Shape):
    """A row of the ledger. `used`: what its window had used after it; `tenant` null: a window that tenants share."""

    id: str
    at: str
    kind: str
    tenant: str | None
    meter: str
    name: str
    level: str
    unit: str
    subject: str | None
    window: WindowOut
    d_used: int
    d_held: int
    d_cap: int
    used: int
    settled_from: str | None
    price_id: str | None
    actor: str
    reason: str | None


class MoneyOut(Shape):
    """`price` null: the catalogue has it no more. `lines` together, rounded up once, are `lines_usd_micro`; there are none where the
    charge was not taken from usage. `charged_usd_micro` null: not known yet."""

    price: PriceOut | None
    price_id: str | None
    lines: list[LineOut]
    lines_usd_micro: int | None
    reserved: dict[str, int]
    charged_usd_micro: int | None
    settled_from: str | None
    entries: list[EntryOut]
    adjustments: list[AdjustmentOut]


class EventOut(Shape):
    """`at` null: when it was is not stored; it stands behind what it followed."""

    kind: str
    at: str | None
    values: dict[str, Any]
    links: dict[str, str]


class StoryOut(Shape):
    """`refused_by`: why it was refused; `money`: where the money went; `events`: the rest, on one time line."""

    request_id: str
    tenant: str
    outcome: str
    refused_by: list[RefusedByOut]
    money: MoneyOut | None
    events: list[EventOut]


@routes.get("/requests")
@operation("List refused requests, newest first", auth=viewer, query=RefusalQuery)
def list_requests(query: RefusalQuery) -> Answer:
    rows = query.pages()(query.cursor, query.limit + 1)
    return listing(rows, query.limit, lambda row: row.request_id, refusal_json)


@routes.get("/requests/export")
@operation("All refused requests that match, as CSV or JSON", auth=viewer, query=RefusalExport)
def export_requests(query: RefusalExport) -> Answer:
    page = query.pages()
    rows = walk(lambda cursor: page(cursor, EXPORTED_AT_ONCE), lambda row: row.request_id)
    return export(query.wanted_format(), "requests", REFUSAL_COLUMNS, map(refusal_json, rows))


@routes.get("/requests/summary")
@operation("Refused requests by code and route", auth=viewer, query=SummaryQuery, answer=SummaryOut)
def summarize_requests(query: SummaryQuery) -> Answer:
    found = services().requests.grouped(epoch_or_none(query.since))
    data = [{**vars(group), "last_at": rfc3339(group.last_at)} for group in found.groups]
    return {"from": rfc3339(found.since), "data": data}


@routes.get("/requests/<any_id>")
@operation("Everything that is stored of a request, by any id of it", auth=viewer, answer=StoryOut)
def show_request(any_id: str) -> Answer:
    return story_json(services().requests.story(any_id))
