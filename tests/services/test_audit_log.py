"""The audit log as it is read: filtered, page by page, and verified."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock
from doors import ALICE, BOB, wire

from rollout.core.tenants import NewKey
from rollout.db.engine import Database
from rollout.services import audit
from rollout.services.audit import Search, audit_json


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


def test_changes_are_listed_newest_first_by_tenant_and_subject(services: SimpleNamespace) -> None:
    key = services.keys.add(ALICE, "globex", NewKey("server"), "first key").key
    newest, older = services.audit.page(tenant="globex", limit=9)
    assert (newest["subject"], newest["actor"], newest["request_id"]) == (key.id, "token:alice", "req_alice")
    assert (older["action"], older["subject"]) == ("tenant.added", "globex")
    assert services.audit.page(tenant="globex", before=newest["seq"], limit=9) == [older]
    assert services.audit.page(subject=key.id, limit=9) == [newest]
    assert services.audit.page(limit=1) == [newest]


def test_a_row_is_shown_with_times_as_people_write_them(services: SimpleNamespace) -> None:
    (row,) = services.audit.page(subject="acme", limit=9)
    shown = audit_json(row)
    assert (shown["at"], shown["tenant"], shown["before"], shown["reason"]) == (
        "2026-11-22T12:00:00Z",
        "acme",
        None,
        "seed",
    )
    assert shown["after"]["name"] == "Acme Studios"


def test_an_untouched_log_verifies_and_a_changed_row_is_found(
    services: SimpleNamespace, database: Database
) -> None:
    assert services.audit.verify() is None
    with database.write() as tx:
        tx.execute(sa.text("update audit set reason = 'nothing to see' where seq = 2"))
    assert services.audit.verify() == "audit row 2 was changed"


def test_a_search_finds_by_actor_action_and_time(services: SimpleNamespace, clock: Clock) -> None:
    began = int(clock())
    clock.advance(60)
    services.tenants.change(BOB, "acme", {"name": "Acme Ltd"}, "their wish")
    clock.advance(60)
    services.tenants.change(ALICE, "acme", {"name": "Acme Inc"}, "their wish")

    def names(**wanted: Any) -> list[str]:
        found = services.audit.search(Search(**wanted), before=None, limit=9)
        assert found.next is None
        return [row["after"]["name"] for row in found.rows]

    assert names(action="tenant.changed") == ["Acme Inc", "Acme Ltd"]
    assert names(actor="token:bob") == ["Acme Ltd"]
    assert names(tenant="acme", since=began + 60) == ["Acme Inc", "Acme Ltd"]
    assert names(since=began + 61) == ["Acme Inc"]
    assert names(tenant="acme", since=began + 30, until=began + 120) == ["Acme Ltd"]
    assert names(until=began) == []
    assert names(since=began + 999) == []


def test_a_search_for_what_is_rare_goes_on_where_it_stopped(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXAMINED", 4)
    services.tenants.change(BOB, "globex", {"name": "Globex Ltd"}, "their wish")
    for number in range(10):
        services.tenants.change(ALICE, "acme", {"name": f"Acme {number}"}, "their wish")
    wanted, before, pages = Search(actor="token:bob"), None, []
    while True:
        found = services.audit.search(wanted, before=before, limit=9)
        pages.append([row["subject"] for row in found.rows])
        before = found.next
        if before is None:
            break
    assert pages[:3] == [[], [], ["globex"]]
    assert [row["subject"] for row in services.audit.walk(wanted)] == ["globex"]
    assert (
        services.audit.search(Search(tenant="globex", actor="token:bob"), before=None, limit=9).next is None
    )


def test_all_of_it_can_be_walked_in_pages(services: SimpleNamespace) -> None:
    seqs = [row["seq"] for row in services.audit.walk(Search(), at_once=2)]
    assert seqs == list(range(len(seqs), 0, -1))
    assert [row["seq"] for row in services.audit.page(limit=2)] == seqs[:2]


def test_the_newest_entries_can_be_verified_by_themselves(
    services: SimpleNamespace, database: Database
) -> None:
    services.tenants.change(ALICE, "acme", {"name": "Acme Ltd"}, "their wish")
    assert services.audit.verify(2) is None
    with database.write() as tx:
        tx.execute(sa.text("update audit set reason = 'nothing to see' where seq = 1"))
    assert services.audit.verify(2) is None
    assert services.audit.verify() == services.audit.verify(9) == "audit row 1 was changed"
    with database.write() as tx:
        tx.execute(sa.text("delete from audit where seq = (select max(seq) from audit)"))
    assert "missing" in services.audit.verify(2)
