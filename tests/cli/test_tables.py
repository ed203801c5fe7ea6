"""Tables for people: columns that line up whatever is in them, cut only to fit a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from rollout.cli.tables import grid, pairs

ROOT = Path(__file__).parents[2]


def table(*rows: dict[str, Any], room: int | None = None) -> list[str]:
    return list(grid(rows, tuple(rows[0]), room))


def columns(text: str) -> int:
    """What a terminal takes for `text` that has no accents of their own."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def test_columns_line_up_and_numbers_stand_at_the_right() -> None:
    assert table({"id": "acme", "cap": 5, "tz": "UTC"}, {"id": "umbrella", "cap": 1000, "tz": "UTC"}) == [
        "ID         CAP  TZ",
        "acme         5  UTC",
        "umbrella  1000  UTC",
    ]


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    lines = table(
        {"name": "東京 Studio", "tz": "x"}, {"name": "Cafe\u0301", "tz": "y"}, {"name": "🎨", "tz": "z"}
    )
    assert [columns(line.replace("\u0301", "")) for line in lines[1:]] == [14, 14, 14]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (["generate", "read"], "generate, read"),
        ("2027-03-01T10:00:05Z", "2027-03-01 10:00:05 UTC"),
        ([{"cap": 3}], '[{"cap":3}]'),
        ("one\ntwo\x1b[31m", "one two [31m"),
    ],
)
def test_a_value_is_readable_and_cannot_steer_the_terminal(value: Any, shown: str) -> None:
    assert table({"is": value})[1].strip() == shown
    assert list(pairs({"is": value})) == [f"is  {shown}"]


def test_one_thing_shows_its_members_by_their_paths() -> None:
    assert list(pairs({"feature": "f", "acks": {"expected": 2, "slowest_ms": None}})) == [
        "feature          f",
        "acks.expected    2",
        "acks.slowest_ms  -",
    ]


def test_only_prose_is_cut_and_only_as_far_as_the_terminal_asks() -> None:
    row = {"id": "req_" + 60 * "x", "at": "2027-03-01T10:00:05Z", "reason": 20 * "why not 东 "}
    whole = table(row)[1]
    assert row["id"] in whole
    assert whole.endswith("东")
    cut = table(row, room=120)[1]
    assert row["id"] in cut
    assert "2027-03-01 10:00:05 UTC" in cut
    assert cut.endswith("…")
    assert columns(cut) in (119, 120)
    assert table(row, room=20)[1].endswith("…"), "what cannot fit is wrapped by the terminal, not lost"
    assert row["id"] in table(row, room=20)[1]


@pytest.mark.parametrize(("no_color", "styled"), [("", True), ("1", False)])
def test_a_terminal_gets_a_bold_head_unless_it_wants_no_colour(no_color: str, styled: bool) -> None:
    ours, theirs = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "NO_COLOR": no_color, "COLUMNS": "200"}
    command = [sys.executable, "-m", "rollout.cli.main", "config"]
    with subprocess.Popen(command, env=environ, stdout=theirs) as running:
        os.close(theirs)
        with os.fdopen(ours, "rb", closefd=True) as terminal:
            head = terminal.readline().decode()
        running.kill()
    assert ("\x1b[1m" in head) is styled
    assert "SETTING" in head


def test_a_pipe_gets_every_value_whole_and_no_escape_codes() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "40",
        "ROLLOUT_HOME": "/a " + 90 * "b",
    }
    done = subprocess.run(
        [sys.executable, "-m", "rollout.cli.main", "config"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "/a " + 90 * "b" in done.stdout
    assert "\x1b" not in done.stdout
