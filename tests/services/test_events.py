"""Events become jobs for those who want to know, in the transaction that they tell of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from clocks import Clock

from rollout.core.audit import Actor
from rollout.core.jobs import Job
from rollout.core.meters import PLATFORM
from rollout.core.tenants import Tenant
from rollout.core.webhooks import Webhook
from rollout.db import webhooks
from rollout.db.engine import Database
from rollout.db.jobs import page
from rollout.services.changes import Changes
from rollout.services.events import ATTEMPTS, Event, Events
from rollout.services.ids import ids_by
from rollout.services.tenants import Tenants

ANA = Actor("token:ana")
DATA = {"tenant": "acme", "threshold": 80}


@pytest.fixture
def events(database: Database, clock: Clock) -> Events:
    changes = Changes(database)
    for tenant in ("acme", "globex"):
        Tenants(database, changes).add(ANA, Tenant(tenant, tenant), "seed")
    return Events(ids_by(clock))


def hook(database: Database, tenant_id: str, *types: str, state: str = "active") -> str:
    made = Webhook(tenant_id, f"wh_{tenant_id}_{len(types)}_{state}", "https://example.com", types, 0, state)  # type: ignore[arg-type]
    with database.write() as tx:
        webhooks.add(tx, made)
    return made.id


def waiting(database: Database) -> list[Job]:
    with database.read() as tx:
        return page(tx, before=None, limit=99)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database in the block."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(database.engine, "before_cursor_execute", note)


def test_who_wants_to_know_is_told_and_nobody_else(events: Events, database: Database) -> None:
    told = {
        hook(database, "acme"),
        hook(database, "acme", "quota.threshold", "quota.exhausted"),
        hook(database, PLATFORM, "quota.threshold"),
    }
    hook(database, "acme", "quota.exhausted")
    hook(database, "acme", state="disabled")
    hook(database, "globex")
    with database.write() as tx:
        events.emit(tx, 1_795_348_800, "quota.threshold", "acme", DATA)
    jobs = waiting(database)
    assert {job.subject for job in jobs} == told
    assert {job.tenant_id for job in jobs} == {"acme", PLATFORM}
    assert all(job.max_attempts == ATTEMPTS and job.run_at == 1_795_348_800 for job in jobs)
    assert jobs[0].payload == {"type": "quota.threshold", "timestamp": "2026-11-22T12:00:00Z", "data": DATA}


def test_what_concerns_no_tenant_is_told_to_the_operators_only(events: Events, database: Database) -> None:
    own = hook(database, PLATFORM)
    hook(database, "acme")
    with database.write() as tx:
        events.emit(tx, 0, "ledger.mismatch", None, {})
        events.emit(tx, 0, "quota.threshold", PLATFORM, {})
    assert [job.subject for job in waiting(database)] == [own, own]


def test_an_event_is_told_if_and_only_if_its_change_committed(events: Events, database: Database) -> None:
    hook(database, "acme")
    changes = Changes(database, events)

    def fail() -> None:
        with changes.begin(ANA, "try") as change:
            change.tell("grant.created", "acme", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with changes.begin(ANA, "try", dry_run=True) as change:
        change.tell("grant.created", "acme", {})
    assert waiting(database) == []
    with changes.begin(ANA, "do it") as change:
        change.tell("grant.created", "acme", {})
    assert [job.payload["type"] for job in waiting(database)] == ["grant.created"]


def test_the_same_event_waits_once_for_each_webhook(events: Events, database: Database) -> None:
    hook(database, "acme")
    hook(database, PLATFORM)
    for _ in range(2):
        with database.write() as tx:
            events.emit(tx, 0, "quota.threshold", "acme", DATA, dedupe="mtr_1:80")
    assert len(waiting(database)) == 2


def test_where_nobody_wants_to_know_it_costs_one_look_however_many_events(
    events: Events, database: Database
) -> None:
    many = [Event("quota.threshold", tenant, DATA) for tenant in ("acme", "globex") for _ in range(50)]
    with statements(database) as sent, database.write() as tx:
        events.emit_all(tx, 0, many)
        events.emit_all(tx, 0, [])
    assert len([statement for statement in sent if "webhook" in statement]) == 1
