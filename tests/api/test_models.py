"""What each tenant is told it may use now, in the shape of the SDK that asks."""

from __future__ import annotations

from pathlib import Path

import doors
import pytest
from anthropic.types import ModelInfo
from clocks import Clock
from gateway import IMAGE_MODEL, MESSAGE_MODEL, Door, Gateway, on_sqlite

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.db.engine import Database

pytestmark = on_sqlite
ANTHROPIC = {"anthropic_version": "2023-06-01"}


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def ids(door: Door) -> set[str]:
    return {model["id"] for model in door.get("/v1/models").json["data"]}


def test_a_partner_sees_image_models_and_a_tenant_outside_the_beta_sees_none(gateway: Gateway) -> None:
    assert {IMAGE_MODEL, MESSAGE_MODEL} <= ids(gateway.door())
    assert IMAGE_MODEL not in ids(gateway.door("globex"))
    assert MESSAGE_MODEL in ids(gateway.door("globex"))
    assert {IMAGE_MODEL, MESSAGE_MODEL} <= ids(gateway.door("globex", mode="test"))


def test_a_killed_feature_takes_its_models_away(gateway: Gateway) -> None:
    gateway.services.features.kill(doors.ALICE, GENERATION, "incident")
    gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")
    gateway.services.state.refresh()

    assert ids(gateway.door()) == ids(gateway.door(mode="test")) == set()


def test_retired_models_are_not_listed(gateway: Gateway) -> None:
    assert "claude-opus-4" not in ids(gateway.door())


def test_each_sdk_gets_its_own_shape(gateway: Gateway) -> None:
    door = gateway.door()

    openai = door.get("/v1/models").json
    anthropic = door.get("/v1/models?limit=1000", **ANTHROPIC).json

    assert openai["object"] == "list"
    one = next(model for model in openai["data"] if model["id"] == IMAGE_MODEL)
    assert (one["object"], one["owned_by"], type(one["created"])) == ("model", "openai", int)
    assert (anthropic["has_more"], anthropic["first_id"]) == (False, anthropic["data"][0]["id"])
    one = next(model for model in anthropic["data"] if model["id"] == "claude-sonnet-4-5")
    assert (one["type"], one["lifecycle"], one["retires_at"][:10]) == ("model", "deprecated", "2026-11-30")
    assert one["deprecated_at"][:10] == "2026-08-31"
    assert one["capabilities"]["thinking"]["types"]["enabled"] == {"supported": True}
    assert one["capabilities"]["effort"]["supported"] is False
    newest = next(model for model in anthropic["data"] if model["id"] == "claude-opus-5-5")
    read = ModelInfo.model_validate(newest, strict=False)
    assert read.capabilities is not None
    assert read.capabilities.thinking.types.enabled.supported is False
    assert read.capabilities.effort.max.supported is True
    assert read.capabilities.image_input.supported is True


def test_a_strict_tenant_is_offered_no_model_that_is_about_to_end(gateway: Gateway) -> None:
    assert "claude-sonnet-4-5" in ids(gateway.door())
    gateway.services.tenants.change(doors.ALICE, "acme", {"retired_models": "strict"}, "test")
    gateway.services.state.refresh()
    assert "claude-sonnet-4-5" not in ids(gateway.door())
    refused = gateway.door().get("/v1/models/claude-sonnet-4-5", **ANTHROPIC)
    assert (refused.status_code, refused.json["error"]["details"]["successor"]) == (400, "claude-sonnet-5-5")


def test_a_tenant_is_offered_the_models_of_its_vendors_alone(gateway: Gateway) -> None:
    gateway.services.tenants.change(doors.ALICE, "acme", {"vendors": ["anthropic"]}, "test")
    gateway.services.state.refresh()
    listed = gateway.door().get("/v1/models").json["data"]
    assert {model["owned_by"] for model in listed} == {"anthropic"}
    assert gateway.door().get(f"/v1/models/{IMAGE_MODEL}").status_code == 404


def test_anthropics_pages_join_without_gap_in_both_directions(gateway: Gateway) -> None:
    door = gateway.door()
    everything = [model["id"] for model in door.get("/v1/models?limit=1000", **ANTHROPIC).json["data"]]

    seen, query = [], ""
    while True:
        page = door.get(f"/v1/models?limit=3{query}", **ANTHROPIC).json
        seen += [model["id"] for model in page["data"]]
        if not page["has_more"]:
            break
        query = f"&after_id={page['last_id']}"
    before = door.get(f"/v1/models?limit=2&before_id={everything[3]}", **ANTHROPIC).json

    assert seen == everything
    assert ([model["id"] for model in before["data"]], before["has_more"]) == (everything[1:3], True)


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("after_id=nothing", "after_id"), ("after_id=a&before_id=b", "before_id")],
)
def test_a_wrong_page_is_named(gateway: Gateway, query: str, param: str) -> None:
    answer = gateway.door().get(f"/v1/models?{query}", **ANTHROPIC)

    assert answer.status_code == 400
    assert answer.json["error"]["details"]["param"] == param


def test_one_model_is_shown_by_its_name_or_by_a_name_in_the_wild(gateway: Gateway) -> None:
    door = gateway.door()

    assert door.get(f"/v1/models/{IMAGE_MODEL}").json["id"] == IMAGE_MODEL
    assert door.get(f"/v1/models/{MESSAGE_MODEL}", **ANTHROPIC).json["type"] == "model"
    alias = door.get("/v1/models/gpt-image-1")
    assert alias.json["id"] == IMAGE_MODEL
    assert "Deprecation" in alias.headers


def test_a_model_that_the_tenant_may_not_use_is_not_there(gateway: Gateway) -> None:
    hidden = gateway.door("globex").get(f"/v1/models/{IMAGE_MODEL}")
    strange = gateway.door().get("/v1/models/gpt-99", **ANTHROPIC)

    assert (hidden.status_code, hidden.json["error"]["code"]) == (404, "model_not_found")
    assert (strange.status_code, strange.json["error"]["type"]) == (404, "not_found_error")
    retired = gateway.door().get("/v1/models/nova-canvas")
    assert (retired.status_code, retired.json["error"]["code"]) == (400, "model_retired")
    replaced = gateway.door().get("/v1/models/claude-opus-4")
    assert (replaced.json["id"], replaced.headers["Sunset"]) == (
        "claude-opus-5-5",
        "Mon, 15 Jun 2026 00:00:00 GMT",
    )
