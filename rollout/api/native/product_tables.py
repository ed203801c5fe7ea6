"""/api/v1/product-tables: the products that pictures are compared with, uploaded as CSV."""

from __future__ import annotations

from flask import Blueprint, Response, g, request
from pydantic import Field

from rollout.core.audit import Actor
from rollout.core.products import MAX_BYTES, ProductTable, table_json
from rollout.errors import UnsupportedMediaType
from rollout.web.admission import admitted
from rollout.web.auth import identity, key
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

routes = Blueprint("product_tables", __name__, url_prefix="/api/v1/product-tables")

REASON = "by the partner"


class UploadQuery(Shape):
    """`id_column`: the column that names each row."""

    id_column: str = Field("id", min_length=1, max_length=100)


class ProductTableOut(Shape):
    id: str
    tenant: str
    columns: list[str]
    rows: int
    bytes: int
    version: int
    created_at: str
    updated_at: str


@routes.get("")
@operation("List your product tables", auth=key("analyze"), query=PageQuery)
def list_own(query: PageQuery) -> Answer:
    rows = services().product_tables.page(tenant=_tenant_id(), cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda table: table.id, table_json)


@routes.get("/<table_id>")
@operation(
    "Show a product table: its columns, and how many rows it has", auth=key("analyze"), answer=ProductTableOut
)
def show_own(table_id: str) -> Answer:
    return _shown(services().product_tables.get(_tenant_id(), table_id))


@routes.put("/<table_id>")
@operation(
    "Upload a product table as CSV; one of that id is replaced as a whole",
    auth=key("analyze"),
    query=UploadQuery,
    raw_body=("text/csv",),
    answer=ProductTableOut,
)
@admitted("analysis")
def upload(table_id: str, query: UploadQuery) -> Response:
    if request.mimetype != "text/csv":
        raise UnsupportedMediaType("Send the table with Content-Type: text/csv.")
    request.max_content_length = MAX_BYTES
    data = request.get_data(cache=False)
    table = services().product_tables.put(
        _actor(), _tenant_id(), table_id, data, query.id_column, REASON, based_on=based_on(required=False)
    )
    return _shown(table, 201 if table.version == 1 else 200)


@routes.delete("/<table_id>")
@operation("Remove a product table and its rows", auth=key("analyze"), answer=ProductTableOut)
def remove(table_id: str) -> Answer:
    return _shown(
        services().product_tables.remove(
            _actor(), _tenant_id(), table_id, REASON, based_on=based_on(required=False)
        )
    )


def _shown(table: ProductTable, status: int = 200) -> Response:
    return versioned(table_json(table), table.version, status)


def _tenant_id() -> str:
    return identity().facts.tenant.id


def _actor() -> Actor:
    return Actor(f"key:{identity().key.id}", "partner", g.request_id)
