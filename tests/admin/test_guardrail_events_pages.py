"""Guardrail events and evaluations, as admins see them: API, command, page, and the story of the request."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console import SEED, Visitor
from flask import Flask
from werkzeug.test import TestResponse

from rollout.app import create_app
from rollout.cli.main import main
from rollout.core.decisions import GENERATION
from rollout.core.tenants import NewKey, Tenant
from rollout.core.tokens import NewToken
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

BOTH = {"refine_prompt": True, "evaluate": True}


@dataclasses.dataclass
class Gate:
    """A partner at the sandbox, and an admin's token."""

    services: Services
    app: Flask
    key: str
    token: str

    def generate(self, prompt: str, **members: Any) -> TestResponse:
        self.services.state.refresh()  # as the worker's thread does; a stale one lets nobody in
        return self.app.test_client().post(
            "/v1/images/generations",
            json={"prompt": prompt, "size": "1024x1024", "quality": "low", **members},
            headers={"Authorization": f"Bearer {self.key}"},
        )

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.app.test_client().get(f"/admin/api/v1/{path}", headers=headers).json


@pytest.fixture
def gate(new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    given = {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("sqlite"),
        "ROLLOUT_SECRET_KEY": "s" * 40,
        "ROLLOUT_SANDBOX": "on",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    services = build(Settings.from_env(given), connect=True)
    with services.changes.begin(SEED, "seed") as change:
        services.plans.ensure_plan(change)
    services.tenants.add(SEED, Tenant("acme", "Acme"), "seed")
    key = services.keys.add(SEED, "acme", NewKey("server"), "seed").secret
    services.grants.add(SEED, "acme", GENERATION, "pilot")
    token = services.tokens.add(SEED, NewToken("vera", "viewer"), "seed").secret
    services.state.refresh()
    yield Gate(services, create_app(services), key, token)
    services.close()


@pytest.fixture
def viewer(gate: Gate) -> Visitor:
    return Visitor(gate.app, gate.services).sign_in("viewer")


def test_events_are_listed_by_the_api_the_command_and_the_page(
    gate: Gate, viewer: Visitor, logs_go_nowhere: None
) -> None:
    for category in ("violence", "hate", "violence"):
        assert gate.generate(f"sandbox:refuse={category} a fox").json["error"]["category"] == category

    first = gate.get("guardrail-events?category=violence&limit=1")
    rest = gate.get(f"guardrail-events?category=violence&cursor={first['next_cursor']}")
    (one, two) = (*first["data"], *rest["data"])
    assert (one["category"], one["source"], one["point"], one["phase"]) == (
        "violence",
        "sandbox",
        "prompt",
        "private_beta",
    )
    assert one["id"] > two["id"]
    assert rest["next_cursor"] is None
    assert gate.get("guardrail-events?tenant=nobody")["data"] == []
    assert gate.get("guardrail-events?category=spam")["param"] == "category"
    assert gate.get("guardrail-events?since=2199-01-01T00:00:00Z")["data"] == []

    printed = CliRunner().invoke(main, ["guardrail-events", "list", "--category", "hate", "--json"])
    assert printed.exit_code == 0, printed.output
    (event,) = json.loads(printed.stdout)
    assert event["category"] == "hate"

    viewer.get("/admin/guardrail-events?category=hate")
    assert viewer.page.status_code == 200
    assert f'href="/admin/requests/{event["use_id"]}"' in viewer.page.text
    assert one["use_id"] not in viewer.page.text
    assert viewer.get("/admin/guardrail-events?format=csv").text.count("sandbox") == 3


def test_a_story_tells_what_was_refused(gate: Gate, viewer: Visitor) -> None:
    refused = gate.generate("sandbox:flagged=output,refuse=sexual a fox")

    story = gate.get(f"requests/{refused.headers['x-request-id']}")
    (told,) = [event for event in story["events"] if event["kind"] == "guardrail"]
    assert told["values"] == {
        "category": "sexual",
        "point": "output_image",
        "source": "sandbox",
        "vendor_code": "sexual",
    }
    viewer.get(f"/admin/requests/{refused.headers['x-request-id']}")
    assert "Refused by the vendor for its content" in viewer.text
    assert "sexual content · the picture that was made · sandbox" in viewer.text


def test_a_story_tells_what_claude_made_and_found(gate: Gate, viewer: Visitor) -> None:
    answer = gate.generate("sandbox:judge=score:0.25 a fox", rollout=BOTH)
    request_id = answer.headers["x-request-id"]

    events = {event["kind"]: event for event in gate.get(f"requests/{request_id}")["events"]}
    assert events["refined"]["values"] == answer.json["rollout"]["refine_prompt"]
    assert events["evaluated"]["values"] == answer.json["rollout"]["evaluate"]
    asked = [gate.get(f"requests/{events[kind]['links']['hold']}") for kind in ("refined", "evaluated")]
    assert [story["request_id"] for story in asked] == [f"{request_id}.refine", f"{request_id}.evaluate"]
    assert [story["outcome"] for story in asked] == ["settled", "settled"]
    assert [story["events"][0]["links"]["request"] for story in asked] == [request_id] * 2
    viewer.get(f"/admin/requests/{request_id}")
    assert "Judged by Claude" in viewer.text
    assert "Free of defects 25%" in viewer.text
    assert "a fox, in more words (SANDBOX)" in viewer.text


def test_a_story_tells_what_was_skipped(gate: Gate, viewer: Visitor) -> None:
    answer = gate.generate("sandbox:refine=error:529,judge=malformed a fox", rollout=BOTH)

    viewer.get(f"/admin/requests/{answer.headers['x-request-id']}")
    assert viewer.text.count("Skipped: upstream_unavailable") == 2
