"""The first calls of the partner's pages: each snippet runs as it stands, with the address and the key filled in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import REPOSITORY, Service, Starter, give_up
from sandboxes import picture

import dev


@pytest.fixture(scope="module")
def service(shared_starter: Starter, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(new_database("sqlite"))


def snippets(service: Service, page: str, heading: str, language: str) -> list[str]:
    section = (
        (REPOSITORY / "docs" / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    )
    found = re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [
        text.replace("https://gate.example", service.url).replace("rk_live_...", service.key("acme"))
        for text in found
    ]


def run(*command: str, source: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, input=source, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_opens(service: Service, handle: str) -> None:
    status, _, page = service.call("GET", f"/f/{handle}")
    assert (status, b"<form" in page) == (200, True)


@pytest.mark.parametrize(
    ("page", "heading"),
    [("partner.md", "First five minutes"), ("mulai-cepat.md", "Panggilan pertama seorang mitra")],
)
def test_the_python_snippets_analyse_and_generate(service: Service, page: str, heading: str) -> None:
    analysis, generation = snippets(service, page, heading, "python")
    assert run(sys.executable, "-", source=analysis)
    assert_opens(service, run(sys.executable, "-", source=generation).split()[-1])


def test_the_python_snippets_of_chat_completions_and_moderations(service: Service, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(picture())
    (chat,) = snippets(service, "partner.md", "Chat completions", "python")
    assert "PNG, 64x48 pixels" in run(sys.executable, "-", source=chat, cwd=tmp_path)
    (moderation,) = snippets(service, "partner.md", "Moderations", "python")
    flagged, score = run(sys.executable, "-", source=moderation).split()
    assert (flagged, float(score) < 0.01) == ("False", True)


@pytest.mark.node
def test_the_node_snippets_analyse_and_generate(service: Service) -> None:
    node = dev.find_node()
    if node is None or not dev.NODE_MODULES.exists():
        give_up("NOT TESTED WITH NODE: `python3 dev.py test` fetches it")
    analysis, generation = snippets(service, "partner.md", "First five minutes", "js")
    where = dev.NODE_MODULES.parent
    assert run(node, "--input-type=module", source=analysis, cwd=where)
    assert_opens(service, run(node, "--input-type=module", source=generation, cwd=where).split()[-1])
    (chat,) = snippets(service, "partner.md", "Chat completions", "js")
    assert run(node, "--input-type=module", source=chat, cwd=where).startswith("SANDBOX")
