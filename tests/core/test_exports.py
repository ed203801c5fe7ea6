"""Lists as CSV and JSON, line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

import pytest

from rollout.core.exports import Row, lines

ROWS: list[Row] = [
    {"id": "fb_1", "words": 'She said: "no",\nthen left.', "reasons": ["blurry", "wrong-text"], "n": -5},
    {"id": "fb_2", "words": None, "reasons": [], "n": 0.25},
]


def test_csv_reads_back_as_it_was() -> None:
    rows = list(csv.reader(lines("csv", ("id", "words", "reasons", "n"), ROWS)))
    assert rows == [
        ["id", "words", "reasons", "n"],
        ["fb_1", 'She said: "no",\nthen left.', "blurry wrong-text", "-5"],
        ["fb_2", "", "", "0.25"],
    ]


def test_json_is_one_array_with_an_item_on_each_line() -> None:
    text = "".join(lines("json", (), ROWS))
    assert json.loads(text) == ROWS
    assert [json.loads(line.rstrip(",")) for line in text.splitlines()[1:-1]] == ROWS


def test_an_empty_list_is_a_head_or_an_empty_array() -> None:
    assert "".join(lines("csv", ("id", "n"), [])) == "id,n\r\n"
    assert json.loads("".join(lines("json", ("id",), []))) == []


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", ["=1", "a"]], ids=repr
)
def test_no_cell_is_a_formula(text: object) -> None:
    (_, [cell]) = csv.reader(lines("csv", ("words",), [{"words": text}]))
    assert cell.startswith("'")


def test_other_values_of_json_have_their_place_in_a_cell() -> None:
    row = {"flag": True, "map": {"region": "eu"}}
    (_, cells) = csv.reader(lines("csv", ("flag", "map"), [row]))
    assert cells == ["true", '{"region": "eu"}']


def test_rows_are_taken_one_at_a_time() -> None:
    taken = 0

    def endless() -> Iterator[Row]:
        nonlocal taken
        while True:
            taken += 1
            yield {"id": taken}

    for format_ in ("csv", "json"):
        file = lines(format_, ("id",), endless())
        for _ in range(3):
            next(file)
    assert taken <= 6
