"""The books added up each night: a difference is found, kept, logged and told, once a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock
from structlog.testing import capture_logs
from uses import Uses, generation

from rollout.core.audit import Actor
from rollout.core.meters import PLATFORM
from rollout.core.tenants import Tenant
from rollout.db import tables
from rollout.db.engine import Database, Tx
from rollout.errors import LedgerUnavailable
from rollout.services import verifications as module
from rollout.services.changes import Changes
from rollout.services.events import Events
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.statements import Statements
from rollout.services.tenants import Tenants
from rollout.services.ticks import Ticks
from rollout.services.verifications import NIGHTLY, Verifications

ALICE = Actor("token:alice")
HOUR, DAY = 3600, 86_400
MONEY = {"feature": "image-generation", "unit": "usd_micro", "period": "month", "cap": 10**9}


class Told:
    """Events that were emitted and committed, or not: it keeps no books."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None, Mapping[str, Any]]] = []

    def emit(self, tx: Tx, now: int, type: str, tenant_id: str | None, data: Mapping[str, Any]) -> None:
        self.events.append((type, tenant_id, data))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def verifications(database: Database, told: Told, clock: Clock) -> Verifications:
    """Acme has used 40,000 micro-dollars, counted by a money meter since October."""
    now, clock.now = clock.now, datetime.fromisoformat("2026-10-01T00:00:00Z").timestamp()
    changes = Changes(database)
    Tenants(database, changes).add(ALICE, Tenant("acme", "Acme"), "seed")
    Meters(database, changes, new_id).add(ALICE, "acme", MONEY, "seed")
    clock.now = now
    Uses(database).settled(generation("gen_1"), 40_000)
    return looking(database, told)


def looking(database: Database, events: Any) -> Verifications:
    ledger = Ledger(database, lease_seconds=120, grace_seconds=900, new_id=new_id)
    return Verifications(database, ledger, Statements(database), events, new_id)


def plant(database: Database) -> None:
    """A bucket that says a micro-dollar less than was booked."""
    with database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=tables.bucket.c.used - 1))


def test_clean_books_are_kept_as_such_and_told_to_nobody(verifications: Verifications, told: Told) -> None:
    done = verifications.run("cli:ana")
    assert (done.is_clean, done.wrong, done.actor) == (True, (), "cli:ana")
    assert verifications.page(cursor=None, limit=5) == [done]
    assert told.events == []


def test_a_difference_in_a_bucket_is_found_by_the_night_kept_logged_and_told_once_a_run(
    verifications: Verifications, told: Told, database: Database, clock: Clock
) -> None:
    assert verifications.nightly() is not None
    plant(database)
    ticks = Ticks(database, "alice")
    with capture_logs() as logs:
        for _ in range(6 * 24 + 6):
            clock.advance(600)
            ticks.run("verify", 600, verifications.nightly)
    found = [one for one in verifications.page(cursor=None, limit=9) if one.wrong]
    assert [one.actor for one in found] == [NIGHTLY], "the night came once in 25 hours"
    assert datetime.fromtimestamp(found[0].at).astimezone(tz=None).timestamp() % DAY == 3 * HOUR
    (of_entries, of_statement) = found[0].wrong
    assert "has used 39999" in of_entries
    assert "its entries make used 40000" in of_entries
    assert "booked 39999" in of_statement
    assert told.events == [
        (
            "ledger.mismatch",
            None,
            {"verification": found[0].id, "count": 2, "differences": list(found[0].wrong)},
        )
    ]
    assert [(line["event"], line["log_level"]) for line in logs if line["log_level"] == "error"] == [
        ("ledger_mismatch", "error")
    ]
    verifications.run("user:ana@example.com")
    assert len(told.events) == 2, "who looks again is told again"


def test_of_two_processes_that_look_at_once_one_tells(
    verifications: Verifications, told: Told, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(database)
    other = looking(database, told)

    def slowly() -> list[str]:
        assert other.nightly() is not None
        return other.differences()

    monkeypatch.setattr(verifications, "differences", slowly)
    assert verifications.nightly() is None
    assert len(told.events) == len(verifications.page(cursor=None, limit=5)) == 1


def test_operators_webhooks_are_told_and_those_of_tenants_are_not(
    verifications: Verifications, database: Database
) -> None:
    for tenant_id in (PLATFORM, "acme"):
        webhook = {
            "tenant_id": tenant_id, "id": f"hook_{tenant_id}", "url": "https://x.example", "types": [],
            "state": "active", "secret_version": 1, "version": 1, "created_at": 0,
        }  # fmt: skip
        with database.write() as tx:
            tx.execute(sa.insert(tables.webhook).values(webhook))
    plant(database)
    done = looking(database, Events(new_id)).run(NIGHTLY)
    with database.read() as tx:
        jobs = tx.execute(sa.select(tables.job.c.tenant_id, tables.job.c.payload)).all()
    assert [job.tenant_id for job in jobs] == [PLATFORM]
    assert jobs[0].payload["type"] == "ledger.mismatch"
    assert jobs[0].payload["data"]["verification"] == done.id


def test_of_very_many_differences_the_first_are_kept(
    verifications: Verifications, told: Told, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 1)
    monkeypatch.setattr(module, "TOLD", 1)
    plant(database)
    done = verifications.run(NIGHTLY)
    assert len(done.wrong) == 2
    assert done.wrong[1] == "and 1 more"
    assert (told.events[0][2]["count"], len(told.events[0][2]["differences"])) == (2, 1)


def test_with_the_database_away_nothing_is_kept_and_the_night_comes_again(
    verifications: Verifications, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> list[str]:
        raise LedgerUnavailable

    with monkeypatch.context() as outage:
        outage.setattr(verifications, "differences", away)
        with pytest.raises(LedgerUnavailable):
            verifications.nightly()
    assert verifications.page(cursor=None, limit=5) == []
    assert verifications.nightly() is not None
    assert verifications.nightly() is None


def test_verifications_are_listed_newest_first_page_by_page(verifications: Verifications) -> None:
    ids = [verifications.run("cli:ana").id for _ in range(3)]
    newest = verifications.page(cursor=None, limit=2)
    rest = verifications.page(cursor=newest[-1].id, limit=2)
    assert sorted(ids, reverse=True) == [one.id for one in (*newest, *rest)]
