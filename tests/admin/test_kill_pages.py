"""/admin/kill: stopping in two clicks, seeing that it has stopped, and reviving."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor
from phases import hold_request

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.tokens import NewToken, Role
from rollout.services.registry import Services
from rollout.services.workers import Worker

Visit = Callable[[Role], Visitor]
STOP = f"/admin/kill/{GENERATION}"


def here(services: Services) -> Worker:
    """A worker that decides on what these services decide on."""
    made = Worker(services.database, "wrk_here", "host-1", 7, lambda: services.state.snapshot.revision)
    services.state.refresh()
    made.register()
    return made


def stopped(services: Services) -> list[tuple[str, str | None]]:
    return [(feature, stop["tenant"]) for feature, stop in services.switches.stops()]


def last_change(services: Services) -> dict[str, Any]:
    return dict(services.audit.page(limit=1)[0])


def test_two_clicks_and_a_reason_stop_generation_and_nothing_else(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    assert 'href="/admin/kill"' in page.get("/admin/plans").text
    page.get("/admin/kill")
    page.send("kill", reason="wrong pictures")
    assert page.page.status_code == 303, page.text
    assert page.page.headers["Location"].startswith(f"{STOP}?done=")
    assert "Stopped for everyone." in page.follow().text
    assert "wrong pictures" in page.text
    assert "user:editor@example.com" in page.text
    assert stopped(wired) == [(GENERATION, None)]


def test_the_panel_follows_the_workers_until_all_have_it(wired: Services, visit: Visit) -> None:
    worker = here(wired)
    with (
        wired.ledger.hold(hold_request("acme", dispatch=False)),
        wired.ledger.hold(hold_request("globex")) as running,
    ):
        page = visit("editor")
        page.get("/admin/kill")
        page.send("kill", reason="wrong pictures")
        page.follow()
        assert "0 of 1 workers" in page.text
        assert "1 hold void" in page.text
        assert "1 running" in page.text
        assert "Last served never" in page.text
        asked = re.search(r'hx-get="([^"]+)"', page.page.text)
        assert asked
        assert asked[1] == f"{STOP}/acks"
        assert page.page.text.count("data-announce") == 1
        first = page.get(asked[1], HX_Request="true").text
        assert first == page.get(asked[1], HX_Request="true").text
        assert "<html" not in first
        wired.state.refresh()
        worker.report()
        assert re.search(r"1 of 1 workers, [0-9.]+ s", page.get(asked[1]).text)
        assert "data-refresh" in page.page.text
        running.void("refused")
    assert "data-refresh" not in page.get(asked[1]).text
    assert "data-refresh" not in page.get(STOP).text


def test_the_panel_of_a_session_that_ended_leads_to_the_entrance(wired: Services, visit: Visit) -> None:
    wired.features.kill(SEED, GENERATION, "incident", wait=0)
    page = visit("viewer")
    page.client.delete_cookie("phasegate_session", path="/admin")
    answer = page.get(f"{STOP}/acks", HX_Request="true")
    assert (answer.status_code, "HX-Redirect" in answer.headers) == (401, True)


def test_a_stop_does_not_wait_for_a_worker_that_sleeps(
    wired: Services, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(wired)
    monkeypatch.setattr(wired.workers, "_sleep", lambda _seconds: pytest.fail("the browser waits"))
    page = visit("editor")
    page.get("/admin/kill")
    assert page.send("kill", reason="wrong pictures").status_code == 303


def test_of_two_features_one_that_is_not_there_stops_neither(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/kill")
    page.send("kill", features=[GENERATION, "image-dreaming"], reason="why")
    assert page.page.status_code == 400
    assert stopped(wired) == []


def test_analysis_is_stopped_only_by_its_name(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/kill")
    kill = next(form for form in page.forms() if form.name == "kill")
    assert kill.fields["features"] == GENERATION
    for typed in ("", "image-generation", "IMAGE-ANALYSIS"):
        page.send("kill", features=[GENERATION, ANALYSIS], confirm=typed, reason="breach")
        assert page.page.status_code == 400
        assert 'id="kill-confirm-error"' in page.page.text
        assert page.page.text.count(" checked") == 2
    assert stopped(wired) == []
    page.send("kill", features=[GENERATION, ANALYSIS], confirm=ANALYSIS, reason="breach")
    assert page.page.status_code == 303
    assert stopped(wired) == [(GENERATION, None), (ANALYSIS, None)]
    page.follow()
    assert page.text.count("breach") == 2


def test_one_tenant_is_stopped_and_its_stop_has_its_own_page(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/kill?tenant=acme")
    page.send("kill", reason="abuse", in_flight="withhold", remind_at="2199-01-01T08:00")
    page.follow()
    assert "Stopped for one tenant." in page.text
    assert "charged, and withheld" in page.text
    assert "2199" in page.text
    assert stopped(wired) == [(GENERATION, "acme")]
    assert page.get(STOP).status_code == 404
    text = page.get("/admin/kill").text
    assert f'href="{STOP}?tenant=acme"' in text


@pytest.mark.parametrize(
    ("typed", "param", "status"),
    [
        ({"reason": ""}, "reason", 400),
        ({"tenant": "nobody"}, "tenant", 404),
        ({"features": None}, "features", 400),
        ({"remind_at": "2001-01-01T00:00"}, "remind_at", 400),
        ({"remind_at": "soon"}, "remind_at", 400),
        ({"in_flight": "drop"}, "in_flight", 400),
    ],
)
def test_a_stop_that_makes_no_sense_stops_nothing_and_names_the_field(
    wired: Services, visit: Visit, typed: dict[str, Any], param: str, status: int
) -> None:
    page = visit("editor")
    page.get("/admin/kill")
    page.send("kill", **{"reason": "why", **typed})
    assert page.page.status_code == status
    assert f'id="kill-{param}-error"' in page.page.text
    assert stopped(wired) == []


def test_stopping_what_is_stopped_needs_no_version_and_renews_the_reason(
    wired: Services, visit: Visit
) -> None:
    page = visit("editor")
    page.get("/admin/kill")
    wired.features.kill(SEED, GENERATION, "first", wait=0)
    page.send("kill", reason="second")
    assert "second" in page.follow().text


def test_an_admin_revives_and_an_editor_sees_why_not(wired: Services, visit: Visit) -> None:
    wired.features.kill(SEED, GENERATION, "incident", wait=0)
    wired.features.kill(SEED, GENERATION, "abuse", tenant="acme", wait=0)
    editor, admin = visit("editor"), visit("admin")
    editor.get(STOP)
    assert "Revive needs the role admin" in editor.text
    admin.get(STOP)
    admin.send("revive", reason="fixed")
    assert "Not stopped for everyone." in admin.follow().text
    admin.get(f"{STOP}?tenant=acme")
    admin.send("revive", reason="talked to them")
    admin.follow()
    assert "Revived by user:admin@example.com" in admin.text
    assert stopped(wired) == []


def test_who_revives_second_sees_who_was_first(wired: Services, visit: Visit) -> None:
    wired.features.kill(SEED, GENERATION, "incident", wait=0)
    page = visit("admin")
    page.get(STOP)
    wired.features.revive(SEED, GENERATION, "I was first", wait=0)
    page.send("revive", reason="me too")
    assert page.page.status_code == 409
    assert "image-generation is not killed for everyone." in page.text
    assert "I was first" in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/kill/image-dreaming", 404),
        (f"{STOP}?tenant=nobody", 404),
        (STOP, 404),
        (f"{STOP}/acks", 404),
        ("/admin/kill?colour=red", 400),
        ("/admin/kill?tenant=", 200),
    ],
)
def test_a_stop_that_is_not_there_is_not_found(wired: Services, visit: Visit, path: str, status: int) -> None:
    assert visit("viewer").get(path).status_code == status


def test_a_viewer_sees_stops_and_workers_and_stops_nothing(wired: Services, visit: Visit) -> None:
    here(wired)
    wired.features.kill(SEED, GENERATION, "incident", wait=0)
    viewer, editor = visit("viewer"), visit("editor")
    viewer.get("/admin/kill")
    assert "Stop now needs the role editor" in viewer.text
    viewer.get("/admin/workers")
    assert "host-1 7 running" in viewer.text
    token = next(form for form in viewer.forms() if form.name == "sign-out").fields["_token"]
    sent = {"features": ANALYSIS, "confirm": ANALYSIS, "reason": "x"}
    assert viewer.client.post("/admin/kill", data={**sent, "_token": token}).status_code == 403
    assert editor.client.post("/admin/kill", data=sent).status_code == 403
    assert editor.client.post("/admin/kill", data={**sent, "_token": token}).status_code == 403
    editor.get(STOP)
    own = next(form for form in editor.forms() if form.name == "sign-out").fields["_token"]
    answer = editor.client.post(f"{STOP}/revive", data={"reason": "x", "_token": own})
    assert answer.status_code == 403
    assert stopped(wired) == [(GENERATION, None)]


def test_a_stop_made_here_is_audited_as_one_made_by_the_api(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/kill?tenant=acme")
    page.send("kill", reason="abuse")
    by_page = last_change(wired)
    secret = wired.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    answer = page.app.test_client().post(
        f"/admin/api/v1/features/{GENERATION}/kill",
        json={"reason": "abuse", "tenant": "globex"},
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.status_code == 200
    by_api = last_change(wired)
    assert (by_page["actor"], by_api["actor"]) == ("user:editor@example.com", "token:ana")
    for name in ("action", "subject", "reason", "before"):
        assert by_page[name] == by_api[name]
    own = {"tenant_id", "changed_by", "changed_at_ms", "revision"}
    assert {name: value for name, value in by_page["after"].items() if name not in own} == {
        name: value for name, value in by_api["after"].items() if name not in own
    }
