"""/admin/api/v1/feedback: read by viewers, triaged by editors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE
from ratings import admin, client, partner, wire_ratings
from uses import add_generation

from rollout.core.tokens import NewToken
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire_ratings(database, clock)
    for tenant_id in ("acme", "globex"):
        add_generation(database, tenant_id=tenant_id)
        partner(wired, tenant_id).post("/feedback", {"generation": "gen_1", "rating": "down"})
    return wired


def test_feedback_of_all_tenants_is_listed_and_filtered(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    listed = viewer.get("/feedback")[1]["data"]
    assert [item["tenant"] for item in listed] == ["globex", "acme"]
    assert [item["tenant"] for item in viewer.get("/feedback?tenant=acme")[1]["data"]] == ["acme"]
    assert viewer.get("/feedback?state=spam")[1]["data"] == []
    assert viewer.get("/feedback?phase=private_beta&rating=down&limit=1")[1]["next_cursor"]
    assert viewer.get("/feedback?state=lost")[1]["param"] == "state"


def test_triage_is_based_on_what_was_read_and_audited(services: SimpleNamespace) -> None:
    editor = admin(services)
    item = editor.get("/feedback")[1]["data"][0]
    path = f"/feedback/{item['id']}"
    status, shown, headers = editor.get(path)
    assert (status, shown) == (200, item)
    change = {"state": "resolved", "reason": "told the vendor"}
    assert editor.patch(path, change)[1]["code"] == "precondition_required"
    status, changed, after = editor.patch(path, change, If_Match=headers["ETag"])
    assert (status, changed) == (200, {**item, "state": "resolved"})
    assert after["ETag"] != headers["ETag"]
    status, stale, _ = editor.patch(path, {**change, "state": "spam"}, If_Match=headers["ETag"])
    assert (status, stale["code"], stale["current"]["state"]) == (409, "stale_version", "resolved")
    audited = services.audit.page(tenant=item["tenant"], subject=item["id"], before=None, limit=9)
    assert len(audited) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"state": "resolved"}, "reason"),
        ({"state": "withdrawn", "reason": "why"}, "state"),
        ({"rating": "up", "reason": "why"}, "state"),
    ],
)
def test_a_wrong_change_is_named(services: SimpleNamespace, change: dict[str, str], param: str) -> None:
    editor = admin(services)
    path = f"/feedback/{editor.get('/feedback')[1]['data'][0]['id']}"
    status, problem, _ = editor.patch(path, change, If_Match='"1"')
    assert (status, problem["param"]) == (400, param)


def test_a_viewer_triages_nothing_and_the_unknown_is_not_found(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    path = f"/feedback/{viewer.get('/feedback')[1]['data'][0]['id']}"
    assert viewer.patch(path, {"state": "spam", "reason": "why"}, If_Match='"1"')[0] == 403
    assert viewer.get("/feedback/fb_unknown")[0] == 404


def test_an_admin_takes_everything_away(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    listed = viewer.get("/feedback")[1]["data"]
    status, exported, headers = viewer.get("/feedback/export?format=json")
    assert (status, exported) == (200, listed)
    assert headers["Content-Disposition"] == 'attachment; filename="feedback.json"'
    assert viewer.get("/feedback/export?format=json&tenant=acme")[1] == listed[1:]
    assert viewer.get("/feedback/export?format=xml")[1]["param"] == "format"


def test_ratings_are_counted_by_any_words(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    status, body, _ = viewer.get("/feedback/figures?by=phase,vendor&tenant=acme")
    bad = {"up": 0, "down": 1, "bad_share": 1.0}
    assert (status, body["by"], body["tz"]) == (200, ["phase", "vendor"], "UTC")
    assert body["data"] == [{"phase": "private_beta", "vendor": "openai", **bad}]
    assert body["total"] == bad
    nothing = viewer.get("/feedback/figures?from=2026-01-01&to=2026-01-02")[1]
    assert (nothing["data"], nothing["total"]) == ([], {"up": 0, "down": 0, "bad_share": None})


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=day,end_user", "by"),
        ("from=2026-11-22T01:00:00Z", "from"),
        ("tenant=nobody", "tenant"),
        ("since=2026-11-22", "since"),
    ],
)
def test_a_wrong_word_about_figures_is_named(services: SimpleNamespace, query: str, param: str) -> None:
    status, problem, _ = admin(services, "viewer").get(f"/feedback/figures?{query}")
    assert (status, problem["param"]) == (404 if param == "tenant" else 400, param)


def test_figures_come_as_csv_too(services: SimpleNamespace) -> None:
    token = services.tokens.add(ALICE, NewToken("sheet", "viewer"), "test").secret
    answer = client(services).get(
        "/admin/api/v1/feedback/figures?by=tenant,day&format=csv",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.text.splitlines() == [
        "tenant,day,up,down,bad_share",
        "acme,2026-11-22,0,1,1.0",
        "globex,2026-11-22,0,1,1.0",
    ]
