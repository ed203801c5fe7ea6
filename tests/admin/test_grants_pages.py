"""/admin/grants: who is let in, until when, and by whom it is ended."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.decisions import GENERATION
from rollout.core.grants import Grant
from rollout.core.tokens import NewToken, Role
from rollout.db import grants
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

NEXT_YEAR = int(time.time()) + 365 * 86_400


@pytest.fixture
def grant(wired: Services) -> Grant:
    return wired.grants.add(SEED, "acme", GENERATION, "beta partner", expires_at=NEXT_YEAR - NEXT_YEAR % 60)


def test_a_tenant_is_let_in_until_a_time_in_the_readers_zone(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/me")
    page.send("preferences", tz="Asia/Jakarta", language="en")
    page.get("/admin/grants")
    answer = page.send(
        "add-grant", tenant="acme", expires_at="2099-03-01T07:00", cohort="early", reason="beta partner"
    )
    assert answer.status_code == 303
    (added,) = wired.grants.page(tenant="acme", feature=None, before=None, limit=9)
    assert (added.expires_at, added.cohort, added.reason) == (4_076_006_400, "early", "beta partner")
    page.follow()
    assert "Access granted: grt_" in page.text
    assert "acme Image generation active" in page.text
    assert "1 Mar 2099, 07:00:00 early beta partner" in page.text


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        ({"tenant": "nope"}, 404, None),
        ({"tenant": ""}, 400, "required"),
        ({"feature": "time-travel"}, 400, "There is no feature"),
        ({"feature": "image-analysis"}, 400, "every tenant has it without a grant"),
        ({"expires_at": "2020-01-01T00:00"}, 400, "expires_at must lie in the future"),
        ({"expires_at": "32nd of May"}, 400, "Must be a date such as"),
        ({"cohort": "Early Birds"}, 400, "A cohort is 1-63"),
        ({"reason": ""}, 400, "A change needs a reason."),
        ({"tenant": "globex"}, 409, "has a grant of image-generation already"),
        ({"surprise": "field"}, 400, "surprise"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_with_what_was_typed(
    wired: Services, visit: Visit, typed: dict[str, str], status: int, told: str | None
) -> None:
    wired.grants.add(SEED, "globex", GENERATION, "first")
    page = visit("editor")
    page.get("/admin/grants")
    assert page.send("add-grant", **{"tenant": "acme", "reason": "new", **typed}).status_code == status
    assert told is None or told in page.text
    assert page.form("add-grant").fields["tenant"] == typed.get("tenant", "acme")
    assert wired.grants.page(tenant="acme", feature=None, before=None, limit=9) == []


def test_the_end_of_a_grant_is_moved_and_taken_away(wired: Services, visit: Visit, grant: Grant) -> None:
    page = visit("editor")
    page.get(f"/admin/grants/{grant.id}")
    assert page.send(f"expiry-{grant.id}", reason="as it is").status_code == 303
    assert wired.grants.get(grant.id) == grant, "the field holds the end to the second"
    page.get(f"/admin/grants/{grant.id}")
    page.send(f"expiry-{grant.id}", expires_at="2099-03-01T07:00", reason="longer")
    assert wired.grants.get(grant.id).expires_at == 4_076_031_600
    page.follow()
    page.send(f"expiry-{grant.id}", expires_at="", reason="for good")
    assert wired.grants.get(grant.id).expires_at is None
    assert page.page.headers["Location"].startswith(f"/admin/grants/{grant.id}?done=")


def test_a_stale_form_shows_both_ends_and_changes_nothing(
    wired: Services, visit: Visit, grant: Grant
) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    wired.grants.set_expiry(SEED, grant.id, 4_076_031_600, "faster")
    assert page.send(f"expiry-{grant.id}", expires_at="2098-01-01T00:00", reason="slower").status_code == 409
    assert "now 2099-03-01T07:00, you wanted 2098-01-01T00:00" in page.text
    assert wired.grants.get(grant.id).expires_at == 4_076_031_600
    page.send(f"expiry-{grant.id}", expires_at="2098-01-01T00:00", reason="yes, that")
    assert page.page.status_code == 303
    assert page.page.headers["Location"].startswith("/admin/tenants/acme"), "back to where the form was"


def test_a_grant_is_revoked_and_then_nothing_is_left_to_change(
    wired: Services, visit: Visit, grant: Grant
) -> None:
    page, late = visit("editor"), visit("admin")
    late.get(f"/admin/grants/{grant.id}")
    page.get("/admin/tenants/acme")
    assert page.send(f"revoke-{grant.id}", reason="left the beta").status_code == 303
    page.follow()
    assert "Access revoked" in page.text
    assert "Image generation off" in page.text
    assert late.send(f"expiry-{grant.id}", expires_at="", reason="too late").status_code == 409
    assert "revoked" in late.text
    assert "Somebody changed this" in late.text
    assert wired.grants.get(grant.id).state == "revoked"


def test_a_form_leads_nowhere_but_to_the_console(wired: Services, visit: Visit, grant: Grant) -> None:
    page = visit("editor")
    page.get(f"/admin/grants/{grant.id}")
    page.send(f"expiry-{grant.id}", expires_at="", reason="for good", next="https://evil.example/admin")
    assert page.page.headers["Location"].startswith("/admin?done=")


def test_grants_are_listed_by_tenant_feature_and_state(wired: Services, visit: Visit, grant: Grant) -> None:
    over = wired.grants.add(SEED, "globex", GENERATION, "<script>alert(1)</script>", expires_at=NEXT_YEAR)
    with wired.database.write() as tx:
        grants.put(tx, dataclasses.replace(over, starts_at=1, expires_at=2))
    page = visit("viewer")
    found = {
        "": ["acme", "globex"],
        "tenant=acme": ["acme"],
        f"feature={GENERATION}&tenant=&state=": ["acme", "globex"],
        "state=active": ["acme"],
        "state=expired": ["globex"],
        "state=revoked": [],
        "tenant=nope": [],
    }
    for query, tenants in found.items():
        page.get(f"/admin/grants?{query}")
        shown = [name for name in ("acme", "globex") if f'"/admin/tenants/{name}"' in page.page.text]
        assert shown == tenants, query
        assert "<script>alert" not in page.page.text
    assert page.get("/admin/grants?state=lost").status_code == 400
    assert page.get("/admin/grants/grt_nope").status_code == 404
    rows = list(csv.DictReader(page.get("/admin/grants?format=csv&state=expired").text.splitlines()))
    assert [(row["tenant"], row["state"]) for row in rows] == [("globex", "expired")]


def test_a_viewer_sees_a_grant_and_cannot_change_it(visit: Visit, grant: Grant) -> None:
    page = visit("viewer")
    page.get(f"/admin/grants/{grant.id}")
    assert "Change the end needs the role editor Revoke needs the role editor" in page.text


def test_the_console_writes_what_the_api_writes(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/grants")
    page.send("add-grant", tenant="acme", expires_at="2099-03-01T07:00", reason="beta partner")
    token = wired.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    body = {
        "tenant": "globex",
        "feature": GENERATION,
        "expires_at": "2099-03-01T07:00:00Z",
        "reason": "beta partner",
    }
    answer = page.app.test_client().post(
        "/admin/api/v1/grants", json=body, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 201
    rows = wired.audit.page(limit=20)
    by_console, by_api = (
        [likeness(row) for row in rows if row["tenant_id"] == name][:6] for name in ("acme", "globex")
    )
    assert by_console == by_api
    assert by_api[-1][0] == "grant.created"


def likeness(row: Any) -> Any:
    """A row without who, when, for whom, and the ids that were drawn."""
    drawn = ("id", "tenant_id", "starts_at", "created_at", "tz")
    after = {name: value for name, value in row["after"].items() if name not in drawn}
    return row["action"], row["before"], after, row["reason"], row["subject"] == row["after"]["id"]
