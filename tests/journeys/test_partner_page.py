"""The first five minutes of the partner's page: each snippet runs as it stands, with the address and the key filled in."""

from __future__ import annotations

import re
import subprocess
import sys

from processes import REPOSITORY, Starter

PAGE = (REPOSITORY / "docs/partner.md").read_text(encoding="utf-8")
FIRST = PAGE[PAGE.index("## First five minutes") : PAGE.index("## Keys")]


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", FIRST, re.DOTALL | re.MULTILINE)


def test_the_python_snippets_analyse_and_generate(shared_starter: Starter, new_database) -> None:  # type: ignore[no-untyped-def]
    service = shared_starter.service(new_database("sqlite"))
    analysis, picture = (
        text.replace("https://gate.example", service.url).replace("rk_live_...", service.key("acme"))
        for text in snippets("python")
    )
    assert run(sys.executable, "-c", analysis).strip()
    size, handle = run(sys.executable, "-c", picture).split()
    assert int(size) > 1000
    status, _, page = service.call("GET", f"/f/{handle}")
    assert (status, b"Rate this picture" in page) == (200, True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
