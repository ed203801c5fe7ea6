"""The lock files: complete, hashed, without an address, in step with pyproject.toml and with each other."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
EXTRAS = [line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
LOCKS = {
    "requirements.txt": RUNTIME,
    "requirements-dev.txt": RUNTIME + EXTRAS + PROJECT["dependency-groups"]["dev"],
    "requirements-node.txt": PROJECT["dependency-groups"]["node"],
    "requirements-old-sdks.txt": PROJECT["dependency-groups"]["old-sdks"],
}


def pins(name: str) -> dict[str, set[str]]:
    """Package -> its versions (more than one where systems differ)."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE
    ):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_the_project_asks_for(name: str) -> None:
    locked = pins(name)
    for requirement in map(Requirement, LOCKS[name]):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is missing: run `python3 dev.py lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address_and_hashes_everything(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+(\[.*\])?==[^\n]+\\\n +--hash=sha256:", block), block.splitlines()[0]


def test_what_is_tested_is_what_runs() -> None:
    run, test = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: test.get(name) for name in run} == run


def test_the_tree_of_packages_stays_small() -> None:
    assert len(pins("requirements.txt")) <= 62


def test_the_lock_of_nodes_packages_names_no_address_and_hashes_everything() -> None:
    text = (ROOT / "package-lock.json").read_text()
    assert "://" not in text
    assert "resolved" not in text, "is .npmrc there?"
    assert all(package["integrity"] for name, package in json.loads(text)["packages"].items() if name)


def test_the_lock_of_nodes_packages_holds_what_package_json_asks_for() -> None:
    asked = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    kinds = ("devDependencies", "optionalDependencies")
    assert {kind: locked[""][kind] for kind in kinds} == {kind: asked[kind] for kind in kinds}
    for name, version in (pair for kind in kinds for pair in asked[kind].items()):
        assert locked[f"node_modules/{name}"]["version"] == version, "not exact, or an old lock"
