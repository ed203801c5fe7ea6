"""/admin/audit: who changed what, from what to what, why; and whether the log is whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from console import SEED, Visitor

from rollout.core.decisions import GENERATION
from rollout.core.tokens import Role
from rollout.services import audit
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


def test_an_entry_shows_only_what_differs_and_why(wired: Services, visit: Visit) -> None:
    wired.tenants.change(SEED, "acme", {"name": "Acme <Ltd>"}, "their <b>wish</b>")
    page = visit("viewer")
    page.get("/admin/audit?subject=acme&action=tenant.changed")
    entry = page.text[page.text.index("Tenant changed acme") :]
    assert "their &lt;b&gt;wish" in entry
    assert "name Acme Studios Acme &lt;Ltd&gt;" in entry
    assert "Asia/Jakarta" not in entry
    row = wired.audit.page(subject="acme", limit=1)[0]
    assert f"Entry {row['seq']}, revision {row['revision']}" in entry
    assert row["hash"] in entry


def test_the_log_is_filtered_by_who_what_whom_and_when(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "globex", GENERATION, "pilot")
    page = visit("viewer")
    for query, shown, hidden in (
        ("tenant=globex", "Access granted", "User added"),
        ("action=user.added&actor=system:seed", "User added", "Access granted"),
        ("actor=user:nobody", "No change was like that", "Access granted"),
        ("from=2001-01-01&to=2001-02-01T12:00", "No change was like that", "Access granted"),
        ("from=2001-01-01&tenant=", "Access granted", "No change was like that"),
    ):
        page.get(f"/admin/audit?{query}")
        entries = page.text[page.text.rindex("Show") :]
        assert page.page.status_code == 200
        assert shown in entries, query
        assert hidden not in entries, query
    for wrong in ("cursor=x", "limit=0", "from=soon", "colour=red"):
        assert page.get(f"/admin/audit?{wrong}").status_code == 400


def test_a_search_that_has_not_looked_at_all_yet_offers_to_look_further_back(
    wired: Services, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired.tenants.change(SEED, "acme", {"name": "Acme Ltd"}, "their wish")
    page = visit("viewer")
    monkeypatch.setattr(audit, "EXAMINED", 1)
    page.get("/admin/audit?action=tenant.added")
    assert "the next page looks further back" in page.text
    assert 'rel="next"' in page.page.text


def test_the_log_can_be_taken_away(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    rows = page.get("/admin/audit?format=json").get_json()
    assert [row["seq"] for row in rows] == list(range(len(rows), 0, -1))
    assert page.get("/admin/audit?format=csv&tenant=acme").text.startswith("seq,revision,at,actor")


def test_the_chain_is_verified_in_words(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/audit/verify")
    assert "Yes: among its newest 500 entries none was changed" in page.text
    with wired.database.write() as tx:
        tx.execute(sa.text("update audit set reason = 'nothing to see' where seq = 2"))
    page.get("/admin/audit/verify")
    assert "No: the chain breaks. audit row 2 was changed" in page.text
