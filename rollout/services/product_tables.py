"""Product tables: uploaded, replaced, removed, and searched for what a picture may show.

An upload writes its rows in batches under a content id that nobody reads, and becomes the table in one short
transaction: readers see the former table or the new one, and no other writer waits longer than for one batch. Failure
behaviour: what a crash left behind is removed an hour later.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from rollout.core.audit import Actor
from rollout.core.products import (
    MAX_CANDIDATE_BYTES,
    MAX_CANDIDATES,
    Product,
    ProductTable,
    check_table_id,
    read_sheet,
    table_json,
    terms,
    weights,
    within,
)
from rollout.db import products
from rollout.db.engine import Database
from rollout.errors import Conflict, LedgerUnavailable, NotFound
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId, first_id
from rollout.services.tenants import check_version

MAX_TABLES = 20
"""For one tenant."""

WRITTEN_AT_ONCE = 1_000
ARRIVING_SECONDS = 3_600
FORGOTTEN_AT_ONCE = 100
_CONTENT = "rows"


class ProductTables:
    def __init__(self, database: Database, changes: Changes, new_id: NewId) -> None:
        self._database, self._changes, self._new_id = database, changes, new_id

    def page(self, *, tenant: str | None, cursor: str | None, limit: int) -> list[ProductTable]:
        """In order of id, of one tenant; of all: by tenant. `cursor` is `tenant/id`, or of one tenant the id alone."""
        after = None
        if cursor is not None:
            owner, _, table_id = cursor.rpartition("/")
            after = (tenant or owner, table_id)
        with self._database.read() as tx:
            return products.page(tx, tenant=tenant, after=after, limit=limit)

    def get(self, tenant_id: str, table_id: str) -> ProductTable:
        """Raises NotFound."""
        with self._database.read() as tx:
            found = products.get(tx, tenant_id, table_id)
        if found is None:
            raise _not_found(table_id)
        return found

    def put(
        self,
        actor: Actor,
        tenant_id: str,
        table_id: str,
        data: bytes,
        id_column: str,
        reason: str,
        *,
        based_on: int | None,
    ) -> ProductTable:
        """The CSV in `data` becomes the table, which is new or replaced as a whole.

        Raises InvalidRequest (`errors` by line), Conflict when there are 20 others, StaleVersion.
        """
        check_table_id(table_id)
        sheet = read_sheet(data, id_column)
        content_id = self._new_id(_CONTENT)
        unread = content_id
        try:
            self._write(tenant_id, content_id, sheet.products)
            with self._changes.begin(actor, reason) as change:
                before = products.get(change.tx, tenant_id, table_id)
                check_version(based_on, before.version if before else 0, table_json(before) if before else {})
                if before is None and products.count(change.tx, tenant_id) >= MAX_TABLES:
                    raise Conflict(f"There are {MAX_TABLES} product tables already; remove one first.")
                after = ProductTable(
                    tenant_id=tenant_id,
                    id=table_id,
                    content_id=content_id,
                    columns=sheet.columns,
                    rows=len(sheet.products),
                    bytes=len(data),
                    version=before.version + 1 if before else 1,
                    created_at=before.created_at if before else change.now,
                    updated_at=change.now,
                )
                (products.put if before else products.add)(change.tx, after)
                _record(change, "product_table.replaced" if before else "product_table.added", before, after)
            unread = before.content_id if before else ""
        finally:
            self._clear(tenant_id, unread)
        return after

    def remove(
        self, actor: Actor, tenant_id: str, table_id: str, reason: str, *, based_on: int | None
    ) -> ProductTable:
        """Raises NotFound, StaleVersion."""
        with self._changes.begin(actor, reason) as change:
            gone = products.get(change.tx, tenant_id, table_id)
            if gone is None:
                raise _not_found(table_id)
            check_version(based_on, gone.version, table_json(gone))
            products.remove(change.tx, gone)
            _record(change, "product_table.removed", gone, None)
        self._clear(tenant_id, gone.content_id)
        return gone

    def likely(self, tenant_id: str, table_id: str, texts: Sequence[str]) -> list[Product]:
        """At most 50 products whose words are among `texts`, the likeliest first: a rare word says more. Raises NotFound."""
        with self._database.read() as tx:
            table = products.get(tx, tenant_id, table_id)
            if table is None:
                raise _not_found(table_id)
            told = weights(products.having(tx, table, terms(texts)), table.rows)
            found = products.likely(tx, table, told, MAX_CANDIDATES)
        return within(found, MAX_CANDIDATE_BYTES)

    def purge(self) -> None:
        """Remove rows that no table names, but those that may be on their way in."""
        with self._database.read() as tx:
            made_before = first_id(_CONTENT, self._database.now(tx) - ARRIVING_SECONDS)
            forgotten = products.forgotten(tx, made_before, FORGOTTEN_AT_ONCE)
        for tenant_id, content_id in forgotten:
            self._clear(tenant_id, content_id)

    def _write(self, tenant_id: str, content_id: str, new: Sequence[Product]) -> None:
        for start in range(0, len(new), WRITTEN_AT_ONCE):
            with self._database.write() as tx:
                products.add_products(tx, tenant_id, content_id, new[start : start + WRITTEN_AT_ONCE])

    def _clear(self, tenant_id: str, content_id: str) -> None:
        """Remove the rows; what cannot be removed now is found by `purge`."""
        gone = WRITTEN_AT_ONCE
        with suppress(LedgerUnavailable):
            while content_id and gone >= WRITTEN_AT_ONCE:
                with self._database.write() as tx:
                    gone = products.remove_products(tx, tenant_id, content_id, WRITTEN_AT_ONCE)


def _record(change: Change, action: str, before: ProductTable | None, after: ProductTable | None) -> None:
    one = after or before
    assert one is not None
    change.record(
        action,
        subject=one.id,
        tenant=one.tenant_id,
        before=table_json(before) if before else None,
        after=table_json(after) if after else None,
    )


def _not_found(table_id: str) -> NotFound:
    return NotFound(f"There is no product table {table_id[:100]!r}.", param="product_table")
