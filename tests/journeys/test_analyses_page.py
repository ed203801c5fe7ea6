"""The page on analyses, run as it stands: every example of every task, in Python and by curl, against the sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from processes import REPOSITORY, Service, Starter, base_environ

from rollout.core.tasks import TASKS
from rollout.services.tasks import load

PAGE = (REPOSITORY / "docs" / "analyses.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")}


def blocks(text: str, kind: str) -> list[str]:
    return [code for language, code in BLOCK.findall(text) if language == kind]


@pytest.fixture(scope="module")
def service(shared_starter: Starter, new_database) -> Service:  # type: ignore[no-untyped-def]
    return shared_starter.service(new_database("sqlite"))


@pytest.fixture(scope="module")
def folder(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader has run all of the page's Python; what that printed is in `printed`."""
    here = tmp_path_factory.mktemp("reader")
    done = run(service, here, [sys.executable, "-c", "\n".join(blocks(PAGE, "python"))])
    (here / "printed").write_text(done)
    return here


def run(service: Service, folder: Path, command: list[str]) -> str:
    environ = base_environ() | {"URL": service.url, "KEY": service.key("acme")}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_an_example_of_every_task_in_both_ways() -> None:
    for task in TASKS:
        assert all(f'"{task}"' in "".join(blocks(SECTIONS[task], kind)) for kind in ("bash", "python")), task


def test_the_examples_in_python_print_what_is_on_the_label(folder: Path) -> None:
    summary, *text, labels, box, doubts, answerable, match = (folder / "printed").read_text().splitlines()

    assert summary.startswith("SANDBOX: no model looked at this. PNG, 640x400 pixels")
    assert text == ["Brand: Northlight", "Oat drink barista", "Net content: 1 l", "EAN: 4006381333931"]
    assert "'Net content': ('1', 'l')" in labels
    assert box == "picture [0, 0, 640, 400] low"
    assert "understands nothing" in doubts
    assert answerable == "False"
    assert match.startswith(
        "SKU-0 ['brand: Northlight', 'name: Oat drink barista', 'size: 1 l', 'ean: 4006381333931']"
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_examples_by_curl_answer_by_the_tasks_schema(service: Service, folder: Path, task: str) -> None:
    for block in blocks(SECTIONS[task], "bash"):
        *before, answer = (
            run(service, folder, ["bash", "-euo", "pipefail", "-c", block]).replace("}{", "}\n{").splitlines()
        )

        result = orjson.loads(answer)
        assert result["task"] == task, answer
        assert set(result["result"]) == set(load(task).schema["properties"])
        if before:
            assert orjson.loads(before[0])["rows"] == 10_000
            assert result["result"]["best"] == "SKU-0"
