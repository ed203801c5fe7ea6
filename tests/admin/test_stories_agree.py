"""The page, the command and the API tell one story of a request: the same figures, to the micro-dollar."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console import SEED, Visitor
from flask import Flask

from rollout.app import create_app
from rollout.cli.main import main
from rollout.core.adjustments import NewAdjustment
from rollout.core.decisions import GENERATION
from rollout.core.tenants import NewKey, Tenant
from rollout.core.tokens import NewToken
from rollout.core.topups import NewTopUp
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

SECRET = "s" * 40

pytestmark = pytest.mark.usefixtures("logs_go_nowhere")


@pytest.fixture
def services(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """On the database that commands work on, too; acme is in the beta, with three pictures a day."""
    settings = Settings(
        home=str(tmp_path), database_url=new_database("sqlite"), secret_key=SECRET, sandbox="on"
    )
    for name in ("home", "database_url", "secret_key", "sandbox"):
        monkeypatch.setenv(f"ROLLOUT_{name.upper()}", getattr(settings, name))
    built = build(settings, connect=True)
    with built.changes.begin(SEED, "seed") as change:
        built.plans.ensure_plan(change)
    built.tenants.add(SEED, Tenant("acme", "Acme"), "seed")
    built.grants.add(SEED, "acme", GENERATION, "pilot")
    day = built.meters.named("acme", "image-day")
    built.meters.change(SEED, day.id, {"cap": 1}, "a small pilot")
    built.topups.add(SEED, NewTopUp(day.id, 2), "for the fair")
    built.state.refresh()
    yield built
    built.close()


@pytest.fixture
def app(services: Services) -> Flask:
    return create_app(services)


@pytest.fixture
def generate(app: Flask, services: Services) -> Callable[..., str]:
    """Ask for pictures; the request's id."""
    key = str(services.keys.add(SEED, "acme", NewKey("server"), "seed").secret)
    services.state.refresh()

    def ask(prompt: str = "a fox", n: int = 1) -> str:
        answer = app.test_client().post(
            "/v1/images/generations",
            json={"prompt": prompt, "n": n, "size": "1024x1024", "quality": "low"},
            headers={"Authorization": f"Bearer {key}"},
        )
        return answer.headers["x-request-id"]

    return ask


@pytest.fixture
def api(app: Flask, services: Services) -> Callable[[str], Any]:
    token = services.tokens.add(SEED, NewToken("reader", "viewer"), "test").secret

    def read(any_id: str) -> Any:
        answer = app.test_client().get(
            f"/admin/api/v1/requests/{any_id}", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    return read


@pytest.fixture
def page(app: Flask, services: Services) -> Callable[[str], str]:
    """What a viewer reads, with the addresses of links."""
    viewer = Visitor(app, services).sign_in("viewer")

    def read(any_id: str) -> str:
        assert viewer.get(f"/admin/requests/{any_id}").status_code == 200
        return viewer.text + viewer.page.text

    return read


def command(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["requests", "show", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def dollars(micro: float) -> str:
    return f"US${micro / 1_000_000:,.12f}".rstrip("0").rstrip(".")


def test_of_a_refusal(
    generate: Callable[..., str], api: Callable[[str], Any], page: Callable[[str], str]
) -> None:
    generate(n=2)
    refused = generate(n=2)

    told, shown, printed = api(refused), page(refused), command(refused)
    assert told == json.loads(command(refused, "--json"))
    (full,) = told["refused_by"]
    assert (full["cap"], full["used"], full["held"], full["needed"], full["remaining"]) == (3, 2, 0, 2, 1)
    assert f'href="/admin/meters/{full["meter"]}"' in shown
    assert "2 of 3" in shown
    assert "Needed 2 images Left 1 image Limits the tenant, for one feature" in shown
    assert "to 1 image at" in shown
    for said in (full["set_by"]["by"], full["set_by"]["reason"], full["topups"][0]["id"], "for the fair"):
        assert said in shown
        assert said in printed
    assert f"Audit entry {full['set_by']['audit']}" in shown
    for moment in (full["window"]["start"], full["window"]["ends"], full["resets_at"], full["set_by"]["at"]):
        assert f'datetime="{moment}"' in shown
        assert moment.replace("T", " ").replace("Z", " UTC") in printed
    for name, figure in {"cap": 3, "used": 2, "held": 0, "needed": 2, "remaining": 1}.items():
        assert re.search(rf"^  {name} +{figure}$", printed, re.MULTILINE)


def test_of_a_charge(
    services: Services,
    generate: Callable[..., str],
    api: Callable[[str], Any],
    page: Callable[[str], str],
) -> None:
    made = generate()
    given_back = NewAdjustment("acme", GENERATION, "usd_micro", -100)
    adjustment, _ = services.adjustments.add(SEED, given_back, f"{made} was blurred")

    told, shown, printed = api(made), page(made), command(made)
    assert told == json.loads(command(made, "--json")) == api(told["events"][0]["values"]["id"])
    money = told["money"]
    assert money["lines_usd_micro"] == money["charged_usd_micro"] > 0
    assert f"{dollars(money['charged_usd_micro'])} by what the vendor told" in shown
    assert money["price"]["id"] in shown
    assert money["price"]["id"] in printed
    for line in money["lines"]:
        rate, cost = dollars(line["usd_micro_per_million"]), dollars(line["usd_pico"] / 1_000_000)
        assert f"{line['unit']} {line['tokens']} {rate}.00 {cost}" in shown
    for entry in money["entries"]:
        is_money = entry["unit"] == "usd_micro"
        changes = [
            f"{'+' if change > 0 else '-'}{dollars(abs(change)) if is_money else abs(change)}"
            for change in (entry["d_used"], entry["d_held"])
            if change
        ]
        used = (dollars(entry["used"]) if entry["used"] else "US$0.00") if is_money else str(entry["used"])
        assert " ".join([*changes, used]) in shown
        (row,) = [row for row in printed.splitlines() if row.endswith(entry["id"])]
        assert {
            entry["kind"],
            entry["name"],
            str(entry["d_used"]),
            str(entry["d_held"]),
            str(entry["used"]),
        } <= set(row.split())
    assert [one["id"] for one in money["adjustments"]] == [adjustment.id]
    assert adjustment.id in shown
    assert adjustment.id in printed
    assert "-US$0.0001" in shown


def test_of_a_doubt(
    generate: Callable[..., str], api: Callable[[str], Any], page: Callable[[str], str]
) -> None:
    doubtful = generate("sandbox:drop a fox")

    told, shown, printed = api(doubtful), page(doubtful), command(doubtful)
    assert told == json.loads(command(doubtful, "--json"))
    assert (told["outcome"], told["money"]["charged_usd_micro"]) == ("unknown", None)
    assert "What it cost is not known yet." in shown
    doubt = next(event["values"] for event in told["events"] if event["kind"] == "unknown")
    assert doubt["then"] == "charge"
    for item in doubt["evidence"]:
        assert item["found"] in shown
        assert item["found"] in printed
    assert f'datetime="{doubt["until"]}"' in shown
