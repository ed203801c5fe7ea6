"""/api/v1/analyses: named tasks of analysis, and what they were answered. Open to every partner, as Messages are."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, Response, request
from pydantic import Field, StrictInt, StrictStr

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.core.fingerprint import json_content
from rollout.core.products import read_products
from rollout.core.tasks import Given, TaskName, TaskRequest, result_json
from rollout.web import headers
from rollout.web.admission import admitted
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, Shape, json_response, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

routes = Blueprint("analyses", __name__, url_prefix="/api/v1/analyses")


class PictureIn(Shape):
    """Exactly one of `data` (base64; its type is known by its bytes), `url` (the vendor fetches it) and `generation` (a picture
    of yours, by its id or its generation's)."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = Field(None, max_length=8_000)
    generation: str | None = Field(None, max_length=64)


class ThinkingIn(Shape):
    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: StrictInt | None = None


class OptionsIn(Shape):
    """`language`: a BCP 47 tag; the answer's words are in it."""

    thinking: ThinkingIn | None = None
    language: str | None = None
    model: str | None = Field(default=None, max_length=200)


class AnalysisIn(Shape):
    """`products` or `product_table` are for match_product; answer_chart needs a `question`."""

    task: TaskName
    images: list[PictureIn]
    question: str | None = None
    products: list[dict[StrictStr, Any]] | None = None
    product_table: str | None = Field(None, max_length=64)
    options: OptionsIn = OptionsIn()


class AnalysisOut(Shape):
    """`version` of the task, which grows when its prompt or the shape of `result` does."""

    id: str
    task: TaskName
    version: int
    model: str
    result: dict[str, Any]
    usage: dict[str, int]
    cost_usd_micro: int


class KeptAnalysisOut(AnalysisOut):
    created_at: str
    expires_at: str


class AnalysesQuery(PageQuery):
    task: TaskName | None = None


@routes.post("")
@operation(
    "Have Claude do a named task on pictures",
    auth=key("analyze"),
    body=AnalysisIn,
    answer=AnalysisOut,
    largest=MAX_BODY_BYTES,
)
@admitted("analysis")
def analyse(body: AnalysisIn) -> Response:
    call = headers.call(json_content(request.get_data()))
    done = services().tasks.perform(call, _asked(body))
    return headers.tell(json_response(done.answer), done.told)


@routes.get("")
@operation("List your analyses, newest first", auth=key("analyze"), query=AnalysesQuery)
def list_analyses(query: AnalysesQuery) -> Answer:
    tenant_id = identity().facts.tenant.id
    rows = services().analysis_results.page(
        tenant=tenant_id, task=query.task, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda kept: kept.analysis_id, result_json)


@routes.get("/<analysis_id>")
@operation(
    "Show what an analysis was answered, while it is kept", auth=key("analyze"), answer=KeptAnalysisOut
)
def show_analysis(analysis_id: str) -> Answer:
    return result_json(services().analysis_results.get(identity().facts.tenant.id, analysis_id))


def _asked(body: AnalysisIn) -> TaskRequest:
    options = body.options
    return TaskRequest(
        task=body.task,
        images=tuple(Given(**image.model_dump()) for image in body.images),
        question=body.question,
        products=None if body.products is None else tuple(read_products(body.products, "products")),
        product_table=body.product_table,
        thinking=None if options.thinking is None else options.thinking.model_dump(exclude_none=True),
        language=options.language,
        **({} if options.model is None else {"model": options.model}),
    )
