"""/admin/api/v1/audit"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import Door, admin_door, wire

from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services, "vera", "viewer")


def test_changes_are_listed_newest_first_page_by_page_and_by_tenant(door: Door) -> None:
    _, first, _ = door.get("/audit?limit=3")
    _, rest, _ = door.get(f"/audit?cursor={first['next_cursor']}")
    seen = [row["seq"] for row in first["data"] + rest["data"]]
    assert seen == list(range(len(seen), 0, -1))
    assert len(first["data"]) == 3
    assert rest["next_cursor"] is None
    (row,) = door.get("/audit?tenant=globex")[1]["data"]
    assert (row["action"], row["subject"], row["actor"], row["before"]) == (
        "tenant.added",
        "globex",
        "token:alice",
        None,
    )
    assert [row["subject"] for row in door.get("/audit?subject=acme")[1]["data"]] == ["acme"]


def test_the_chain_is_verified_and_a_removed_row_is_found(door: Door, database: Database) -> None:
    assert door.get("/audit/verify")[1] == {"intact": True, "problem": None}
    with database.write() as tx:
        tx.execute(sa.text("delete from audit where seq = 2"))
    assert door.get("/audit/verify")[1] == {"intact": False, "problem": "audit row 2 is missing"}


@pytest.mark.parametrize(
    ("query", "param"),
    [("cursor=x", "cursor"), ("cursor=0", "cursor"), ("limit=501", "limit"), ("page=2", "page")],
)
def test_a_wrong_query_is_refused_by_name(door: Door, query: str, param: str) -> None:
    status, problem, _ = door.get(f"/audit?{query}")
    assert (status, problem["param"]) == (400, param)
