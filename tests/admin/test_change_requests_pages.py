"""Pages of what a plan waits for: its gates, changes that wait for another person, schedules; and the home page, which tells of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance, Edit, Pause, Restart, Resume
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
PLAN = f"/admin/plans/{GENERATION}"
ANA = Actor("token:ana", "editor")


@pytest.fixture
def careful(wired: Services) -> Services:
    """A plan under four eyes, at private_beta."""
    wired.change_requests.submit(SEED, GENERATION, Edit({"four_eyes": True}), "two people from now on")
    return wired


def filed(services: Services, step: Any = None) -> str:
    """A change that ana filed."""
    request = services.change_requests.submit(
        ANA, GENERATION, step or Advance(), "three quiet weeks"
    ).change_request
    assert request
    return str(request["id"])


def phase(services: Services) -> str:
    return str(services.plans.get(GENERATION)["run"]["phase"])


def test_an_advance_under_four_eyes_is_filed_and_approved_by_another_person(
    careful: Services, visit: Visit
) -> None:
    careful.tenants.change(SEED, "acme", {"attributes": {"program": "beta"}}, "joined")
    author = visit("editor")
    author.get(f"{PLAN}/advance")
    assert author.send("move", reason="three quiet weeks").status_code == 303
    author.follow()
    assert "Change filed for approval" in author.text
    assert "filed by user:editor@example.com , 0 of 1 approved" in author.text
    (request,) = careful.change_requests.page(feature=None, state=None, before=None, limit=9)
    address = f"/admin/change-requests/{request['id']}"
    author.get(address)
    assert "Nobody approves their own change" in author.text
    assert [form.name for form in author.forms() if form.name in ("approve", "reject")] == []

    other = visit("admin")
    other.get("/admin/change-requests")
    assert "Advance: wider_beta Image generation waiting 0 of 1" in re.sub(" :", ":", other.text)
    other.get(address)
    assert "1 tenant gains access. 0 tenants lose it." in other.text
    assert 'phase "private_beta" "wider_beta"' in other.text.replace("&#34;", '"')
    assert other.send("approve", reason="figures are fine").status_code == 303
    other.follow()
    assert phase(careful) == "wider_beta"
    assert "Approved and done." in other.text


def test_an_edit_shows_what_it_changes_and_is_rejected(careful: Services, visit: Visit) -> None:
    request = filed(careful, Edit({"phases": {"percentage": {"title": "A tenth"}}}))
    page = visit("editor")
    page.get(f"/admin/change-requests/{request}")
    assert 'phases.percentage.title "Percentage" "A tenth"' in page.text.replace("&#34;", '"')
    assert "Nobody gains or loses access." in page.text
    page.send("reject", reason="wait for the names")
    assert "wait for the names" in page.follow().text
    assert careful.change_requests.get(request)["state"] == "rejected"


def test_who_filed_a_change_withdraws_it(careful: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/restart")
    page.send("move", reason="new figures")
    (request,) = careful.change_requests.page(feature=None, state=None, before=None, limit=9)
    page.get(f"/admin/change-requests/{request['id']}")
    page.send("withdraw", reason="not needed")
    assert careful.change_requests.get(request["id"])["state"] == "withdrawn"


def test_what_was_shown_is_what_is_approved(careful: Services, visit: Visit) -> None:
    """While the page was open the plan was paused and resumed: the change is void, and the approval is not kept."""
    request = filed(careful)
    page = visit("editor")
    page.get(f"/admin/change-requests/{request}")
    for step in (Pause(), Resume()):
        careful.change_requests.submit(SEED, GENERATION, step, "trouble")
    assert page.send("approve", reason="figures are fine").status_code == 409
    assert "Somebody was faster" in page.text
    assert "void" in page.text
    assert phase(careful) == "private_beta"


def test_a_forged_hash_approves_nothing(careful: Services, visit: Visit) -> None:
    request = filed(careful)
    page = visit("editor")
    page.get(f"/admin/change-requests/{request}")
    assert page.send("approve", reason="fine", content_hash="0" * 64).status_code == 409
    assert careful.change_requests.get(request)["approvals"] == []
    page.get(f"/admin/change-requests/{request}")
    assert page.send("approve", reason="").status_code == 400


def test_who_only_reads_sees_and_decides_nothing(careful: Services, visit: Visit) -> None:
    request = filed(careful)
    page = visit("viewer")
    page.get(f"/admin/change-requests/{request}")
    assert "needs the role editor" in page.text
    assert [form.name for form in page.forms() if form.name in ("approve", "reject", "withdraw")] == []
    assert page.get("/admin/change-requests/chg_none").status_code == 404


def test_lists_are_filtered_and_taken_away(careful: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/change-requests")
    assert "Nothing waits." in page.text
    request = filed(careful)
    careful.change_requests.reject(SEED, request, "no")
    assert "No change request is like that." in page.get("/admin/change-requests?state=applied").text
    page.get(f"/admin/change-requests?state=any&feature={GENERATION}")
    assert "rejected" in page.text
    rows = page.get("/admin/change-requests?state=any&format=json").get_json()
    assert [row["id"] for row in rows] == [request]
    assert page.get("/admin/change-requests?state=none").status_code == 400


def test_a_plan_says_how_its_gates_stand(wired: Services, visit: Visit) -> None:
    gates = {"exit": {"seconds": 7200, "requests": 20}, "hold": {"failed_percent": 5}}
    wired.change_requests.submit(SEED, GENERATION, Restart(gates), "with gates")
    page = visit("editor")
    page.get(PLAN)
    assert "hours in this phase: 2 not yet 0" in page.text
    assert "requests: 20 at least nothing yet 0 20 more needed" in page.text
    assert "failed: 5% at most nothing yet — 1 more needed" in page.text
    page.get(f"{PLAN}/advance")
    assert page.send("move", reason="ready").status_code == 409
    assert "private_beta needs 20 more requests" in page.text
    assert phase(wired) == "private_beta"


def test_a_step_is_scheduled_and_cancelled_on_the_plans_page(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(PLAN)
    assert "Nothing is planned." in page.text
    assert page.send("schedule", at="2020-01-01T09:00", reason="late").status_code == 400
    assert "at must lie in the future" in page.text
    sent = page.send("schedule", at="2199-03-01T09:00", do="advance", to="percentage", reason="as agreed")
    assert sent.status_code == 303
    page.follow()
    assert "Step scheduled" in page.text
    assert "Advance: percentage planned user:editor@example.com as agreed" in page.text
    wired.change_requests.submit(SEED, GENERATION, Pause(), "trouble")
    page.get(PLAN)
    assert "The plan is another one since: nothing will be done." in page.text
    (schedule,) = wired.schedules.open_of(GENERATION)
    page.send(f"cancel-{schedule['id']}", reason="another day")
    page.follow()
    assert "Nothing is planned." in page.text
    assert page.client.post("/admin/schedules/sch_none/cancel").status_code in (403, 404)


def test_what_is_typed_into_a_schedule_is_refused_beside_its_field(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(PLAN)
    assert page.send("schedule", at="soon", reason="x").status_code == 400
    page.get(PLAN)
    assert page.send("schedule", at="2199-03-01T09:00", do="jump", to="", reason="x").status_code == 400
    assert wired.schedules.open_of(GENERATION) == []


def test_home_tells_of_changes_that_wait_and_of_conflicts(
    careful: Services, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = filed(careful)
    in_an_hour = int(time.time()) + 3600
    careful.schedules.add(ANA, GENERATION, in_an_hour, Pause(), "as agreed")
    page = visit("viewer")
    page.get("/admin")
    assert "A change of Image generation waits for approval: token:ana filed it" in page.text
    assert f'href="/admin/change-requests/{request}"' in page.page.text
    assert "was not taken" not in page.text
    careful.change_requests.submit(SEED, GENERATION, Pause(), "trouble")
    monkeypatch.setattr(careful.database, "clock", lambda: in_an_hour)
    careful.controller.tick()
    page.get("/admin")
    assert "waits for approval" not in page.text
    assert "by token:ana and was not taken: the plan is another one since." in page.text
    page.get(PLAN)
    assert "in conflict It was planned on version 2; the plan is at 3." in page.text
