"""Forms become the same shapes as JSON bodies: lists repeat, tables have rows, and what is the page's own stays out."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from pydantic import Field

from rollout.errors import InvalidRequest
from rollout.web.operation import Shape, read_form


class Row(Shape):
    unit: str
    cap: int | None = None


class Form(Shape):
    name: str = "nobody"
    tags: list[str] = Field(default_factory=list)
    meters: dict[int, Row] = Field(default_factory=dict)


def read(sent: Any) -> Form:
    with Flask(__name__).test_request_context(method="POST", data=sent):
        return read_form(Form)


def test_an_empty_field_counts_as_not_sent_and_a_list_repeats() -> None:
    assert read({"name": "", "tags": ["a", "", "b"], "_token": "x"}) == Form(name="nobody", tags=["a", "b"])


def test_a_table_has_rows_by_number() -> None:
    form = read(
        {"meters.1.unit": "image", "meters.0.unit": "request", "meters.0.cap": "5", "meters.1.cap": ""}
    )
    assert form.meters == {0: Row(unit="request", cap=5), 1: Row(unit="image")}


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"meters.0.unit": "image", "meters.0.cap": "many"}, "meters.0.cap"),
        ({"meters.7.cap": "1"}, "meters.7.unit"),
        ({"meters.0.unit": "image", "meters.0.colour": "red"}, "meters.0.colour"),
        ({"meters": "all"}, "meters"),
        ({"tables.0.unit": "image"}, "tables"),
        ({"meters.0.unit.name": "image"}, "meters.0.unit.name"),
        ({"meters.9999.unit": "image"}, "meters.9999.unit"),
        ({"name": "nul \x00"}, "body"),
    ],
)
def test_what_does_not_fit_is_named_as_the_field_is(sent: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(sent)
    assert refusal.value.members["param"] == param
