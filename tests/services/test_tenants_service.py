"""Tenants are found by the beginning of their id, by any part of their name, and by state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, wire

from rollout.core.tenants import NewKey, Tenant
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    """With acme ("Acme Studios") and globex ("Globex Media")."""
    return wire(database, clock)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("AC", ["acme"]),
        ("studio", ["acme"]),
        ("MEDIA", ["globex"]),
        ("me", ["acme", "globex"]),
        ("lobex", ["globex"]),
        ("%", ["tenth"]),
        ("_", []),
        ("nobody", []),
    ],
)
def test_tenants_are_found_by_id_and_name(services: SimpleNamespace, search: str, found: list[str]) -> None:
    services.tenants.add(ALICE, Tenant("tenth", "The 10 % Club"), "another")
    assert [it.id for it in services.tenants.page(after=None, limit=9, search=search)] == found


def test_tenants_are_found_by_state_page_by_page(services: SimpleNamespace) -> None:
    services.tenants.set_state(ALICE, "acme", "suspended", "unpaid")
    page = services.tenants.page
    assert [it.id for it in page(after=None, limit=9, state="suspended")] == ["acme"]
    assert [it.id for it in page(after=None, limit=9, state="active")] == ["globex"]
    assert page(after="acme", limit=9, state="suspended") == []


def test_keys_that_open_nothing_can_be_left_out(services: SimpleNamespace, clock: Any) -> None:
    lasting, trial, lost = (
        services.keys.add(ALICE, "acme", NewKey(name, expires_at=end), "test").key
        for name, end in (("lasting", None), ("trial", int(clock()) + 60), ("lost", None))
    )
    services.keys.revoke(ALICE, "acme", lost.id, "it leaked")

    def usable() -> list[str]:
        return [key.id for key in services.keys.page("acme", after=None, limit=9, usable=True)]

    assert usable() == [lasting.id, trial.id]
    clock.advance(60)
    assert usable() == [lasting.id]
    assert len(services.keys.page("acme", after=None, limit=9)) == 3
