"""/admin/plans: where features stand, who is in, and moves that say what they come to before they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import Advance, Pause, Resume, RollBack
from rollout.core.tokens import NewToken, Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
PLAN = f"/admin/plans/{GENERATION}"


@pytest.fixture
def plan(wired: Services) -> Services:
    """Globex is granted; acme would come with the wider beta."""
    wired.grants.add(SEED, "globex", GENERATION, "pilot customer")
    wired.tenants.change(SEED, "acme", {"attributes": {"program": "beta"}}, "joined")
    return wired


def standing(services: Services) -> tuple[str, str, int]:
    found = services.plans.get(GENERATION)
    return found["run"]["phase"], found["run"]["state"], found["version"]


def last_change(services: Services) -> dict[str, Any]:
    return dict(services.audit.page(limit=1)[0])


def test_a_card_says_where_a_feature_stands_and_how_many_are_in(plan: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/plans")
    assert page.page.status_code == 200
    assert "Internal Private beta running Wider beta Percentage Half of all General availability" in page.text
    assert "Who is in 1 tenant" in page.text
    assert "Image analysis has no plan" in page.text
    assert "Stopped for everyone" not in page.text
    plan.features.kill(SEED, GENERATION, "incident", wait=0)
    assert f'href="/admin/kill/{GENERATION}"' in page.get("/admin/plans").text


def test_a_plan_shows_its_phases_in_words_who_is_in_and_its_past(plan: Services, visit: Visit) -> None:
    plan.change_requests.submit(SEED, GENERATION, Advance(), "ready")
    page = visit("viewer")
    page.get(PLAN)
    assert "tenants with a grant in the cohort internal" in page.text
    assert "tenants with program IN beta" in page.text
    assert "10% of all tenants, always the same ones" in page.text
    assert "every tenant" in page.text
    assert "200 images a day" in page.text
    assert "acme Acme Studios by its attributes" in page.text
    assert "globex Globex Media granted" in page.text
    assert "private_beta completed" in page.text
    assert page.get(f"/admin/plans/{ANALYSIS}").status_code == 404
    assert page.get("/admin/plans/image-dreaming").status_code == 404


def test_who_is_in_comes_in_pages_and_can_be_taken_away(plan: Services, visit: Visit) -> None:
    plan.change_requests.submit(SEED, GENERATION, Advance("general_availability"), "launch")
    page = visit("viewer")
    first = page.get(f"{PLAN}?limit=1").text
    assert ">acme</a>" in first
    assert ">globex</a>" not in first
    assert ">globex</a>" in page.get(f"{PLAN}?limit=1&cursor=acme").text
    rows = page.get(f"{PLAN}?format=json&limit=1").get_json()
    assert [(row["tenant"], row["reason"]) for row in rows] == [("acme", "ga"), ("globex", "ga")]


def test_one_button_is_the_one_to_press(plan: Services, visit: Visit) -> None:
    page = visit("editor")

    def buttons() -> list[str]:
        html = page.get(PLAN).text
        return [step for step in ("advance", "pause", "resume", "rollback") if f'{PLAN}/{step}"' in html]

    assert buttons() == ["advance", "pause", "rollback"]
    assert page.page.text.count("button primary") == 1
    plan.change_requests.submit(SEED, GENERATION, Pause(), "wait")
    assert buttons() == ["resume", "rollback"]
    assert page.page.text.count("button primary") == 1
    plan.change_requests.submit(SEED, GENERATION, Resume(), "go on")
    plan.change_requests.submit(SEED, GENERATION, Advance("general_availability"), "launch")
    assert buttons() == ["pause", "rollback"]
    plan.change_requests.submit(SEED, GENERATION, RollBack("internal"), "back")
    assert buttons() == ["advance", "pause"]


def test_an_advance_says_who_comes_before_it_is_made(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/advance")
    assert "Advance Image generation to Wider beta?" in page.text
    assert "1 tenant gains access. 0 tenants lose it. Counted over 2 tenants." in page.text.replace("  ", " ")
    assert standing(plan) == ("private_beta", "running", 1)
    page.send("move", reason="three quiet weeks")
    assert "Plan advanced" in page.follow().text
    assert standing(plan) == ("wider_beta", "running", 2)


def test_a_rollback_says_who_goes_and_may_go_further_back(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/rollback?to=internal")
    assert "Roll Image generation back to Internal?" in page.text
    assert "0 tenants gain access. 1 tenant loses it." in page.text
    page.send("move", reason="complaints")
    assert standing(plan)[:2] == ("internal", "running")


def test_a_plan_is_paused_and_resumed(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/pause")
    assert "Who is in stays in." in page.text
    page.send("move", reason="vendor trouble")
    assert "Plan paused" in page.follow().text
    assert page.get(f"{PLAN}/advance").status_code == 409
    assert "Resume the plan first" in page.text
    page.get(f"{PLAN}/resume")
    page.send("move", reason="fixed")
    assert standing(plan) == ("private_beta", "running", 3)


def test_of_two_at_once_one_wins_and_the_other_sees_where_it_stands(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/advance")
    plan.change_requests.submit(SEED, GENERATION, Advance("percentage"), "faster")
    page.send("move", reason="slower")
    assert page.page.status_code == 409
    assert "Somebody changed this while you were at it." in page.text
    assert "now percentage, you wanted wider_beta" in page.text
    assert "system:seed" in page.text
    assert standing(plan) == ("percentage", "running", 2)
    assert last_change(plan)["reason"] == "faster"


def test_a_pause_on_what_somebody_moved_changes_nothing(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/pause")
    plan.change_requests.submit(SEED, GENERATION, Advance(), "faster")
    assert page.send("move", reason="slower").status_code == 409
    assert standing(plan) == ("wider_beta", "running", 2)


def test_a_move_without_a_reason_is_shown_again_and_not_made(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/advance?to=percentage")
    assert page.send("move", reason=" ").status_code == 400
    assert 'id="move-reason-error"' in page.page.text
    assert next(form for form in page.forms() if form.name == "move").fields["to"] == "percentage"
    assert standing(plan)[2] == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PLAN}/advance?to=nowhere", 404),
        (f"{PLAN}/advance?to=internal", 400),
        (f"{PLAN}/advance?to=private_beta", 400),
        (f"{PLAN}/rollback?to=percentage", 400),
        (f"{PLAN}/resume", 409),
        (f"{PLAN}/delete", 404),
        (f"/admin/plans/{ANALYSIS}/advance", 404),
        (f"{PLAN}/advance?colour=red", 400),
    ],
)
def test_a_move_that_makes_no_sense_is_answered_in_words(
    plan: Services, visit: Visit, path: str, status: int
) -> None:
    page = visit("editor")
    assert page.get(path).status_code == status


def test_a_viewer_sees_and_moves_nothing_and_neither_does_a_forged_form(plan: Services, visit: Visit) -> None:
    viewer, editor = visit("viewer"), visit("editor")
    viewer.get(PLAN)
    assert "needs the role editor" in viewer.text
    token = next(form for form in viewer.forms() if form.name == "sign-out").fields["_token"]
    for step in ("advance", "rollback", "pause", "resume"):
        path = f"{PLAN}/{step}"
        assert viewer.get(path).status_code == 403
        assert viewer.client.post(path, data={"reason": "x", "_token": token}).status_code == 403
        assert editor.client.post(path, data={"reason": "x"}).status_code == 403
    assert standing(plan)[2] == 1


def test_an_advance_made_here_is_audited_as_one_made_by_the_api(plan: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/advance")
    page.send("move", reason="ready")
    by_page = last_change(plan)
    plan.change_requests.submit(SEED, GENERATION, RollBack(), "again")
    secret = plan.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    answer = page.app.test_client().post(
        f"/admin/api/v1/plans/{GENERATION}/advance",
        json={"reason": "ready", "to": "wider_beta"},
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.status_code == 200
    by_api = last_change(plan)
    assert (by_page["actor"], by_api["actor"]) == ("user:editor@example.com", "token:ana")
    for name in ("action", "subject", "tenant_id", "reason"):
        assert by_page[name] == by_api[name]
    for side in ("before", "after"):
        assert by_page[side].keys() == by_api[side].keys()
        assert by_page[side]["run"]["phase"] == by_api[side]["run"]["phase"]
