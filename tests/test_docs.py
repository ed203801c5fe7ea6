"""The documentation names every setting, command, error code and route, and none that does not exist."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from rollout.app import create_app
from rollout.cli.main import COMMANDS, main
from rollout.errors import QuotaExceeded, all_errors
from rollout.services.catalogue import load_seed
from rollout.settings import Settings, variable
from rollout.wiring import build

ROOT = Path(__file__).resolve().parents[1]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
ALL = "\n".join(DOCS.values()) + (ROOT / "README.md").read_text(encoding="utf-8")
CODES = sorted({error.code for error in all_errors() if error is not QuotaExceeded})
VARIABLES = [variable(field.name) for field in dataclasses.fields(Settings)]


def commands() -> list[str]:
    """`rollout keys rotate`, and `rollout serve` where there are no verbs."""
    found = []
    with click.Context(main) as context:
        for name in COMMANDS:
            command = main.get_command(context, name)
            assert command is not None
            verbs = list(command.commands) if isinstance(command, click.Group) else [""]
            found += [f"rollout {name} {verb}".strip() for verb in verbs]
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    services = build(Settings.from_env({"ROLLOUT_HOME": str(tmp_path_factory.mktemp("home"))}))
    yield create_app(services)
    services.close()


def routes(app: Flask) -> set[str]:
    """`GET /api/v1/features/{feature}`; the console's pages are found by their links."""
    return {
        method + " " + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith("/admin") or rule.rule.startswith("/admin/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.mark.parametrize("name", VARIABLES)
def test_the_operators_page_names_the_setting(name: str) -> None:
    assert f"| `{name}` |" in DOCS["operator.md"]


@pytest.mark.parametrize("command", commands())
def test_a_page_names_the_command(command: str) -> None:
    assert f"`{command}`" in DOCS["operator.md"] + DOCS["admin.md"]


@pytest.mark.parametrize("code", CODES)
def test_the_partners_page_names_the_error(code: str) -> None:
    assert f"| `{code}` |" in DOCS["partner.md"]


def test_a_page_names_every_route_and_none_that_is_not_there(app: Flask) -> None:
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^\s`?]*)`", "\n".join(DOCS.values())))
    assert named == routes(app)


def test_no_page_names_a_setting_that_is_not_there() -> None:
    known = {*VARIABLES, *(f"{name}_FILE" for name in VARIABLES)}
    assert set(re.findall(r"ROLLOUT_[A-Z_]*[A-Z]", ALL)) <= known


def test_no_page_names_a_command_that_is_not_there() -> None:
    nouns = {command.split()[1] for command in commands()}
    with_verbs = {command.split()[1] for command in commands() if len(command.split()) == 3}
    for noun, verb in re.findall(r"(?:`|\$ |bin/)rollout ([a-z-]+)(?: ([a-z-]+))?", ALL):
        assert noun in nouns
        assert noun not in with_verbs or f"rollout {noun} {verb}" in commands(), (noun, verb)


@pytest.mark.parametrize("name", sorted(row.name for row in (*load_seed().models, *load_seed().aliases)))
def test_the_page_of_vendors_names_every_model_and_alias(name: str) -> None:
    undated = re.sub(r"-20\d\d-?\d\d-?\d\d$", "", name)
    assert f"`{undated}`" in DOCS["vendors.md"]


def test_no_link_between_pages_is_dead() -> None:
    for name, text in DOCS.items():
        for target, anchor in re.findall(r"\]\(([a-z./]+\.md)(?:#([a-z-]+))?\)", text):
            page = (ROOT / "docs" / target).resolve()
            assert page.is_file(), (name, target)
            headings = [
                line[3:].lower()
                for line in page.read_text(encoding="utf-8").splitlines()
                if line[:3] == "## "
            ]
            assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], (name, anchor)
