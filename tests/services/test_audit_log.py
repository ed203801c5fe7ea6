"""The audit log as it is read: filtered, page by page, and verified."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, wire

from rollout.core.tenants import NewKey
from rollout.db.engine import Database
from rollout.services.audit import audit_json


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
