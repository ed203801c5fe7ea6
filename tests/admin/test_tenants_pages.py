"""/admin/tenants: who is there, who is in the beta, and all about one of them."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from console import SEED, Visitor

from rollout.core.decisions import GENERATION, Decision
from rollout.core.grants import Asking
from rollout.core.tenants import NewKey, Tenant
from rollout.core.tokens import NewToken, Role
from rollout.db import grants
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

NEW = {"id": "initech", "name": "Initech", "tz": "Asia/Jakarta", "reason": "third partner"}
SCRIPT = "<script>alert(1)</script>"


def newest(services: Services) -> Any:
    return services.audit.page(limit=1)[0]


@pytest.fixture
def queries(wired: Services) -> Callable[[], int]:
    """How many statements the database was sent so far."""
    sent: list[str] = []
    listen = sa.event.listens_for(wired.database.engine, "before_cursor_execute")
    listen(lambda _connection, _cursor, statement, *_rest: sent.append(statement))
    return lambda: len(sent)


# -- the list ------------------------------------------------------------------------------------------------


def test_the_list_says_who_is_in_the_beta_and_why(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "acme", GENERATION, "beta partner")
    wired.tenants.set_state(SEED, "globex", "suspended", "unpaid")
    page = visit("viewer")
    page.get("/admin/tenants")
    assert "Acme Studios acme on granted active Asia/Jakarta" in page.text
    assert "Globex Media globex off not granted suspended UTC" in page.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ac", ["acme"]),
        ("q=LOBEX", ["globex"]),
        ("q=%25", []),
        ("q=_", []),
        ("q=", ["acme", "globex"]),
        ("state=suspended&q=", ["globex"]),
        ("state=active", ["acme"]),
    ],
)
def test_tenants_are_found_by_id_name_and_state(
    wired: Services, visit: Visit, query: str, found: list[str]
) -> None:
    wired.tenants.set_state(SEED, "globex", "suspended", "unpaid")
    page = visit("viewer")
    assert page.get(f"/admin/tenants?{query}").status_code == 200
    assert [name for name in ("acme", "globex") if f'"/admin/tenants/{name}"' in page.page.text] == found


def test_a_long_list_goes_on_page_by_page_in_a_bounded_number_of_queries(
    wired: Services, visit: Visit, queries: Callable[[], int]
) -> None:
    for number in range(30):
        wired.tenants.add(SEED, Tenant(f"t{number:03}", f"Tenant {number}"), "many")
    page = visit("viewer")
    page.get("/admin/tenants?limit=5")
    before = queries()
    page.get("/admin/tenants?limit=5")
    few, before = queries() - before, queries()
    page.get("/admin/tenants?limit=25")
    assert queries() - before == few
    page.get("/admin/tenants?limit=20&state=active")
    assert "t017" in page.text
    assert "t018" not in page.text
    (following,) = [part.split('"')[0] for part in page.page.text.split('rel="next" href="')[1:]]
    page.get(following.replace("&amp;", "&"))
    assert "t018" in page.text
    assert "t017" not in page.text


def test_the_list_can_be_taken_away_with_the_same_filters(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "acme", GENERATION, "beta partner")
    page = visit("viewer")
    rows = list(csv.DictReader(page.get("/admin/tenants?format=csv").text.splitlines()))
    assert [(row["id"], row["allowed"], row["reason"]) for row in rows] == [
        ("acme", "true", "granted"),
        ("globex", "false", "not_granted"),
    ]
    (row,) = json.loads(page.get("/admin/tenants?format=json&q=glob").text)
    assert (row["id"], row["name"], row["allowed"]) == ("globex", "Globex Media", False)


def test_the_admin_api_finds_them_likewise(wired: Services, visit: Visit) -> None:
    wired.tenants.set_state(SEED, "globex", "suspended", "unpaid")
    headers = {"Authorization": f"Bearer {wired.tokens.add(SEED, NewToken('ana', 'viewer'), 'seed').secret}"}
    client = visit("viewer").app.test_client()
    for query, found in {
        "q=studio": ["acme"],
        "state=suspended": ["globex"],
        "q=a&state=suspended": ["globex"],
    }.items():
        answer = client.get(f"/admin/api/v1/tenants?{query}", headers=headers)
        assert [tenant["id"] for tenant in answer.json["data"]] == found, query


# -- adding and changing -------------------------------------------------------------------------------------


def test_a_tenant_is_added_with_its_attributes(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants")
    assert page.send("add-tenant", **NEW, attributes="program=beta\nregion = eu\n").status_code == 303
    added = wired.tenants.get("initech")
    assert (added.name, added.tz, added.attributes) == (
        "Initech",
        "Asia/Jakarta",
        {"program": "beta", "region": "eu"},
    )
    page.follow()
    assert "Tenant added: initech" in page.text
    assert newest(wired)["actor"] == "user:editor@example.com"


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        ({"id": "acme"}, 409, "There is a tenant &#39;acme&#39; already."),
        ({"id": "No Such"}, 400, "lower-case letters"),
        ({"id": "a" * 64}, 400, "lower-case letters"),
        ({"name": ""}, 400, "required"),
        ({"name": "n" * 201}, 400, "at most 200 characters"),
        ({"tz": "Mars/Olympus"}, 400, "There is no time zone"),
        ({"tz": "../../etc/passwd"}, 400, "There is no time zone"),
        ({"attributes": "program"}, 400, "Has one name=value on each line"),
        ({"attributes": f"name={'v' * 101}"}, 400, "Attributes map names"),
        ({"reason": " "}, 400, "A change needs a reason."),
        ({"name": "nul \x00"}, 400, "NUL"),
        ({"version": "1; drop table"}, 400, "version"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused_with_what_was_typed(
    wired: Services, visit: Visit, typed: dict[str, str], status: int, told: str
) -> None:
    page = visit("editor")
    page.get("/admin/tenants")
    before = newest(wired)["seq"]
    assert page.send("add-tenant", **{**NEW, **typed}).status_code == status
    assert told in page.page.text
    shown = page.form("add-tenant").fields
    assert (shown["reason"], shown["id"]) == (typed.get("reason", NEW["reason"]), typed.get("id", NEW["id"]))
    assert newest(wired)["seq"] == before


def test_a_name_with_a_script_in_it_is_text(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants")
    page.send("add-tenant", **{**NEW, "name": SCRIPT, "reason": SCRIPT})
    for path in ("/admin/tenants", "/admin/tenants/initech", "/admin/tenants/initech/keys"):
        shown = page.get(path).text
        assert SCRIPT not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_name_time_zone_and_attributes_are_changed(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    answer = page.send("tenant", name="Acme Ltd", tz="Asia/Makassar", attributes="region=id", reason="moved")
    assert answer.status_code == 303
    after = wired.tenants.get("acme")
    assert (after.name, after.tz, after.attributes) == ("Acme Ltd", "Asia/Makassar", {"region": "id"})
    page.get("/admin/tenants/acme")
    page.send("tenant", attributes="", reason="no longer")
    assert wired.tenants.get("acme").attributes == {}


def test_a_stale_form_changes_nothing_and_shows_both_values(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    wired.tenants.change(SEED, "acme", {"name": "Acme the first", "attributes": {"a": "b"}}, "faster")
    answer = page.send("tenant", name="Acme the second", attributes="c=d", reason="slower")
    assert answer.status_code == 409
    assert "now Acme the first, you wanted Acme the second" in page.text
    assert "now a=b, you wanted c=d" in page.text
    assert "region" not in page.text
    assert wired.tenants.get("acme").name == "Acme the first"
    assert page.send("tenant", name="Acme the second").status_code == 303, "once more, having seen it"
    assert wired.tenants.get("acme").name == "Acme the second"


def test_which_models_a_tenant_may_use_is_changed(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    chosen = {"vendors": ["openai", "anthropic"], "retired_models": "strict", "thinking_budgets": "strict"}
    assert page.send("models", **chosen, reason="agreed").status_code == 303
    after = wired.tenants.get("acme")
    assert after.vendors is not None
    assert (set(after.vendors), after.retired_models, after.thinking_budgets) == (
        {"openai", "anthropic"},
        "strict",
        "strict",
    )
    page.get("/admin/tenants/acme")
    assert page.send("models", vendors=[], retired_models="follow", reason="back").status_code == 303
    after = wired.tenants.get("acme")
    assert (after.vendors, after.retired_models, after.thinking_budgets) == (None, "follow", "strict")
    page.get("/admin/tenants/acme")
    assert page.send("models", vendors=["acme"], reason="typo").status_code == 400
    assert "There is no vendor" in page.text
    assert "the model that stands in for it answers" in visit("viewer").get("/admin/tenants/acme").text


def test_suspending_and_activating(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    assert page.send("suspend", reason="unpaid").status_code == 303
    page.follow()
    assert "This tenant is suspended" in page.text
    assert (newest(wired)["action"], newest(wired)["reason"]) == ("tenant.suspended", "unpaid")
    assert page.send("activate", reason="").status_code == 400
    assert page.send("activate", reason="paid").status_code == 303
    assert wired.tenants.get("acme").state == "active"


# -- one tenant ----------------------------------------------------------------------------------------------


def test_a_tenants_page_tells_each_decision_with_who_when_and_why(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    assert "Image generation off It has no grant, and without one nobody is let in." in page.text
    assert "Image analysis on Open to everyone." in page.text
    page.send("add-grant", expires_at="2099-03-01T07:00", cohort="early", reason="beta partner")
    assert page.page.status_code == 303
    page.follow()
    assert "Access granted: grt_" in page.text
    assert "Image generation on It has been let in by a grant." in page.text
    assert (
        "Until 1 Mar 2099, 07:00:00 By user:editor@example.com Reason beta partner Cohort early" in page.text
    )
    wired.features.kill(SEED, GENERATION, "looks odd", tenant="acme")
    page.get("/admin/tenants/acme")
    assert "Image generation stopped Stopped for this tenant." in page.text
    assert "By system:seed Reason looks odd" in page.text
    assert "Revive for this tenant" in page.text
    wired.features.kill(SEED, GENERATION, "fire")
    page.get("/admin/tenants/acme")
    assert "Image generation stopped Stopped for everyone." in page.text
    assert "Reason fire" in page.text


def test_a_grant_whose_time_is_over_says_so(wired: Services, visit: Visit) -> None:
    granted = wired.grants.add(SEED, "acme", GENERATION, "a trial", expires_at=int(time.time()) + 1000)
    with wired.database.write() as tx:
        grants.put(tx, dataclasses.replace(granted, starts_at=1, expires_at=1_700_000_000))
    page = visit("editor")
    page.get("/admin/tenants/acme")
    assert (
        "Image generation off Its grant has expired. Since 14 Nov 2023, 22:13:20 By system:seed" in page.text
    )
    page.send("add-grant", reason="another trial")
    assert wired.grants.page(tenant="acme", feature=None, before=None, limit=1)[0].state == "active"


def test_a_tenants_page_shows_meters_keys_ratings_and_the_waiting_request(
    wired: Services, visit: Visit
) -> None:
    wired.grants.add(SEED, "globex", GENERATION, "beta partner")
    wired.keys.add(SEED, "globex", NewKey("production", scopes=("generate",)), "first key")
    outside = Decision("dec_1", "acme", GENERATION, False, "not_granted", "private_beta", 1, 1)
    wired.access.ask(SEED, outside, Asking("covers"))
    page = visit("viewer")
    page.get("/admin/tenants/globex")
    assert "image-day Image generation · images a day 0 of 100" in page.text
    assert "money-month Image generation · dollars a month US$0.00 of US$100.00" in page.text
    assert "production rk_live_" in page.text
    assert "live generate it is revoked" in page.text
    assert "Nobody rated a picture of this tenant lately." in page.text
    assert "Key added" in page.text
    assert "first key" in page.text
    page.get("/admin/tenants/acme")
    assert "It asked for Image generation and waits at place 1." in page.text
    assert "No meter limits this tenant." in page.text
    assert "No key opens anything for this tenant." in page.text


def test_a_cap_is_changed_from_the_tenants_page_and_leads_back(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "acme", GENERATION, "beta partner")
    meter = wired.meters.named("acme", "money-month")
    page = visit("editor")
    page.get("/admin/tenants/acme")
    assert page.send(f"cap-{meter.id}", cap="12.5", reason="a smaller budget").status_code == 303
    assert page.page.headers["Location"].startswith("/admin/tenants/acme?done=")
    assert wired.meters.get(meter.id).cap == 12_500_000


def test_a_tenants_page_reads_a_bounded_number_of_rows_whatever_happened(
    wired: Services, visit: Visit, queries: Callable[[], int]
) -> None:
    page = visit("viewer")
    wired.grants.add(SEED, "acme", GENERATION, "beta partner")
    page.get("/admin/tenants/acme")
    before = queries()
    page.get("/admin/tenants/acme")
    few = queries() - before
    for number in range(30):
        wired.keys.add(SEED, "acme", NewKey(f"key {number}"), "many")
    page.get("/admin/tenants/acme")
    before = queries()
    page.get("/admin/tenants/acme")
    assert queries() - before == few
    assert page.text.count("rk_live_") == 20


@pytest.mark.parametrize("path", ["/admin/tenants/nope", "/admin/tenants/nope/keys", "/admin/tenants/ACME"])
def test_a_tenant_that_is_not_there_is_404(visit: Visit, path: str) -> None:
    assert visit("viewer").get(path).status_code == 404


@pytest.mark.parametrize(
    ("form", "path", "typed"),
    [
        ("tenant", "/admin/tenants/nope", {}),
        ("suspend", "/admin/tenants/nope/suspend", {}),
        ("activate", "/admin/tenants/nope/activate", {}),
        ("add-key", "/admin/tenants/nope/keys", {"name": "ci", "mode": "live", "scopes": "read"}),
    ],
)
def test_nothing_is_done_to_a_tenant_that_is_not_there(
    visit: Visit, form: str, path: str, typed: dict[str, str]
) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    fields = page.form("tenant").fields if form == "tenant" else page.form("suspend").fields
    sent = {**fields, **typed, "_form": form, "reason": "try"}
    assert page.client.post(path, data=sent).status_code == 404


def test_a_viewer_sees_what_is_not_theirs_and_cannot_do_it(wired: Services, visit: Visit) -> None:
    wired.grants.add(SEED, "acme", GENERATION, "beta partner")
    key = wired.keys.add(SEED, "acme", NewKey("ci"), "first").key
    page = visit("viewer")
    page.get("/admin/tenants/acme")
    assert {form.name for form in page.forms()} <= {"", "preferences", "sign-out"}
    assert page.text.count("needs the role editor") >= 4
    fields = {**page.form("sign-out").fields, "reason": "forged"}
    grant = wired.grants.page(tenant="acme", feature=None, before=None, limit=1)[0]
    before = newest(wired)["seq"]
    for path in (
        "/admin/tenants",
        "/admin/tenants/acme",
        "/admin/tenants/acme/suspend",
        "/admin/tenants/acme/activate",
        "/admin/tenants/acme/keys",
        f"/admin/tenants/acme/keys/{key.id}/rotate",
        f"/admin/tenants/acme/keys/{key.id}/revoke",
        "/admin/grants",
        f"/admin/grants/{grant.id}/expiry",
        f"/admin/grants/{grant.id}/revoke",
    ):
        assert page.client.post(path, data=fields).status_code == 403, path
    assert newest(wired)["seq"] == before
