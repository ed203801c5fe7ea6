"""/admin/requests: who was refused, and any id's story on one time line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console import SEED, Visitor
from flask import Flask
from werkzeug.test import TestResponse

from rollout.app import create_app
from rollout.core.decisions import GENERATION
from rollout.core.feedback import Opinion
from rollout.core.tenants import NewKey, Tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build


@dataclasses.dataclass
class Gate:
    """Partners at the sandbox: acme is in the beta, globex is not."""

    services: Services
    app: Flask
    keys: dict[str, str]

    def generate(self, tenant: str, prompt: str = "a <b>fox</b>") -> TestResponse:
        return self.app.test_client().post(
            "/v1/images/generations",
            json={"prompt": prompt, "size": "1024x1024", "quality": "low"},
            headers={"Authorization": f"Bearer {self.keys[tenant]}"},
        )


@pytest.fixture
def gate(new_database: Callable[..., str], tmp_path: Path) -> Iterator[Gate]:
    settings = Settings(
        home=str(tmp_path), database_url=new_database("sqlite"), secret_key="s" * 40, sandbox="on"
    )
    services = build(settings, connect=True)
    with services.changes.begin(SEED, "seed") as change:
        services.plans.ensure_plan(change)
    keys = {}
    for tenant in ("acme", "globex"):
        services.tenants.add(SEED, Tenant(tenant, tenant.title()), "seed")
        keys[tenant] = str(services.keys.add(SEED, tenant, NewKey("server"), "seed").secret)
    services.grants.add(SEED, "acme", GENERATION, "pilot")
    services.state.refresh()
    yield Gate(services, create_app(services), keys)
    services.close()


@pytest.fixture
def viewer(gate: Gate) -> Visitor:
    return Visitor(gate.app, gate.services).sign_in("viewer")


def test_who_is_not_in_the_beta_reads_why_in_the_first_sentence(gate: Gate, viewer: Visitor) -> None:
    refused = gate.generate("globex")
    viewer.get(f"/admin/requests?id={refused.headers['x-request-id']}")
    assert viewer.follow().status_code == 200
    story = viewer.text[viewer.text.index("Request req_") :]
    assert story.index("Refused: not granted.") < story.index("A key called")
    assert 'href="/admin/explain?tenant=globex&amp;feature=image-generation"' in viewer.page.text
    assert "rk_live_" in viewer.text
    assert gate.keys["globex"] not in viewer.page.text


def test_a_full_limit_is_named_with_its_figures_and_a_way_to_change_it(gate: Gate, viewer: Visitor) -> None:
    for meter in gate.services.meters.page(tenant="acme", after=None, limit=100):
        gate.services.meters.archive(SEED, meter.id, "one of our own")
    own = {"unit": "image", "period": "day", "cap": 0, "feature": GENERATION}
    meter = gate.services.meters.add(SEED, "acme", own, "none for now")
    gate.services.state.refresh()
    viewer.get(f"/admin/requests/{gate.generate('acme').headers['x-request-id']}")
    assert "the limit image-day had no room for 1 image, with 0 used and 0 held of 0." in viewer.text
    assert "It asked for 1 image, which can never fit." in viewer.text
    assert f'href="/admin/meters/{meter.id}"' in viewer.page.text


def test_what_failed_at_the_vendor_leads_to_its_hold(gate: Gate, viewer: Visitor) -> None:
    viewer.get(f"/admin/requests/{gate.generate('acme', 'sandbox:malformed a fox').headers['x-request-id']}")
    assert "Refused: The vendor failed while it had the call." in viewer.text
    assert "nothing was billed" not in viewer.text
    assert 'href="/admin/holds/hold_' in viewer.page.text
    assert "Charged as reserved at" in viewer.text


def test_a_picture_is_told_from_the_key_to_the_triage(gate: Gate, viewer: Visitor) -> None:
    made = gate.generate("acme")
    request_id = made.headers["x-request-id"]
    generation = gate.services.requests.story(request_id).events[0].values["id"]
    said = Opinion("down", ("wrong_colour",), "<script>alert(1)</script>")
    item, _ = gate.services.feedback.submit("acme", generation, "rosa", said)
    gate.services.feedback.set_state(SEED, item.id, "resolved", "told the vendor")
    viewer.get(f"/admin/requests/{item.id}")
    heads = (
        "A key called",
        "Decided",
        "Reserved",
        "Sent to the vendor",
        "Charged",
        "Pictures kept",
        "Rated",
        "Changed",
    )
    time_line = viewer.text[viewer.text.index("What happened") :]
    places = [time_line.index(head) for head in heads]
    assert places == sorted(places)
    assert "<b>fox" not in viewer.page.text
    assert "<script>alert" not in viewer.page.text
    assert "in the phase private_beta" in viewer.text
    picture = viewer.page.text.split('class="thumb" src="')[1].split('"')[0].replace("&amp;", "&")
    assert viewer.client.get(picture).content_type == "image/png"


def test_the_list_says_who_was_refused_and_counts_the_last_day(gate: Gate, viewer: Visitor) -> None:
    viewer.get("/admin/requests")
    assert "None was." in viewer.text
    assert "rollout requests show" in viewer.text
    ids = [gate.generate("globex").headers["x-request-id"] for _ in range(3)]
    first = viewer.get("/admin/requests?limit=2&tenant=globex").text
    assert viewer.text.index("Refused in the last 24 hours") < viewer.text.index("feature_not_enabled")
    cursor = first.split("cursor=", 1)[1].split("&", 1)[0]
    second = viewer.get(f"/admin/requests?limit=2&tenant=globex&cursor={cursor}").text
    assert sorted(one for one in ids for page in (first, second) if f'/{one}"' in page) == sorted(ids)
    assert "No request was refused like that" in viewer.get("/admin/requests?code=conflict").text
    rows = viewer.get("/admin/requests?tenant=globex&format=json").get_json()
    assert sorted(row["request_id"] for row in rows) == sorted(ids)


def test_bad_input_is_said_by_name(viewer: Visitor) -> None:
    for wrong in ("cursor=req_0", "limit=0", "from=yesterday", "colour=red", "code=" + "x" * 65):
        assert viewer.get(f"/admin/requests?{wrong}").status_code == 400
    assert viewer.get("/admin/requests/dec_1").status_code == 404
    assert "req_, gen_, anl_, hold_, fb_, img_" in viewer.text
    assert viewer.get(f"/admin/requests/{'x' * 5000}").status_code == 404


def test_the_story_is_for_people_who_are_signed_in(gate: Gate) -> None:
    answer: Any = gate.app.test_client().get("/admin/requests/req_1")
    assert answer.status_code == 303
    assert "/admin/sign-in" in answer.headers["Location"]
