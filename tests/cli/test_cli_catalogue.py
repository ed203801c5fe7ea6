"""`rollout catalogue`: models are shown, put, priced, retired; names lead to them, and move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.db import migrate
from rollout.settings import Settings

Run = Callable[..., Result]
PAINTER = "gpt-image-2"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    migrate.upgrade(Settings.from_env({"ROLLOUT_HOME": str(tmp_path)}).database)
    return lambda *arguments, **sent: CliRunner().invoke(main, arguments, **sent)


def shown(run: Run, name: str) -> Any:
    return json.loads(run("catalogue", "show", name, "--json").stdout)


def test_a_row_is_printed_changed_and_put_back(run: Run) -> None:
    document = json.loads(run("catalogue", "show", PAINTER, "--document").stdout)
    sent = json.dumps({**document, "max_images": 3})
    put = ("catalogue", "set", PAINTER, "--file", "-", "--reason", "they allow three")
    tried = run(*put, "--dry-run", input=sent)
    assert tried.stderr == f"would be: {PAINTER} is in the catalogue\n"
    assert shown(run, PAINTER)["origin"] == "seed"
    assert run(*put, input=sent).exit_code == 0
    assert (shown(run, PAINTER)["document"]["max_images"], shown(run, PAINTER)["origin"]) == (3, "row")
    assert run("catalogue", "reset", PAINTER, "--reason", "back").exit_code == 0
    assert shown(run, PAINTER)["document"] == document


def test_all_faults_are_printed_with_where_they_stand(run: Run) -> None:
    document = json.loads(run("catalogue", "show", PAINTER, "--document").stdout)
    sent = json.dumps({**document, "vendor": "acme", "sizes": ["x"]})
    refused = run("catalogue", "set", PAINTER, "--file", "-", "--reason", "x", input=sent)
    assert refused.exit_code == 3
    assert "There is no vendor 'acme'" in refused.stderr
    assert "(vendor)" in refused.stderr
    assert "sizes.0: A size is WIDTHxHEIGHT in pixels." in refused.stderr


def test_a_model_is_priced_and_retired_and_listed_so(run: Run) -> None:
    last = json.loads(run("catalogue", "show", PAINTER, "--document").stdout)["prices"][-1]
    new = json.dumps({**last, "id": "openai/gpt-image-2/2027-01"})
    priced = run("catalogue", "price", PAINTER, "--file", "-", "--reason", "January", input=new)
    assert priced.stderr == f"{PAINTER} costs openai/gpt-image-2/2027-01 from now on\n"
    retired = run("catalogue", "retire", PAINTER, "--successor", "gpt-image-2.6-flare", "--reason", "it ends")
    assert retired.exit_code == 0
    (line,) = [line for line in run("catalogue", "models").stdout.splitlines() if line.split()[0] == PAINTER]
    assert "retired" in line
    assert "gpt-image-2.6-flare" in line
    assert "openai/gpt-image-2/2027-01" in line
    assert len(json.loads(run("catalogue", "models", "--json").stdout)) > 20


def test_a_name_leads_to_a_model_moves_and_leads_nowhere(run: Run) -> None:
    made = run("catalogue", "alias", "painter", "--to", PAINTER, "--warning", "a nickname", "--reason", "x")
    assert made.stderr == f"painter leads to {PAINTER}\n"
    begun = run("catalogue", "move", "painter", "--to", "gpt-image-2.6-flare", "--reason", "x")
    assert "go on with: rollout plans advance model.painter" in begun.stderr
    assert shown(run, "painter")["document"]["moves_to"] == "gpt-image-2.6-flare"
    assert run("plans", "show", "model.painter").exit_code == 0
    assert run("kill", "model.painter", "--reason", "odd hands").exit_code == 0
    assert run("features", "revive", "model.painter", "--reason", "fixed").exit_code == 0
    early = run("catalogue", "finish", "painter", "--reason", "done")
    assert early.exit_code == 3
    assert "has not come to everyone" in early.stderr
    assert run("plans", "jump", "model.painter", "general_availability", "--reason", "x").exit_code == 0
    assert run("catalogue", "finish", "painter", "--reason", "done").stderr == "painter has moved\n"
    assert "gpt-image-2.6-flare" in run("catalogue", "aliases").stdout
    assert run("catalogue", "unalias", "painter", "--reason", "x").exit_code == 0
    gone = run("catalogue", "show", "painter")
    assert (gone.exit_code, "There is no 'painter' in the catalogue." in gone.stderr) == (3, True)


def test_a_tenants_vendors_and_policies_are_set(run: Run) -> None:
    run("tenants", "add", "acme", "--name", "Acme", "--reason", "x")
    chosen = ("--vendor", "openai", "--vendor", "anthropic", "--retired-models", "strict")
    tenant = json.loads(run("tenants", "set", "acme", *chosen, "--reason", "x", "--json").stdout)
    assert (tenant["vendors"], tenant["retired_models"]) == (["openai", "anthropic"], "strict")
    refused = run("tenants", "set", "acme", "--vendor", "acme", "--reason", "x")
    assert (refused.exit_code, "There is no vendor 'acme'" in refused.stderr) == (3, True)
    tenant = json.loads(run("tenants", "set", "acme", "--vendor", "all", "--reason", "x", "--json").stdout)
    assert (tenant["vendors"], tenant["retired_models"]) == (None, "strict")
