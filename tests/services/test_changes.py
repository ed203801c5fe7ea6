"""The one way in for a change: value, audit entry and revision together, or not at all."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from rollout.core.audit import Actor, first_break
from rollout.core.tenants import Tenant
from rollout.db import audit, revision
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, StaleVersion
from rollout.services.changes import Changes
from rollout.services.tenants import Tenants

ANA = Actor("token:ana", "editor", "req_1")


@pytest.fixture
def tenants(database: Database) -> Tenants:
    return Tenants(database, Changes(database))


def chain(database: Database) -> str | None:
    with database.read() as tx:
        return first_break(audit.walk(tx), revision.audit_end(tx))


def test_a_change_is_audited_with_before_after_actor_and_reason(database: Database, tenants: Tenants) -> None:
    tenants.add(ANA, Tenant("acme", "Acme"), "first partner")
    tenants.change(ANA, "acme", {"name": "Acme Ltd"}, "their wish", based_on=1)
    with database.read() as tx:
        entries = [entry for entry, _ in audit.walk(tx)]
        number = revision.current(tx)
    assert [entry.action for entry in entries] == ["tenant.added", "tenant.changed"]
    assert entries[0].before is None
    assert entries[1].before is not None
    assert entries[1].after is not None
    assert (entries[1].before["name"], entries[1].after["name"]) == ("Acme", "Acme Ltd")
    assert (entries[1].actor, entries[1].reason, entries[1].request_id) == (
        "token:ana",
        "their wish",
        "req_1",
    )
    assert entries[1].revision == number
    assert chain(database) is None


def test_who_waits_for_changes_is_told_when_one_is_there_to_be_seen(database: Database) -> None:
    changes, seen = Changes(database), list[int]()
    tenants = Tenants(database, changes)

    def look() -> None:
        with database.read() as tx:
            seen.append(revision.current(tx))

    changes.landed = look
    tenants.add(ANA, Tenant("acme", "Acme"), "first partner")
    tenants.add(ANA, Tenant("globex", "Globex"), "a try", dry_run=True)
    with pytest.raises(InvalidRequest):
        tenants.add(ANA, Tenant("globex", "Globex"), " ")
    assert seen == [2]


def test_a_changed_a_removed_and_a_cut_off_row_are_found(database: Database, tenants: Tenants) -> None:
    for name in ("a", "b", "c"):
        tenants.add(ANA, Tenant(name, name), "seed")
    for statement, found in (
        ("update audit set reason = 'nothing to see' where seq = 2", "audit row 2 was changed"),
        ("delete from audit where seq = 2", "audit row 2 is missing"),
        ("delete from audit where seq >= 2", "audit rows after 1 are missing"),
    ):
        with database.write() as tx:
            tx.execute(sa.text(statement))
        assert chain(database) == found


def test_a_stale_version_changes_nothing_and_shows_the_value_as_it_is(
    database: Database, tenants: Tenants
) -> None:
    tenants.add(ANA, Tenant("acme", "Acme"), "first partner")
    tenants.change(ANA, "acme", {"name": "Hers"}, "she was first", based_on=1)
    with pytest.raises(StaleVersion) as caught:
        tenants.change(ANA, "acme", {"name": "Mine"}, "too late", based_on=1)
    assert caught.value.members["current"]["name"] == "Hers"
    assert tenants.get("acme").name == "Hers"
    assert chain(database) is None


def test_a_change_that_changes_nothing_leaves_no_trace(database: Database, tenants: Tenants) -> None:
    tenants.add(ANA, Tenant("acme", "Acme"), "first partner")
    tenants.set_state(ANA, "acme", "active", "it is already")
    with database.read() as tx:
        assert audit.last_seq(tx) == 1


def test_a_dry_run_checks_everything_and_keeps_nothing(database: Database, tenants: Tenants) -> None:
    assert tenants.add(ANA, Tenant("acme", "Acme"), "try", dry_run=True).id == "acme"
    assert tenants.page(after=None, limit=10) == []
    tenants.add(ANA, Tenant("acme", "Acme"), "now")
    with pytest.raises(Conflict):
        tenants.add(ANA, Tenant("acme", "Acme"), "again", dry_run=True)


@pytest.mark.parametrize("reason", [None, "", "   ", "x" * 2001])
def test_a_change_needs_a_reason(tenants: Tenants, reason: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tenants.add(ANA, Tenant("acme", "Acme"), reason)
    assert caught.value.members["param"] == "reason"
    assert tenants.page(after=None, limit=10) == []


def test_changes_by_many_at_once_leave_one_unbroken_chain(database: Database, tenants: Tenants) -> None:
    threads = [
        threading.Thread(target=tenants.add, args=(ANA, Tenant(f"t{n}", "T"), "storm")) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        assert [entry.seq for entry, _ in audit.walk(tx)] == list(range(1, 13))
    assert chain(database) is None
