"""What a phase says, as a form: what is typed is kept and shown again, and what cannot be is refused at its field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance, Edit
from rollout.core.tokens import Role
from rollout.services.registry import Services

PLAN = f"/admin/plans/{GENERATION}"
Visit = Callable[[Role], Visitor]


def phase(services: Services, key: str) -> dict[str, Any]:
    return next(one for one in services.plans.get(GENERATION)["phases"] if one["key"] == key)


def content(services: Services) -> list[dict[str, Any]]:
    return [dict(one) for one in services.plans.get(GENERATION)["phases"]]


def test_a_form_that_is_sent_back_as_it_is_changes_nothing(wired: Services, visit: Visit) -> None:
    """For every phase of every shape: the form holds all that a phase says."""
    tried: dict[str, Any] = {
        "percentage": {
            "audience": {"filter": [{"contextName": "name", "operator": "IN", "values": ['a,b "c"', "d"]}]},
            "vendors": ["openai"],
            "quota": [{"level": "phase", "unit": "usd_micro", "period": "life", "cap": 1_500_000}],
            "entry": {"not_before": "2026-12-24T17:00:00Z", "approvals": 2},
            "exit": {
                "seconds": 100,
                "requests": 10,
                "tenants": 2,
                "ratings": 3,
                "raters": 1,
                "evaluations": 4,
            },
            "hold": {
                "failed_percent": 2.5,
                "poor_percent": 5,
                "usd_micro_per_image": 40_000,
                "evaluations": 9,
            },
            "moves_on": True,
        },
        "wider_beta": {
            "audience": {"constraints": [{"contextName": "n", "operator": "NUM_GT", "value": "3"}]}
        },
    }
    wired.change_requests.submit(SEED, GENERATION, Edit({"phases": tried}), "all that there is")
    before = wired.plans.get(GENERATION)
    page = visit("editor")
    for one in before["phases"]:
        page.get(f"{PLAN}/phases/{one['key']}")
        assert page.page.status_code == 200
        assert page.send("phase", reason="as it is").status_code == 303, page.text
    assert wired.plans.get(GENERATION) == before


def test_a_phase_to_come_is_changed_by_its_form(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/phases/percentage")
    sent = page.send(
        "phase",
        share="12.5",
        exit_seconds="48",
        moves_on="yes",
        vendors="openai",
        quota="7 image/day",
        reason="slower",
    )
    assert sent.status_code == 303
    changed = phase(wired, "percentage")
    assert changed["audience"] == {"kind": "percentage", "basis_points": 1250}
    assert (changed["exit"], changed["moves_on"], changed["vendors"]) == (
        {"seconds": 172800},
        True,
        ["openai"],
    )
    assert [(item["name"], item["cap"]) for item in changed["quota"]] == [("image-day", 7)]
    assert "Plan changed" in page.follow().text
    assert "12.5% of all tenants" in page.text
    assert "hours in this phase: 48" in page.text
    assert "then moves on by itself" in page.text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"share": "12.345"}, "share"),
        ({"share": "101"}, "share"),
        ({"share": "half"}, "share"),
        ({"kind": "segment", "conditions": ""}, "conditions"),
        ({"conditions": "program IN"}, "conditions"),
        ({"conditions": "program IN a\nprogram IN b"}, "conditions"),
        ({"conditions": "tenantId IN acme"}, "conditions"),
        ({"conditions": "program NOT_IN acme"}, "conditions"),
        ({"kind": "granted", "cohorts": "a, b"}, None),
        ({"title": " "}, "title"),
        ({"quota": "many images"}, "quota"),
        ({"quota": "1 image/day\n2 image/day"}, "quota"),
        ({"quota": "1 image/day planet"}, "quota"),
        ({"quota": "1.5 image/day"}, "quota"),
        ({"vendors": "nobody"}, "vendors"),
        ({"exit_requests": "0"}, "exit_requests"),
        ({"hold_requests": "5"}, "hold_refused_percent"),
        ({"hold_failed_percent": "101"}, "hold_failed_percent"),
        ({"hold_usd_micro_per_image": "dear"}, "hold_usd_micro_per_image"),
        ({"moves_on": "yes"}, "moves_on"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field_and_kept_in_the_form(
    wired: Services, visit: Visit, typed: dict[str, str], field: str | None
) -> None:
    before, page = wired.plans.get(GENERATION), visit("editor")
    page.get(f"{PLAN}/phases/percentage")
    answer = page.send("phase", **typed, reason="try")
    if field is None:
        assert answer.status_code == 303
        return
    assert answer.status_code == 400
    assert f'id="phase-{field}-error"' in page.page.text, page.text
    kept = next(form for form in page.forms() if form.name == "phase").fields
    assert all(kept.get(name) == value for name, value in typed.items() if name != "vendors")
    assert wired.plans.get(GENERATION) == before


def test_the_phase_at_which_it_stands_begins_anew_with_a_change_and_not_with_a_title(
    wired: Services, visit: Visit
) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/phases/private_beta")
    assert "a change begins the phase anew" in page.text
    page.send("phase", title="Partners", reason="better")
    assert wired.plans.get(GENERATION)["run"]["run"] == 1
    page.get(f"{PLAN}/phases/private_beta")
    page.send("phase", hold_failed_percent="2", reason="stricter")
    assert wired.plans.get(GENERATION)["run"]["run"] == 2
    assert (phase(wired, "private_beta")["title"], phase(wired, "private_beta")["hold"]) == (
        "Partners",
        {"failed_percent": 2.0},
    )


def test_a_phase_that_is_open_keeps_all_but_its_title(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/phases/internal")
    assert "only its title can change" in page.text
    assert page.send("phase", cohorts="everyone", reason="wider").status_code == 409
    assert 'id="phase-kind-error"' in page.page.text or 'id="phase-cohorts-error"' in page.page.text
    page.get(f"{PLAN}/phases/internal")
    assert page.send("phase", title="Us", reason="shorter").status_code == 303


def test_a_phase_is_added_behind_another_and_removed(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/new-phase")
    added = {
        "key": "asia",
        "after": "wider_beta",
        "title": "Asia",
        "kind": "segment",
        "conditions": "region IN asia",
    }
    assert page.send("phase", **added, reason="Asia first").status_code == 303
    assert [one["key"] for one in content(wired)][2:4] == ["wider_beta", "asia"]
    page.get(f"{PLAN}/phases/asia")
    assert page.send("remove", reason="not after all").status_code == 303
    assert "asia" not in [one["key"] for one in content(wired)]
    assert page.get(f"{PLAN}/phases/asia").status_code == 404


def test_a_new_phase_without_a_key_or_with_one_that_is_taken_is_shown_again(
    wired: Services, visit: Visit
) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/new-phase")
    assert page.send("phase", key="Asia!", title="Asia", kind="all", reason="x").status_code == 400
    assert 'id="phase-key-error"' in page.page.text


def test_of_two_editors_of_a_phase_the_second_is_told(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"{PLAN}/phases/percentage")
    wired.change_requests.submit(SEED, GENERATION, Advance(), "meanwhile")
    assert page.send("phase", share="20", reason="mine").status_code == 409
    assert "Somebody changed this while you were at it." in page.text
    assert phase(wired, "percentage")["audience"]["basis_points"] == 1000


def test_four_eyes_are_asked_for_by_a_switch_and_then_the_switch_waits_too(
    wired: Services, visit: Visit
) -> None:
    page = visit("editor")
    page.get(PLAN)
    assert page.send("four-eyes", four_eyes="yes", reason="we are more now").status_code == 303
    assert wired.plans.get(GENERATION)["four_eyes"] is True
    page.get(PLAN)
    assert page.send("four-eyes", four_eyes="no", reason="alone").status_code == 303
    assert wired.plans.get(GENERATION)["four_eyes"] is True


def test_a_jump_and_a_new_beginning_say_that_nobody_loses(wired: Services, visit: Visit) -> None:
    wired.change_requests.submit(SEED, GENERATION, Advance("percentage"), "ready")
    page = visit("editor")
    page.get(f"{PLAN}/jump?to=internal")
    assert "Who is in stays in." in page.text
    page.send("move", reason="look again")
    found = wired.plans.get(GENERATION)["run"]
    assert (found["phase"], found["open_to"]) == ("internal", "percentage")
    assert "After a jump back" in page.follow().text
    page.get(f"{PLAN}/restart")
    page.send("move", reason="anew")
    assert wired.plans.get(GENERATION)["run"]["run"] == 4


def test_a_viewer_reads_a_phase_and_changes_nothing(wired: Services, visit: Visit) -> None:
    viewer = visit("viewer")
    assert viewer.get(f"{PLAN}/phases/percentage").status_code == 200
    assert "10% of all tenants" in viewer.text
    assert "needs the role editor" in viewer.text
    for path in ("phases/percentage", "phases/percentage/remove", "new-phase", "four-eyes"):
        assert viewer.client.post(f"{PLAN}/{path}", data={"reason": "x"}).status_code == 403
