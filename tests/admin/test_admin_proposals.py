"""/admin/api/v1/catalogue/verify and proposals, and their commands: from a vendor's own list over real sockets to the catalogue's row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sandboxes import Served, seed, serve_sandbox
from werkzeug.test import TestResponse

from rollout.app import create_app
from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.catalogue import Catalogue
from rollout.core.times import epoch
from rollout.core.tokens import NewToken
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

SEED = Actor("system:seed")
HAIKU, OPUS, ENDS = "claude-haiku-5-5", "claude-opus-5-5", "2027-05-01T00:00:00Z"

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def vendor() -> Iterator[Served]:
    """Anthropic, which ends HAIKU, and has OPUS no longer."""
    says: dict[str, Any] = {HAIKU: {"retires_at": epoch(ENDS)}, OPUS: {"lifecycle": "retired"}}
    rows = [replace(row, **says.get(row.name, {})) for row in seed().models]
    with serve_sandbox(Catalogue(rows, ())) as served:
        yield served


class Desk:
    def __init__(self, services: Services) -> None:
        self.services = services
        self._client = create_app(services).test_client()
        self._tokens = {
            role: services.tokens.add(SEED, NewToken(f"a-{role}", role), "seed").secret
            for role in ("viewer", "editor", "admin")
        }

    def call(self, method: str, path: str, role: str = "admin", etag: str = "", **body: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self._tokens[role]}"} | ({"If-Match": etag} if etag else {})
        sent = {"reason": "test", **body} if path.startswith("/proposals/") else body
        json = sent if method != "GET" else None
        return self._client.open(f"/admin/api/v1/catalogue{path}", method=method, json=json, headers=headers)

    def verified(self) -> list[Any]:
        answer: Any = self.call("POST", "/verify", "editor").json
        return list(answer["data"])

    def ids(self, state: str = "open") -> dict[tuple[str, str], str]:
        rows: Any = self.call("GET", f"/proposals?state={state}", "viewer").json
        return {(row["model"], row["kind"]): row["id"] for row in rows["data"]}

    def row(self, name: str) -> Any:
        self.services.state.refresh()
        return self.services.catalogue_rows.get("model", name)["document"]


@pytest.fixture
def desk(vendor: Served, new_database: Callable[..., str], tmp_path: Path) -> Iterator[Desk]:
    settings = Settings(
        home=str(tmp_path),
        database_url=new_database("sqlite"),
        secret_key="s" * 40,
        anthropic_base_url=vendor.url,
    )
    services = build(settings, connect=True)
    yield Desk(services)
    services.close()


def test_what_a_vendor_says_is_proposed_applied_and_dismissed(desk: Desk) -> None:
    (report,) = desk.verified()
    assert (report["vendor"], report["state"], report["detail"]) == ("anthropic", "compared", None)
    assert {(one["model"], one["kind"]) for one in report["found"]} == {(HAIKU, "retires"), (OPUS, "gone")}
    ids = desk.ids()
    shown = desk.call("GET", f"/proposals/{ids[HAIKU, 'retires']}", "viewer")
    assert (shown.json or {})["found"] == {"retires_at": ENDS}
    path = f"/proposals/{ids[HAIKU, 'retires']}/apply"
    assert desk.call("POST", path, etag='"9"').status_code == 409
    assert desk.call("POST", path, reason="").status_code == 400
    applied = desk.call("POST", path, etag=shown.headers["ETag"])
    assert (applied.status_code, (applied.json or {})["state"]) == (200, "applied")
    assert (desk.row(HAIKU)["lifecycle"], desk.row(HAIKU)["retires_at"]) == ("deprecated", ENDS)
    dismissed = desk.call("POST", f"/proposals/{ids[OPUS, 'gone']}/dismiss")
    assert ((dismissed.json or {})["state"], (dismissed.json or {})["ended_by"]) == (
        "dismissed",
        "token:a-admin",
    )
    assert desk.row(OPUS)["lifecycle"] == "active"
    assert desk.ids() == {}
    assert set(desk.ids("dismissed")) == {(OPUS, "gone")}
    assert desk.call("POST", path).status_code == 409


def test_who_may_only_look_or_edit_applies_nothing(desk: Desk) -> None:
    desk.verified()
    for role, end in (("viewer", "apply"), ("editor", "apply"), ("editor", "dismiss")):
        assert desk.call("POST", f"/proposals/{desk.ids()[OPUS, 'gone']}/{end}", role).status_code == 403
    assert desk.call("POST", "/verify", "viewer").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "param"),
    [
        ("GET", "/proposals/prp_none", 404, "proposal"),
        ("POST", "/proposals/prp_none/apply", 404, "proposal"),
        ("GET", "/proposals?state=lost", 400, "state"),
    ],
)
def test_what_is_asked_wrongly_is_named(desk: Desk, method: str, path: str, status: int, param: str) -> None:
    answer = desk.call(method, path)
    assert (answer.status_code, (answer.json or {})["param"]) == (status, param)


@pytest.fixture
def run(vendor: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs_go_nowhere: None) -> Run:
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    monkeypatch.setenv("ROLLOUT_ANTHROPIC_BASE_URL", vendor.url)
    monkeypatch.setenv("ROLLOUT_OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    migrate.upgrade(Settings.from_env({"ROLLOUT_HOME": str(tmp_path)}).database)
    return lambda *arguments: CliRunner().invoke(main, ["catalogue", *arguments])


def test_the_commands_do_the_same(run: Run) -> None:
    report = run("verify").stdout
    assert "anthropic  compared" in report
    assert "openai     silent" in report
    assert "rollout catalogue proposals" in report
    rows = {row["model"]: row for row in json.loads(run("proposals", "--json").stdout)}
    assert set(rows) == {HAIKU, OPUS}
    assert json.loads(run("proposals", rows[HAIKU]["id"], "--json").stdout)["found"] == {"retires_at": ENDS}
    tried = run("apply", rows[HAIKU]["id"], "--reason", "announced", "--dry-run")
    assert "claude-haiku-5-5 is as anthropic says" in tried.stderr
    assert run("apply", rows[HAIKU]["id"], "--reason", "announced").exit_code == 0
    assert run("dismiss", rows[OPUS]["id"], "--reason", "a slip of theirs").exit_code == 0
    assert run("dismiss", rows[OPUS]["id"], "--reason", "again").exit_code != 0
    assert json.loads(run("proposals", "--json").stdout) == []
    assert len(json.loads(run("proposals", "--state", "all", "--json").stdout)) == 2
    missing = run("verify", "--vendor", "midjourney")
    assert "No list of 'midjourney' can be asked for." in missing.stderr
    again = json.loads(run("verify", "--vendor", "anthropic", "--json").stdout)
    assert [one["kind"] for one in again["data"][0]["found"]] == ["gone"]
