"""/admin/catalogue: models, aliases, vendors and proposals, as people look at them and change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.audit import Actor
from rollout.core.catalogue_checks import Listed
from rollout.core.tokens import Role
from rollout.providers.base import Lists
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

FLARE = "/admin/catalogue/models/gpt-image-2.6-flare"


def document(services: Services, name: str, kind: Any = "model") -> dict[str, Any]:
    return dict(services.catalogue_rows.get(kind, name)["document"])


def last_change(services: Services) -> dict[str, Any]:
    return dict(services.audit.page(limit=1)[0])


def names(page: Visitor, query: str) -> str:
    page.get(f"/admin/catalogue?{query}")
    assert page.page.status_code == 200
    return page.text


# -- models ------------------------------------------------------------------------------------------------------------


def test_models_are_listed_by_vendor_with_state_price_and_names(visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/catalogue")
    assert page.page.status_code == 200
    for shown in ("gpt-image-2.5-flare", "gpt-image-1", "nova-canvas", "retired", "deprecated", "dall-e-3"):
        assert shown in page.text
    text = page.text.replace("US$", "$")
    assert "$0.04 to $0.08 a picture" in text
    assert "$2.00 in, $10.00 out per million tokens" in text


def test_models_are_filtered_by_name_vendor_feature_and_state(visit: Visit) -> None:
    page = visit("viewer")
    assert "grok-4" in names(page, "vendor=xai")
    assert "gpt-image-2.6-flare" not in names(page, "vendor=xai")
    assert "gpt-image-2.5-sunburst" in names(page, "q=DALL-E")
    assert "claude-opus-4" in names(page, "lifecycle=retired")
    assert "grok-4" not in names(page, "lifecycle=retired&q=")
    assert "grok-imagine-image-2.0" not in names(page, "feature=image-analysis&vendor=xai")
    assert "No model is like that" in names(page, "vendor=nobody")
    assert page.get("/admin/catalogue?lifecycle=young").status_code == 400


def test_a_model_shows_what_it_can_do_and_what_it_costs(visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/catalogue/models/grok-imagine-image-2.0")
    for shown in (
        "xAI",
        "aspect_ratios",
        "19.5:9",
        "max_input_images",
        "grok-2-image",
        "A picture that goes in",
    ):
        assert shown.lower() in page.text.lower()
    assert page.get("/admin/catalogue/models/nobody").status_code == 404


def test_every_model_and_alias_has_a_page(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    for kind, place in (("model", "models"), ("alias", "aliases")):
        for row in wired.catalogue_rows.list(kind):  # type: ignore[arg-type]
            assert page.get(f"/admin/catalogue/{place}/{row['name']}").status_code == 200, row["name"]


def test_a_model_is_retired_and_its_change_is_told_and_audited(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get(FLARE)
    page.send(
        "change",
        lifecycle="retired",
        successor="gpt-image-2.6-sunburst",
        retires_at="2027-03-01T00:00",
        reason="it ended",
    )
    assert page.page.status_code == 303, page.text
    found = document(wired, "gpt-image-2.6-flare")
    assert (found["lifecycle"], found["successor"]) == ("retired", "gpt-image-2.6-sunburst")
    assert found["retires_at"] == "2027-03-01T00:00:00Z"
    assert found["prices"] == document(wired, "gpt-image-2.6-sunburst")["prices"]
    told = last_change(wired)
    assert (told["action"], told["reason"], told["actor"]) == (
        "model.changed",
        "it ended",
        "user:admin@example.com",
    )
    page.follow()
    assert "lifecycle" in page.text
    assert "it ended" in page.text


def test_fallbacks_and_enabled_are_changed_and_what_stays_stays(wired: Services, visit: Visit) -> None:
    before = document(wired, "gpt-image-2.6-flare")
    page = visit("admin")
    page.get(FLARE)
    page.send("change", enabled="no", fallbacks="gpt-image-2 gpt-image-2.6-sunburst", reason="for now")
    after = document(wired, "gpt-image-2.6-flare")
    assert after == {**before, "enabled": False, "fallbacks": ("gpt-image-2", "gpt-image-2.6-sunburst")}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"successor": "nobody"}, "nobody"),
        ({"fallbacks": "claude-sonnet-5-5"}, "claude-sonnet-5-5"),
        ({"retires_at": "soon"}, "Must be a date"),
        ({"reason": ""}, "reason"),
    ],
)
def test_what_a_rule_refuses_is_shown_again_as_it_was_typed(
    wired: Services, visit: Visit, typed: dict[str, str], said: str
) -> None:
    before = document(wired, "gpt-image-2.6-flare")
    page = visit("admin")
    page.get(FLARE)
    page.send("change", **{"reason": "try", **typed})
    assert page.page.status_code in (400, 422)
    assert said in page.text
    for name, value in typed.items():
        assert page.form("change").fields[name] == value
    assert document(wired, "gpt-image-2.6-flare") == before


def test_a_form_that_is_stale_changes_nothing_and_shows_both(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get(FLARE)
    wired.catalogue_rows.put(
        SEED,
        "model",
        "gpt-image-2.6-flare",
        {**document(wired, "gpt-image-2.6-flare"), "enabled": False},
        "faster",
    )
    page.send("change", lifecycle="deprecated", reason="slower")
    assert page.page.status_code in (409, 412)
    assert "Somebody changed this" in page.text
    assert document(wired, "gpt-image-2.6-flare")["lifecycle"] == "active"


def test_a_price_is_added_and_the_one_before_stays(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get(FLARE)
    amounts = json.loads(page.form("price").fields["amounts"])
    amounts["per_million"]["image_out"] = 40_000_000
    page.send(
        "price",
        id="openai/new",
        as_of="2026-12-01",
        source="their page",
        amounts=json.dumps(amounts),
        reason="dearer",
    )
    assert page.page.status_code == 303, page.text
    old, new = document(wired, "gpt-image-2.6-flare")["prices"]
    assert (new["id"], new["per_million"]["image_out"]) == ("openai/new", 40_000_000)
    assert old["per_million"]["image_out"] == 30_000_000


@pytest.mark.parametrize("amounts", ["", "5", "[]", '{"each": 5}', '{"per_million": {"image_out": -1}}', "{"])
def test_amounts_that_are_none_are_refused(wired: Services, visit: Visit, amounts: str) -> None:
    page = visit("admin")
    page.get(FLARE)
    page.send("price", id="openai/new", as_of="2026-12-01", source="x", amounts=amounts, reason="x")
    assert page.page.status_code in (400, 422)
    assert len(document(wired, "gpt-image-2.6-flare")["prices"]) == 1


def test_a_model_is_brought_back_to_what_came_with_the_version(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get(FLARE)
    assert not [form for form in page.forms() if form.name == "reset"]
    page.send("change", enabled="no", reason="for now")
    page.get(FLARE)
    page.send("reset", reason="over")
    assert page.page.status_code == 303
    assert document(wired, "gpt-image-2.6-flare")["enabled"]


# -- aliases and moves -------------------------------------------------------------------------------------------------


def test_an_alias_is_added_changed_and_removed(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/aliases")
    page.send("add-alias", name="painter", to="gpt-image-2", warning="ask for gpt-image-2", reason="shorter")
    assert page.page.status_code == 303, page.text
    page.get("/admin/catalogue/aliases/painter")
    page.send("change", to="gpt-image-2.6-flare", reason="better")
    assert document(wired, "painter", "alias")["to"] == "gpt-image-2.6-flare"
    page.follow()
    page.send("remove", reason="nobody uses it")
    page.follow()
    assert "painter" not in [row["name"] for row in wired.catalogue_rows.list("alias")]


def test_a_name_that_is_taken_is_refused(visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/aliases")
    page.send("add-alias", name="dall-e-3", to="gpt-image-2", reason="again")
    assert page.page.status_code in (400, 409, 412)
    page.send("add-alias", name="gpt-image-2", to="gpt-image-2.6-flare", reason="again")
    assert page.page.status_code in (400, 409)


def test_an_alias_moves_by_a_plan_of_its_own_and_is_called_off(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/aliases/dall-e-3")
    page.send("move", to="gpt-image-2.6-sunburst", reason="the next one")
    assert page.page.status_code == 303, page.text
    assert document(wired, "dall-e-3", "alias")["moves_to"] == "gpt-image-2.6-sunburst"
    page.follow()
    assert "It is moving to gpt-image-2.6-sunburst" in page.text
    plan = page.page.text.split('href="/admin/plans/')[1].split('"')[0]
    assert page.get(f"/admin/plans/{plan}").status_code == 200
    page.get("/admin/catalogue/aliases/dall-e-3")
    page.send("finish", reason="too early")
    assert page.page.status_code == 409
    assert "has not come to everyone" in page.text
    page.send("call-off", reason="not now")
    assert page.page.status_code == 303
    assert document(wired, "dall-e-3", "alias")["moves_to"] is None


def test_a_model_moves_too(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/models/claude-sonnet-4-5")
    page.send("move", to="claude-sonnet-5-5", reason="it ends")
    assert document(wired, "claude-sonnet-4-5")["moves_to"] == "claude-sonnet-5-5"
    page.follow()
    page.send("call-off", reason="not now")
    assert page.page.status_code == 303


# -- vendors -----------------------------------------------------------------------------------------------------------


def test_a_vendor_is_switched_off_and_on(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/vendors")
    page.send("disable-xai", reason="wrong pictures")
    assert page.page.status_code == 303, page.text
    assert not wired.vendors.get("xai")["enabled"]
    page.follow()
    assert "wrong pictures" in page.text
    page.send("enable-xai", reason="mended")
    assert wired.vendors.get("xai")["enabled"]


def test_a_vendor_needs_a_reason_to_be_switched_off(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/vendors")
    page.send("disable-xai", reason="")
    assert page.page.status_code == 400
    assert wired.vendors.get("xai")["enabled"]


# -- proposals ---------------------------------------------------------------------------------------------------------


class Listing(Lists):
    def models(self) -> list[Listed]:
        return [
            Listed("grok-4"),
            Listed("grok-5"),
            Listed("grok-imagine-image-2.0", retires_at=1_900_000_000),
        ]


@pytest.fixture
def proposed(wired: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(wired.catalogue_checks._providers, "lists", lambda: {"xai": Listing()}, raising=False)
    return wired


def test_vendors_are_asked_and_a_proposal_is_applied(proposed: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/catalogue/proposals")
    assert "There is no proposal like that" in page.text
    page.send("ask")
    assert page.page.status_code == 303, page.text
    page.follow()
    for said in (
        "grok-5, which is like this one",
        "names another day",
        "no longer lists grok-imagine-image,",
    ):
        assert said in page.text
    found = {one["model"]: one for one in proposed.catalogue_checks.page(state="open", cursor=None, limit=9)}
    page.send(f"apply-{found['grok-imagine-image-2.0']['id']}", reason="they say so")
    assert page.page.status_code == 303, page.text
    assert document(proposed, "grok-imagine-image-2.0")["lifecycle"] == "deprecated"
    page.get("/admin/catalogue/proposals")
    page.send(f"dismiss-{found['grok-5']['id']}", reason="not wanted")
    assert page.page.status_code == 303
    page.get("/admin/catalogue/proposals?state=dismissed")
    assert "user:admin@example.com" in page.text


def test_proposals_are_taken_away(proposed: Services, visit: Visit) -> None:
    proposed.catalogue_checks.verify()
    page = visit("viewer")
    rows = page.get("/admin/catalogue/proposals?format=json").json
    assert {row["model"] for row in rows} >= {"grok-5"}


# -- roles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_may_not_change_sees_it_disabled_and_is_refused(
    wired: Services, visit: Visit, role: Role
) -> None:
    page = visit(role)
    page.get(FLARE)
    assert "needs the role" in page.text
    assert not [form for form in page.forms() if form.name in ("change", "price", "move", "reset")]
    token = {form.name: form for form in page.forms()}["sign-out"].fields
    sent = {"reason": "x", "lifecycle": "retired", "enabled": "no", **token}
    assert page.client.post(FLARE, data=sent).status_code == 403
    assert document(wired, "gpt-image-2.6-flare")["lifecycle"] == "active"


def test_an_editor_may_switch_a_vendor_off_and_not_on(wired: Services, visit: Visit) -> None:
    wired.vendors.disable(Actor("cli:root"), "xai", "trouble", wait=0)
    page = visit("editor")
    page.get("/admin/catalogue/vendors")
    assert not [form for form in page.forms() if form.name == "enable-xai"]
    page.send("disable-openai", reason="trouble there, too")
    assert page.page.status_code == 303
