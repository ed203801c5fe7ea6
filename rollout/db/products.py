"""Rows of product tables, and of the products in them. Products lie under a content id, which no row names until they
are all there, nor after another upload has taken their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from rollout.core.products import Product, ProductTable
from rollout.db.driver import insert_many, run
from rollout.db.engine import Tx
from rollout.db.tables import product, product_table


def get(tx: Tx, tenant_id: str, table_id: str) -> ProductTable | None:
    query = sa.select(product_table).where(*_this(tenant_id, table_id))
    row = tx.execute(query).mappings().one_or_none()
    return ProductTable(**row) if row else None


def page(tx: Tx, *, tenant: str | None, after: tuple[str, str] | None, limit: int) -> list[ProductTable]:
    """In order of tenant and id, of one tenant or all; `after` is the (tenant, id) to continue from."""
    order = (product_table.c.tenant_id, product_table.c.id)
    query = sa.select(product_table).order_by(*order).limit(limit)
    if tenant is not None:
        query = query.where(product_table.c.tenant_id == tenant)
    if after is not None:
        query = query.where(sa.tuple_(*order) > sa.tuple_(*(sa.literal(part) for part in after)))
    return [ProductTable(**row) for row in tx.execute(query).mappings()]


def count(tx: Tx, tenant_id: str) -> int:
    query = sa.select(sa.func.count()).where(product_table.c.tenant_id == tenant_id)
    return tx.execute(query).scalar_one()


def add(tx: Tx, new: ProductTable) -> None:
    tx.execute(sa.insert(product_table).values(dataclasses.asdict(new)))


def put(tx: Tx, changed: ProductTable) -> None:
    where = _this(changed.tenant_id, changed.id)
    tx.execute(sa.update(product_table).where(*where).values(dataclasses.asdict(changed)))


def remove(tx: Tx, gone: ProductTable) -> None:
    tx.execute(sa.delete(product_table).where(*_this(gone.tenant_id, gone.id)))


def add_products(tx: Tx, tenant_id: str, content_id: str, new: Sequence[Product]) -> None:
    rows = [(tenant_id, content_id, one.id, dict(one.fields), one.search) for one in new]
    run(tx, insert_many(tx, product, rows))


def having(tx: Tx, table: ProductTable, terms: Sequence[str]) -> dict[str, int]:
    """How many of the table's products have each of these words."""
    if not terms:
        return {}
    counts = [sa.func.sum(sa.case((_has(word), 1), else_=0)) for word in terms]
    row = tx.execute(sa.select(*counts).where(*_of(table))).one()
    return {word: int(count or 0) for word, count in zip(terms, row, strict=True)}


def likely(tx: Tx, table: ProductTable, weights: Mapping[str, int], limit: int) -> list[Product]:
    """The products whose words weigh most, the heaviest first; none that have none of them."""
    if not weights:
        return []
    points = [sa.case((_has(word), weight), else_=0) for word, weight in weights.items()]
    found = sum(points[1:], start=points[0]).label("points")
    ranked = sa.select(product.c.product_id, product.c.fields, found).where(*_of(table)).subquery()
    query = (
        sa.select(ranked)
        .where(ranked.c.points > 0)
        .order_by(ranked.c.points.desc(), ranked.c.product_id)
        .limit(limit)
    )
    return [Product(row.product_id, row.fields) for row in tx.execute(query)]


def _has(word: str) -> sa.ColumnElement[bool]:
    return product.c.search.like(f"% {word} %")


def _of(table: ProductTable) -> tuple[sa.ColumnElement[bool], ...]:
    return product.c.tenant_id == table.tenant_id, product.c.content_id == table.content_id


def forgotten(tx: Tx, made_before: str, limit: int) -> list[tuple[str, str]]:
    """(tenant, content id) that no table names, of those below the id `made_before`: later ones may be on their way in."""
    named = sa.select(product_table.c.tenant_id).where(
        product_table.c.tenant_id == product.c.tenant_id, product_table.c.content_id == product.c.content_id
    )
    query = (
        sa.select(product.c.tenant_id, product.c.content_id)
        .where(product.c.content_id < made_before, ~named.exists())
        .distinct()
        .limit(limit)
    )
    return [(row.tenant_id, row.content_id) for row in tx.execute(query)]


def remove_products(tx: Tx, tenant_id: str, content_id: str, limit: int) -> int:
    """At most `limit` of them; how many it were. As a range of the key: what is `in` a list, PostgreSQL may look up in a
    table that it has no statistics of by reading it once for each."""
    content = (product.c.tenant_id == tenant_id, product.c.content_id == content_id)
    last = (
        sa.select(product.c.product_id)
        .where(*content)
        .order_by(product.c.product_id)
        .offset(limit - 1)
        .limit(1)
    )
    upto = tx.execute(last).scalar_one_or_none()
    range_ = content if upto is None else (*content, product.c.product_id <= upto)
    return tx.execute(sa.delete(product).where(*range_)).rowcount


def _this(tenant_id: str, table_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return product_table.c.tenant_id == tenant_id, product_table.c.id == table_id
