"""/admin/explain: the decision in words, each rule with its outcome, and what it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from console import SEED, Visitor

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import Advance
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


def test_who_is_out_reads_why_what_it_takes_and_what_the_tenant_is_told(visit: Visit) -> None:
    page = visit("viewer")
    assert page.get("/admin/explain").status_code == 200
    page.get("/admin/explain?tenant=globex")
    assert "off not granted" in page.text
    assert "lets in tenants with a grant that counts, and this one has none." in page.text
    assert "What the tenant is told Not open to you yet." in page.text
    assert "What would let it in" in page.text
    for taken in (
        "a grant in the cohort internal",
        "reach the phase wider_beta + the attribute program = beta",
    ):
        assert taken in page.text
    assert "grant IN active none not met" in page.text


def test_who_is_in_reads_by_whom_and_until_when(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "acme", GENERATION, "<i>pilot</i>", expires_at=int(time.time()) + 3600)
    page = visit("viewer")
    page.get("/admin/explain?tenant=acme&feature=image-generation")
    assert "on granted Granted from" in page.text
    assert "&lt;i&gt;pilot" in page.text
    assert "Given by system:seed" in page.text
    assert "What would take it away stop it for this tenant" in page.text
    assert "wait for its grant, until" in page.text


def test_a_time_past_is_told_from_the_audit_log(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    page.get(f"/admin/explain?tenant=globex&at={now}")
    assert "by the audit log." in page.text
    assert "off not granted" in page.text
    assert page.get("/admin/explain?tenant=globex&at=2001-01-01T00:00").status_code == 404
    assert page.get("/admin/explain?tenant=globex&at=2199-01-01T00:00").status_code == 400


def test_each_other_reason_has_its_sentence(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get(f"/admin/explain?tenant=acme&feature={ANALYSIS}")
    assert "Open to all: it has no plan." in page.text
    wired.features.kill(SEED, GENERATION, "their request", tenant="acme")
    page.get("/admin/explain?tenant=acme")
    assert "Stopped for this tenant by system:seed" in page.text
    wired.features.kill(SEED, GENERATION, "bad pictures")
    page.get("/admin/explain?tenant=globex")
    assert "Stopped for everyone by system:seed" in page.text
    assert "bad pictures" in page.text
    assert "revive it for everyone" in page.text
    wired.features.revive(SEED, GENERATION, "fixed")
    wired.tenants.change(SEED, "globex", {"attributes": {"program": "beta"}}, "joined")
    wired.change_requests.submit(SEED, GENERATION, Advance(), "ready")
    page.get("/admin/explain?tenant=globex")
    assert "Its attributes meet a condition that is open in the phase wider_beta" in page.text
    wired.tenants.change(SEED, "globex", {"attributes": {}}, "left")
    page.get("/admin/explain?tenant=globex")
    assert "No audience that is open in the phase wider_beta lets it in." in page.text
    wired.change_requests.submit(SEED, GENERATION, Advance("general_availability"), "launch")
    page.get("/admin/explain?tenant=globex")
    assert "The phase general_availability is open to all tenants." in page.text


def test_bad_input_is_said_by_name(visit: Visit) -> None:
    page = visit("viewer")
    assert page.get("/admin/explain?tenant=nobody").status_code == 404
    assert page.get("/admin/explain?tenant=acme&feature=image-dreaming").status_code == 400
    assert page.get("/admin/explain?when=now").status_code == 400
