"""The ledger's statements find their rows by index, however many there are (SQLite tells how it would)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import GRACE, LEASE, RESULT, actual, meter, open_ledger, request

from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.tenants import Tenant
from rollout.db import joins
from rollout.db.engine import Database
from rollout.services.ledger import KEY_SECONDS, Ledger

METERS = (meter("image", "day", 99), meter("usd_micro", "month", 10**9), meter("slot", "concurrent", 9))
BIG = ("hold", "bucket", "entry", "quota_owner", "kill")
OF_OPEN_WORK = ("ix_hold_lease_until", "ix_hold_keyed_created_at")
"""Indexes that hold few rows: only open holds, only keys of a day."""


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, many: bool) -> None:
        if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            seen.append((text, values[0] if many else values))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(database.engine, "before_cursor_execute", note)


def scans(database: Database, seen: list[tuple[str, Any]]) -> list[str]:
    with database.read() as tx:
        steps = [
            row.detail
            for text, values in seen
            for row in tx.exec_driver_sql(f"explain query plan {text}", values)
        ]
    return [
        step
        for step in steps
        if step.startswith(tuple(f"SCAN {table}" for table in BIG)) and not step.endswith(OF_OPEN_WORK)
    ]


@pytest.fixture
def database(new_database: Callable[..., str], clock: Any) -> Iterator[Database]:
    """SQLite alone: PostgreSQL's plans depend on how many rows there are."""
    opened = Database(new_database("sqlite"), clock)
    yield opened
    opened.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return open_ledger(database, *METERS)


def work(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(request(*METERS, idem_key="k", dispatch=False)) as held:
        held.dispatch()
        clock.advance(1)
        ledger.renew_leases()
        held.settle(actual(), RESULT)
    ledger.limits(TenantFacts(Tenant("acme", "Acme"), meters=METERS))


def sweeping(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(request(*METERS, idem_key="k")):
        clock.advance(LEASE)
        ledger.sweep()
    clock.advance(GRACE)
    ledger.reconcile()
    clock.advance(KEY_SECONDS)
    ledger.forget_keys()


def looking(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(request(*METERS)) as held:
        ledger.get_hold(held.id)
        ledger.holds(tenant="acme", state=None, cursor=held.id, limit=10)
        for state in ("open", "unknown"):
            ledger.holds(tenant=None, state=state, cursor=None, limit=10)
        with ledger._database.write() as tx:
            ledger.void_held(tx, GENERATION, None, 0)
            ledger.running(tx, GENERATION, "acme")


def joining(ledger: Ledger, _: Any) -> None:
    with ledger.hold(request(*METERS)) as held, ledger._database.write() as tx:
        joins.of_retry(tx, "acme", "key_1", "v1:aa", "hold_")
        joins.read(tx, "acme", [held.id])
        joins.mark(tx, "acme", held.id, unsent=True)


@pytest.mark.parametrize("use", [work, sweeping, looking, joining])
def test_no_statement_reads_a_whole_table(
    ledger: Ledger, database: Database, clock: Any, use: Callable[[Ledger, Any], None]
) -> None:
    with statements(database) as seen:
        use(ledger, clock)
    assert scans(database, seen) == []


def test_a_scan_would_be_seen(ledger: Ledger, database: Database) -> None:
    with statements(database) as seen:
        ledger.verify()
    assert any(step.startswith("SCAN entry") for step in scans(database, seen))
