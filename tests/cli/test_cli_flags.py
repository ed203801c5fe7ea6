"""`rollout flags` and `rollout segments`: what they print, take from files, and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]
WHY = ("--reason", "because")


@pytest.fixture
def environ(new_database: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    """Settings for a command."""
    return {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("sqlite"),
        "ROLLOUT_SECRET_KEY": "a secret key of 32 characters or more",
    }


@pytest.fixture
def services(environ: dict[str, str]) -> Iterator[Services]:
    wired = build(Settings.from_env(environ))
    yield wired
    wired.close()


@pytest.fixture
def run(environ: dict[str, str], services: Services) -> Run:
    return lambda *arguments, **more: CliRunner().invoke(main, arguments, env=environ, **more)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_flag_from_its_first_to_its_last_day(run: Run, services: Services, tmp_path: Path) -> None:
    assert "No such flags in production" in run("flags", "list").output
    added = answer(run("flags", "add", "new-editor", "--on", *WHY, "--json"))
    assert (added["document"]["enabled"], added["document"]["strategies"][0]["name"]) == (True, "default")
    document = answer(run("flags", "show", "new-editor", "--document"))
    file = tmp_path / "flag.json"
    file.write_text(json.dumps({**document, "description": "with layers"}))
    changed = run("flags", "set", "new-editor", "--file", str(file), "--off", *WHY)
    assert changed.exit_code == 0, changed.output
    kept = services.flags.get("new-editor").document
    assert (kept["description"], kept["enabled"]) == ("with layers", False)
    assert "new-editor" in run("flags", "list").output
    assert answer(run("flags", "list", "--stale", "--json")) == []
    assert answer(run("flags", "archive", "new-editor", *WHY, "--json"))["archived_at"]
    assert [one["name"] for one in answer(run("flags", "list", "--archived", "--json"))] == ["new-editor"]
    assert answer(run("flags", "revive", "new-editor", *WHY, "--json"))["archived_at"] is None


def test_all_that_is_wrong_is_printed_with_where_it_stands(run: Run) -> None:
    wrong = {"strategies": [{"name": "nearby"}, {"name": "default", "segments": [7]}]}
    refused = run("flags", "add", "new-editor", "--file", "-", *WHY, input=json.dumps(wrong))
    assert refused.exit_code == 3
    assert "(strategies.0.name)" in refused.stderr
    assert "strategies.1.segments.0: There is no segment 7." in refused.stderr


def test_warnings_are_printed_and_accepted(run: Run) -> None:
    constraint = {"contextName": "userId", "operator": "NOT_IN", "values": ["eve"]}
    text = json.dumps({"strategies": [{"name": "default", "constraints": [constraint]}]})
    add = ("flags", "add", "new-editor", "--file", "-", *WHY)
    refused = run(*add, input=text)
    assert refused.exit_code == 3
    assert "strategies.0.constraints.0: Callers that do not send userId are let in." in refused.stderr
    assert run(*add, "--dry-run", "--accept-warnings", input=text).exit_code == 0
    assert run("flags", "show", "new-editor").exit_code == 3
    assert run(*add, "--accept-warnings", input=text).exit_code == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "\\ud800"}'])
def test_a_file_that_is_no_json_object_is_said_to_be_none(run: Run, text: str) -> None:
    refused = run("flags", "add", "new-editor", "--file", "-", *WHY, input=text)
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_set_needs_something_to_set(run: Run) -> None:
    assert run("flags", "set", "new-editor", *WHY).exit_code == 2


def test_a_segment_from_its_first_to_its_last_day(run: Run) -> None:
    assert "No segments yet" in run("segments", "list").output
    constraints = [{"contextName": "userId", "operator": "IN", "values": ["ana"]}]
    testers = json.dumps({"name": "testers", "constraints": constraints})
    add = ("segments", "add", "--file", "-", *WHY, "--json")
    number = str(answer(run(*add, input=testers))["id"])
    using = json.dumps({"strategies": [{"name": "default", "segments": [int(number)]}]})
    answer(run("flags", "add", "new-editor", "--file", "-", *WHY, "--json", input=using))
    assert answer(run("segments", "show", number, "--json"))["flags"] == ["production/new-editor"]
    document = answer(run("segments", "show", number, "--document"))
    described = json.dumps({**document, "description": "first"})
    changed = answer(run("segments", "set", number, "--file", "-", *WHY, "--json", input=described))
    assert (changed["version"], changed["document"]["description"]) == (2, "first")
    refused = run("segments", "remove", number, *WHY)
    assert (refused.exit_code, "production/new-editor" in refused.stderr) == (3, True)
    answer(run("flags", "set", "new-editor", "--file", "-", *WHY, "--json", input='{"strategies": []}'))
    answer(run("segments", "remove", number, *WHY, "--json"))
    assert answer(run("segments", "list", "--json")) == []


def test_flags_come_from_a_file_and_go_to_one(run: Run, services: Services, tmp_path: Path) -> None:
    document = {
        "version": 2,
        "features": [{"name": "a", "enabled": True, "strategies": [{"name": "default"}], "lifecycle": 1}],
        "segments": [],
    }
    file = tmp_path / "flags.json"
    file.write_text(json.dumps(document))
    looked = run("flags", "import", str(file), "--dry-run", *WHY)
    assert ("flag" in looked.stdout, services.imports.export()["features"]) == (True, [])
    assert "warning: a: lifecycle: No engine reads this member" in looked.stderr
    assert "would be: 1 change imported into production" in looked.stderr
    done = answer(run("flags", "import", "-", *WHY, "--json", input=json.dumps(document)))
    assert done["changes"] == [{"kind": "flag", "name": "a", "change": "added"}]
    assert "All of it is here already." in run("flags", "import", str(file), *WHY).stdout
    assert answer(run("flags", "export")) == document
    run("flags", "import", "-", "--mode", "replace", *WHY, input='{"features": []}')
    assert answer(run("flags", "export"))["features"] == []


def test_what_flagd_cannot_say_is_named_beside_the_file(run: Run) -> None:
    strategy = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "default"}}
    answer(
        run(
            "flags",
            "add",
            "half",
            "--file",
            "-",
            "--on",
            *WHY,
            "--json",
            input=json.dumps({"strategies": [strategy]}),
        )
    )
    answer(run("flags", "add", "plain", "--on", *WHY, "--json"))
    written = run("flags", "export", "--format", "flagd")
    assert list(answer(written)["flags"]) == ["plain"]
    assert "left out: half: It has the strategy flexibleRollout" in written.stderr


def test_a_document_that_cannot_be_read_is_refused_with_where(run: Run) -> None:
    refused = run("flags", "import", "-", *WHY, input='{"features": [{"name": 5}]}')
    assert refused.exit_code == 3
    assert "(features.0.name)" in refused.stderr
