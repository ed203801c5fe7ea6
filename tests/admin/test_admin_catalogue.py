"""/admin/api/v1/catalogue: rows over the seed are put, priced, retired and taken away; a name moves by a plan of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from rollout.app import create_app
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance
from rollout.core.tenants import Key, NewKey, Tenant
from rollout.core.tokens import NewToken, Role
from rollout.db import catalogue_rows
from rollout.db.catalogue_rows import Row
from rollout.services import calls
from rollout.services.registry import Services
from rollout.services.state import Identity
from rollout.settings import Settings
from rollout.wiring import build

SEED = Actor("system:seed")
PAINTER = "gpt-image-2"
TENANTS = [f"tenant-{number}" for number in range(40)]


class Desk:
    """An admin's token at the admin API, and tenants' keys at the routes of the SDKs; each call sees what was changed before it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.client = create_app(services).test_client()
        self._token = self.token("admin")

    def token(self, role: Role) -> str:
        return self.services.tokens.add(SEED, NewToken(f"a-{role}", role), "seed").secret

    def key(self, tenant: str) -> str:
        return self.services.keys.add(SEED, tenant, NewKey("ci"), "seed").secret

    def call(self, method: str, path: str, *, token: str = "", etag: str = "", **body: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token or self._token}"} | ({"If-Match": etag} if etag else {})
        json = {"reason": "test", **body} if method != "GET" else None
        answer = self.client.open(f"/admin/api/v1{path}", method=method, json=json, headers=headers)
        self.services.state.refresh()
        return answer

    def change(self, method: str, path: str, **body: Any) -> Any:
        answer = self.call(method, path, **body)
        assert answer.status_code == 200, answer.json
        return answer.json

    def faults(self, method: str, path: str, status: int = 400, **body: Any) -> Any:
        answer = self.call(method, path, **body)
        assert answer.status_code == status, answer.json
        return answer.json

    def row(self, kind: str, name: str) -> Any:
        return self.call("GET", f"/catalogue/{kind}/{name}").json

    def draws(self, key: str, model: str) -> TestResponse:
        self.services.state.refresh()
        asked = {"model": model, "prompt": "a cat", "size": "1024x1024", "quality": "low"}
        headers = {"Authorization": f"Bearer {key}"}
        return self.client.post("/v1/images/generations", json=asked, headers=headers)

    def listed(self, key: str, **headers: str) -> list[Any]:
        self.services.state.refresh()
        answer = self.client.get("/v1/models", headers={"Authorization": f"Bearer {key}", **headers})
        found: list[Any] = answer.json["data"]  # type: ignore[index]
        return found

    def audited(self) -> list[tuple[str, str]]:
        return [(row["action"], row["subject"]) for row in self.services.audit.page(limit=6)]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(
    request: pytest.FixtureRequest,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    settings = Settings(
        home=str(tmp_path_factory.mktemp("home")),
        database_url=new_database(request.param),
        secret_key="s" * 40,
        sandbox="on",
    )
    services = build(settings, connect=True)
    for name in ("acme", "globex"):
        services.tenants.add(SEED, Tenant(name, name), "seed")
    with services.changes.begin(SEED, "seed") as change:
        services.plans.ensure_plan(change, GENERATION, "general_availability")
    services.state.refresh()
    yield Desk(services)
    services.close()


def price(desk: Desk, **changes: Any) -> dict[str, Any]:
    """A next price for PAINTER."""
    last = desk.row("models", PAINTER)["document"]["prices"][-1]
    return {**last, "id": "openai/gpt-image-2/2027-01", **changes}


# -- rows ----------------------------------------------------------------------------------------------------------------


def test_a_row_is_edited_as_a_whole_by_its_version_and_goes_back_to_the_seeds(desk: Desk) -> None:
    seeded = desk.call("GET", f"/catalogue/models/{PAINTER}")
    assert (seeded.json["origin"], seeded.headers["ETag"]) == ("seed", '"1"')  # type: ignore[index]
    wanted = {**seeded.json["document"], "display_name": "Painter", "max_images": 4}  # type: ignore[index]
    assert desk.call("PUT", f"/catalogue/models/{PAINTER}", document=wanted).status_code == 428
    kept = desk.call("PUT", f"/catalogue/models/{PAINTER}", document=wanted, etag='"1"')
    assert (kept.status_code, kept.json["origin"], kept.json["document"]) == (200, "row", wanted)  # type: ignore[index]
    assert desk.services.catalogue().get(PAINTER).max_images == 4
    late = desk.faults("PUT", f"/catalogue/models/{PAINTER}", 409, document=wanted, etag='"1"')
    assert late["current"]["document"] == wanted
    assert desk.audited()[0] == ("model.changed", PAINTER)
    entry = desk.services.audit.page(limit=1)[0]
    assert (entry["before"], entry["after"]) == (seeded.json["document"], wanted)  # type: ignore[index]

    again = desk.change("PUT", f"/catalogue/models/{PAINTER}", document=wanted, etag=kept.headers["ETag"])
    assert again["version"] == kept.json["version"]  # type: ignore[index]
    reset = desk.change("DELETE", f"/catalogue/models/{PAINTER}")
    assert reset == seeded.json
    assert desk.services.catalogue().get(PAINTER).max_images == 10
    assert "as it came" in desk.faults("DELETE", f"/catalogue/models/{PAINTER}", 409)["detail"]


def test_a_dry_run_says_what_would_be_and_leaves_nothing(desk: Desk) -> None:
    seen = desk.services.audit.page(limit=1)[0]["seq"]
    document = {**desk.row("models", PAINTER)["document"], "max_images": 2}
    tried = desk.change("PUT", f"/catalogue/models/{PAINTER}", document=document, etag='"1"', dry_run=True)
    assert tried["document"]["max_images"] == 2
    desk.change("POST", f"/catalogue/models/{PAINTER}/prices", price=price(desk), dry_run=True)
    desk.change("POST", f"/catalogue/models/{PAINTER}/retire", dry_run=True)
    desk.change("POST", "/catalogue/aliases/dall-e-3/move", to=PAINTER, dry_run=True)
    desk.change("DELETE", "/catalogue/aliases/dall-e-3", dry_run=True)
    assert desk.row("models", PAINTER)["origin"] == "seed"
    assert desk.services.audit.page(limit=1)[0]["seq"] == seen


def test_all_that_is_wrong_is_told_at_once_with_where_it_stands(desk: Desk) -> None:
    document = {**desk.row("models", PAINTER)["document"], "wire": "fax", "successor": "gone", "sizes": ["x"]}
    found = desk.faults("PUT", f"/catalogue/models/{PAINTER}", document=document, etag='"1"')
    assert {fault["param"] for fault in found["errors"]} == {"wire", "successor", "sizes.0"}
    assert found["param"] == found["errors"][0]["param"]
    assert desk.row("models", PAINTER)["origin"] == "seed"


REFUSED: list[tuple[str, str, dict[str, Any], int, str | None]] = [
    ("PUT", "/catalogue/models/new", {"document": {"name": "other"}}, 400, "name"),
    ("PUT", "/catalogue/models/new", {"document": {}}, 400, "vendor"),
    ("PUT", "/catalogue/models/new", {"document": {}, "reason": " "}, 400, "reason"),
    ("PUT", "/catalogue/models/new", {"document": []}, 400, "document"),
    ("PUT", "/catalogue/models/new", {"document": {}, "etag": '"7"'}, 409, None),
    ("PUT", "/catalogue/models/gpt-image-1", {"document": {}}, 400, "vendor"),
    ("POST", "/catalogue/models/gone/retire", {}, 404, "model"),
    ("POST", "/catalogue/models/gpt-image-2/retire", {"successor": "gone"}, 400, "successor"),
    ("POST", "/catalogue/models/gpt-image-2/prices", {"price": {}}, 400, "prices.1.id"),
    ("DELETE", "/catalogue/models/gone", {}, 404, "model"),
    ("PUT", "/catalogue/aliases/new", {"document": {"to": "gone"}}, 400, "to"),
    ("PUT", "/catalogue/aliases/gpt-image-2", {"document": {"to": "gpt-image-1.5"}}, 400, "name"),
    ("PUT", "/catalogue/aliases/new", {"document": {"to": "gpt-image-2", "moves_to": "gpt-image-1.5"}}, 400, "moves_to"),
    ("DELETE", "/catalogue/aliases/gone", {}, 404, "alias"),
    ("POST", "/catalogue/aliases/gone/move", {"to": "gpt-image-2"}, 404, "alias"),
    ("POST", "/catalogue/aliases/dall-e-3/move", {"to": "gone"}, 400, "moves_to"),
    ("POST", "/catalogue/aliases/dall-e-3/move", {"to": "claude-opus-5-5"}, 400, "moves_to"),
    ("POST", "/catalogue/aliases/dall-e-3/move", {"to": "gpt-image-2.5-sunburst"}, 400, "to"),
    ("POST", "/catalogue/aliases/dall-e-3/move", {"to": "gpt-image-2", "template": "none"}, 400, "template"),
    ("POST", "/catalogue/aliases/dall-e-3/move", {"to": "gpt-image-2", "phase": "none"}, 400, "phase"),
    ("POST", "/catalogue/aliases/dall-e-3/finish", {}, 409, None),
    ("POST", "/catalogue/models/gpt-image-2/move", {"to": "gpt-image-2"}, 400, "to"),
]  # fmt: skip


def test_what_cannot_be_is_refused_by_the_field(desk: Desk) -> None:
    seen = desk.services.audit.page(limit=1)[0]["seq"]
    for method, path, body, status, param in REFUSED:
        answer = desk.call(method, path, **body)
        found = (answer.status_code, answer.json and answer.json.get("param"))
        assert found == (status, param), (method, path, body, answer.json)
    assert desk.services.audit.page(limit=1)[0]["seq"] == seen


def test_who_is_no_admin_changes_nothing(desk: Desk) -> None:
    editor = desk.token("editor")
    assert desk.call("GET", "/catalogue/models", token=editor).status_code == 200
    assert desk.call("POST", f"/catalogue/models/{PAINTER}/retire", token=editor).status_code == 403


def test_what_was_charged_keeps_its_price_when_a_new_one_holds(desk: Desk) -> None:
    key = desk.key("acme")
    before = desk.draws(key, PAINTER)
    dearer = price(desk, per_image=[{"max_pixels": 8_294_400, "by_quality": {"*": 900_000}}])
    shown = desk.change("POST", f"/catalogue/models/{PAINTER}/prices", price=dearer)
    assert [one["id"] for one in shown["document"]["prices"]][-1] == "openai/gpt-image-2/2027-01"
    after = desk.draws(key, PAINTER)
    told = [
        desk.call("GET", f"/requests/{answer.headers['x-request-id']}").json["money"]["price"]["id"]  # type: ignore[index]
        for answer in (before, after)
    ]
    assert told == ["openai/gpt-image-2.5/2026-11", "openai/gpt-image-2/2027-01"]
    refused = desk.faults("DELETE", f"/catalogue/models/{PAINTER}")
    assert refused["param"] == "prices.1"
    changed = {**shown["document"], "prices": shown["document"]["prices"][1:]}
    refused = desk.faults(
        "PUT", f"/catalogue/models/{PAINTER}", document=changed, etag=f'"{shown["version"]}"'
    )
    assert refused["param"] == "prices.0"


def test_a_model_that_an_admin_puts_is_offered_and_answers(desk: Desk) -> None:
    key = desk.key("acme")
    document = {**desk.row("models", PAINTER)["document"], "name": "painter-9", "upstream_id": "p9"}
    document.pop("created_at")
    made = desk.change("PUT", "/catalogue/models/painter-9", document=document)
    assert made["document"]["created_at"] == made["changed_at"]
    assert "painter-9" in {model["id"] for model in desk.listed(key)}
    assert desk.draws(key, "painter-9").headers["x-rollout-model"] == "sandbox/painter-9"
    assert "none of the models" in desk.faults("DELETE", "/catalogue/models/painter-9", 409)["detail"]
    off = {**made["document"], "enabled": False}
    desk.change("PUT", "/catalogue/models/painter-9", document=off, etag=f'"{made["version"]}"')
    assert "painter-9" not in {model["id"] for model in desk.listed(key)}
    assert desk.draws(key, "painter-9").status_code == 404


def test_a_retired_model_is_answered_for_by_its_successor_or_refused_where_a_tenant_is_strict(
    desk: Desk,
) -> None:
    follows, strict = desk.key("acme"), desk.key("globex")
    desk.change(
        "PATCH",
        "/tenants/globex",
        retired_models="strict",
        etag=desk.call("GET", "/tenants/globex").headers["ETag"],
    )
    retired = desk.change("POST", f"/catalogue/models/{PAINTER}/retire", successor="gpt-image-2.6-flare")
    assert (retired["document"]["lifecycle"], retired["document"]["successor"]) == (
        "retired",
        "gpt-image-2.6-flare",
    )
    assert desk.audited()[0] == ("model.retired", PAINTER)
    answer = desk.draws(follows, PAINTER)
    assert answer.status_code == 200
    assert answer.headers["x-rollout-model"] == "sandbox/gpt-image-2.6-flare"
    assert "gpt-image-2 has been retired; gpt-image-2.6-flare answers" in answer.headers["x-rollout-warnings"]
    assert answer.headers["Sunset"]
    assert answer.headers["Deprecation"].startswith("@")
    refused = desk.draws(strict, PAINTER)
    assert refused.status_code == 400
    assert refused.json["error"]["code"] == "model_retired"  # type: ignore[index]
    assert refused.json["error"]["successor"] == "gpt-image-2.6-flare"  # type: ignore[index]
    assert desk.draws(strict, "gpt-image-2.6-flare").status_code == 200
    for name in ("gpt-image-1", "dall-e-3"):
        assert desk.draws(follows, name).status_code == 200
        assert desk.draws(strict, name).json["error"]["code"] == "model_retired"  # type: ignore[index]


def test_an_alias_is_put_shown_and_taken_away(desk: Desk) -> None:
    key = desk.key("acme")
    made = desk.change("PUT", "/catalogue/aliases/painter", document={"to": PAINTER, "warning": "a nickname"})
    answer = desk.draws(key, "painter")
    assert (answer.headers["x-rollout-model"], answer.headers["x-rollout-warnings"]) == (
        "sandbox/gpt-image-2",
        "a nickname; gpt-image-2 answers",
    )
    assert made in desk.call("GET", "/catalogue/aliases").json["data"]  # type: ignore[index]
    desk.change("DELETE", "/catalogue/aliases/painter", etag=f'"{made["version"]}"')
    assert desk.draws(key, "painter").status_code == 404
    desk.change("DELETE", "/catalogue/aliases/dall-e-3")
    assert desk.draws(key, "dall-e-3").status_code == 404
    assert desk.call("GET", "/catalogue/aliases/dall-e-3").status_code == 404
    desk.change("PUT", "/catalogue/aliases/dall-e-3", document={"to": PAINTER})
    assert desk.draws(key, "dall-e-3").status_code == 200


def test_rows_that_make_no_catalogue_leave_the_old_one_in_force(desk: Desk) -> None:
    desk.change("PUT", "/catalogue/aliases/painter", document={"to": PAINTER})
    with desk.services.changes.begin(SEED, "by hand") as change:
        catalogue_rows.put(change.tx, "alias", Row("broken", {"to": "gone"}, 99, 0, "x"))
        change.record("alias.added", subject="broken", tenant=None, before=None, after={})
    desk.services.state.refresh()
    assert desk.services.catalogue().resolve("painter", GENERATION).model.name == PAINTER
    with desk.services.changes.begin(SEED, "by hand") as change:
        catalogue_rows.remove(change.tx, "alias", "broken")
        change.record("alias.removed", subject="broken", tenant=None, before={}, after=None)
    desk.services.state.refresh()
    desk.change("DELETE", "/catalogue/aliases/painter")
    assert "painter" not in {alias.name for alias in desk.services.catalogue().aliases}


# -- moves ---------------------------------------------------------------------------------------------------------------


def who_answers(desk: Desk, name: str) -> dict[str, str]:
    """By tenant, the model that a call by this name reaches."""
    services = desk.services
    services.state.refresh()
    found = {}
    for tenant in TENANTS:
        key = Key("key_1", tenant, "k", "live", "rk", "h", (), 0)
        caller = Identity(services.state.facts(tenant), key)
        found[tenant] = calls.resolve(
            services.catalogue, services.features, caller, name, GENERATION
        ).model.name
    return found


OLD, NEW, FEATURE = "gpt-image-2.5-sunburst", "gpt-image-2.6-sunburst", "model.dall-e-3"


def moving(desk: Desk, phase: str = "percentage_50") -> set[str]:
    """The tenants that go first when dall-e-3 moves."""
    for name in TENANTS:
        desk.services.tenants.add(SEED, Tenant(name, name), "seed")
    begun = desk.change("POST", "/catalogue/aliases/dall-e-3/move", to=NEW, phase=phase)
    assert (begun["row"]["document"]["moves_to"], begun["plan"]["feature"]) == (NEW, FEATURE)
    assert begun["plan"]["run"]["phase"] == phase
    return {tenant for tenant, model in who_answers(desk, "dall-e-3").items() if model == NEW}


def test_a_name_moves_tenant_by_tenant_as_its_plan_goes_and_sticks(desk: Desk) -> None:
    first = moving(desk)
    assert 8 < len(first) < 32
    answers = who_answers(desk, "dall-e-3")
    assert set(answers.values()) == {OLD, NEW}
    assert who_answers(desk, "dall-e-3") == answers
    assert set(who_answers(desk, "dall-e-2").values()) == {OLD}
    desk.change("POST", f"/plans/{FEATURE}/rollback", to="percentage_10")
    fewer = {tenant for tenant, model in who_answers(desk, "dall-e-3").items() if model == NEW}
    assert fewer < first
    desk.change("POST", f"/plans/{FEATURE}/advance", to="general_availability")
    assert set(who_answers(desk, "dall-e-3").values()) == {NEW}


def test_a_kill_or_a_halt_of_a_move_brings_tenants_back_at_the_next_revision(desk: Desk) -> None:
    first = sorted(moving(desk))
    desk.change("POST", f"/features/{FEATURE}/kill", tenant=first[0])
    assert who_answers(desk, "dall-e-3")[first[0]] == OLD
    assert who_answers(desk, "dall-e-3")[first[1]] == NEW
    desk.change("POST", f"/features/{FEATURE}/kill")
    assert set(who_answers(desk, "dall-e-3").values()) == {OLD}
    desk.change("POST", f"/features/{FEATURE}/revive")
    assert who_answers(desk, "dall-e-3")[first[1]] == NEW
    desk.change("POST", f"/features/{FEATURE}/revive", tenant=first[0])
    assert {tenant for tenant, model in who_answers(desk, "dall-e-3").items() if model == NEW} == set(first)


def test_a_caller_is_told_who_answers_while_the_name_moves(desk: Desk) -> None:
    desk.change("POST", "/catalogue/aliases/dall-e-3/move", to=NEW, phase="general_availability")
    answer = desk.draws(desk.key("acme"), "dall-e-3")
    assert answer.headers["x-rollout-model"] == f"sandbox/{NEW}"
    assert f"2026-05-12; {NEW} answers" in answer.headers["x-rollout-warnings"]
    assert answer.headers["Sunset"] == "Tue, 12 May 2026 00:00:00 GMT"


def test_a_move_is_explained_foreseen_simulated_and_granted_as_any_plan(desk: Desk) -> None:
    first = moving(desk)
    inside, outside = sorted(first)[0], sorted(set(TENANTS) - first)[0]
    explained = desk.call("GET", f"/explain?tenant={outside}&feature={FEATURE}").json
    assert explained["decision"]["allowed"] is False  # type: ignore[index]
    explained = desk.call("GET", f"/explain?tenant={inside}&feature={FEATURE}").json
    assert (explained["decision"]["allowed"], explained["decision"]["reason"]) == (True, "percentage")  # type: ignore[index]
    simulated = desk.services.simulations.simulate(FEATURE, step=Advance()).answer
    assert simulated["tenants"]["gained"] == 42 - simulated["tenants"]["inside"]
    assert desk.call("GET", "/plans").json["data"][-1]["feature"] == FEATURE  # type: ignore[index]
    cohort = {"audience": {"kind": "granted"}, "title": "Asked to go first", "after": None}
    desk.change("POST", f"/plans/{FEATURE}/rollback", to="percentage_1")
    granted = desk.call("POST", "/grants", tenant=outside, feature=FEATURE)
    assert granted.status_code == 201, granted.json
    edited = desk.call("GET", f"/plans/{FEATURE}")
    patch = {"phases": {"asked": {**cohort, "after": "percentage_1"}}}
    desk.change("PATCH", f"/plans/{FEATURE}", **patch, etag=edited.headers["ETag"])
    desk.change("POST", f"/plans/{FEATURE}/advance")
    assert who_answers(desk, "dall-e-3")[outside] == NEW
    assert desk.faults("POST", "/grants", tenant="acme", feature="model.gpt-image-2")["param"] == "feature"


def test_a_move_ends_when_it_has_come_to_everyone(desk: Desk) -> None:
    moving(desk)
    early = desk.faults("POST", "/catalogue/aliases/dall-e-3/finish", 409)
    assert "not come to everyone" in early["detail"]
    again = desk.faults("POST", "/catalogue/aliases/dall-e-3/move", 409, to=PAINTER)
    assert again["param"] == "to"
    document = {**desk.row("aliases", "dall-e-3")["document"], "to": PAINTER}
    etag = f'"{desk.row("aliases", "dall-e-3")["version"]}"'
    held = desk.faults("PUT", "/catalogue/aliases/dall-e-3", 409, document=document, etag=etag)
    assert held["param"] == "to"
    assert desk.call("DELETE", "/catalogue/aliases/dall-e-3").status_code == 409
    planned = desk.call("POST", f"/plans/{FEATURE}/schedule", at="2099-01-01T00:00:00Z", do="pause")
    assert planned.status_code == 201
    desk.change("POST", f"/plans/{FEATURE}/advance")
    row = desk.change("POST", "/catalogue/aliases/dall-e-3/finish")
    assert (row["document"]["to"], row["document"]["moves_to"]) == (NEW, None)
    assert desk.call("GET", f"/plans/{FEATURE}").status_code == 404
    assert desk.services.schedules.open_of(FEATURE) == []
    assert set(who_answers(desk, "dall-e-3").values()) == {NEW}
    assert {action for action, _ in desk.audited()} >= {"alias.changed", "plan.ended", "schedule.cancelled"}
    desk.change("POST", "/catalogue/aliases/dall-e-3/move", to=OLD)
    assert desk.services.audit.verify() is None


def test_a_move_that_is_called_off_leaves_the_name_where_it_was(desk: Desk) -> None:
    moving(desk)
    desk.change("POST", f"/features/{FEATURE}/kill")
    row = desk.change("POST", "/catalogue/aliases/dall-e-3/finish", call_off=True)
    assert (row["document"]["to"], row["document"]["moves_to"]) == (OLD, None)
    assert set(who_answers(desk, "dall-e-3").values()) == {OLD}
    assert desk.call("GET", f"/features/{FEATURE}").status_code == 404
    assert desk.call("GET", f"/explain?tenant=acme&feature={FEATURE}").status_code == 200
    desk.change("POST", "/catalogue/aliases/dall-e-3/move", to=NEW, phase="general_availability")
    assert set(who_answers(desk, "dall-e-3").values()) == {NEW}


def test_a_model_that_has_moved_is_retired_with_its_next_one_as_successor(desk: Desk) -> None:
    desk.change("POST", f"/catalogue/models/{PAINTER}/move", to=NEW, phase="general_availability")
    refused = desk.faults("POST", f"/catalogue/models/{PAINTER}/retire", 409)
    assert refused["param"] == "lifecycle"
    answer = desk.draws(desk.key("acme"), PAINTER)
    assert answer.headers["x-rollout-warnings"].startswith(f"{PAINTER} is being replaced; {NEW} answers")
    row = desk.change("POST", f"/catalogue/models/{PAINTER}/finish")["document"]
    assert (row["lifecycle"], row["successor"], row["moves_to"]) == ("retired", NEW, None)
    assert desk.draws(desk.key("acme"), PAINTER).headers["x-rollout-model"] == f"sandbox/{NEW}"
