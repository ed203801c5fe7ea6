"""The console shows the plan of a name that moves as it shows any plan."""

from __future__ import annotations

from collections.abc import Callable

from console import SEED, Visitor

from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

MOVE = "model.dall-e-3"


def test_a_move_has_the_pages_of_a_plan(wired: Services, visit: Visit) -> None:
    wired.moves.begin(
        SEED, "alias", "dall-e-3", "gpt-image-2.6-sunburst", "better hands", phase="percentage_50"
    )
    wired.state.refresh()
    page = visit("admin")
    plan = f"/admin/plans/{MOVE}"
    pages = (
        plan,
        f"{plan}/advance",
        f"{plan}/simulate",
        f"{plan}/new-phase",
        "/admin/kill",
    )
    for path in ("/admin/plans", *pages, f"/admin/explain?tenant=acme&feature={MOVE}"):
        assert page.get(path).status_code == 200, path
        assert MOVE in page.text, path
    assert page.get("/admin").status_code == 200


def test_a_move_is_stopped_and_its_plan_moved_at_the_console(wired: Services, visit: Visit) -> None:
    wired.moves.begin(SEED, "alias", "dall-e-3", "gpt-image-2.6-sunburst", "better hands")
    wired.state.refresh()
    page = visit("admin")
    page.get(f"/admin/plans/{MOVE}/advance")
    assert page.send("move", reason="a quiet week").status_code == 303
    assert wired.plans.get(MOVE)["run"]["phase"] == "percentage_10"
    page.get("/admin/kill")
    assert page.send("kill", features=[MOVE], reason="odd hands").status_code == 303
    assert MOVE in page.follow().text
    assert wired.features.get(MOVE)["killed"] is True
