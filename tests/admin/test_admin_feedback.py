"""/admin/api/v1/feedback: read by viewers, triaged by editors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ratings import admin, partner, wire_ratings
from uses import add_generation

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
