"""What makes two requests the same request."""

from __future__ import annotations

import pytest

from rollout.core.fingerprint import LARGEST_READ, fingerprint, form_content, json_content
from rollout.core.input_images import Upload


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a": 1, "b": [true, null]}', b'{"b":[true,null],"a":1}'),
        (b'{"a": "\\u00e9"}', '{"a": "é"}'.encode()),
        (b'{"a": 1, "a": 2}', b'{"a": 2}'),
    ],
)
def test_json_that_says_the_same_is_the_same(one: bytes, other: bytes) -> None:
    assert json_content(one) == json_content(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a": 1}', b'{"a": 2}'),
        (b'{"a": 1}', b'{"a": 1.0}'),
        (b'{"a": 1}', b'{"a": "1"}'),
        (b'{"a": 1}', b'{"a": true}'),
        (b'{"a": 1e400}', b'{"a": 1e401}'),
        (b'{"a": [1, 2]}', b'{"a": [2, 1]}'),
    ],
)
def test_json_that_says_another_thing_is_another(one: bytes, other: bytes) -> None:
    assert json_content(one) != json_content(other)


def test_large_json_counts_byte_by_byte() -> None:
    large = b'{"a": "' + b"x" * LARGEST_READ + b'"}'

    assert json_content(large) == large


def test_a_form_is_its_parts_by_name_with_files_in_order() -> None:
    one, two = Upload("image[]", b"1", filename="a.png"), Upload("image[]", b"2")
    renamed = Upload("image[]", b"1", filename="b.png")
    content = form_content({"prompt": b"p", "n": b"1"}, [one, two])

    assert form_content({"n": b"1", "prompt": b"p"}, [renamed, two]) == content
    assert form_content({"n": b"1", "prompt": b"p"}, [two, one]) != content
    assert form_content({"n": b"1", "prompt": b"q"}, [one, two]) != content


def test_method_route_tenant_and_content_all_count() -> None:
    same = fingerprint("POST", "/v1/messages", "acme", b"{}")

    assert same == fingerprint("POST", "/v1/messages", "acme", b"{}")
    assert same.startswith("1:")
    others = [
        fingerprint("PUT", "/v1/messages", "acme", b"{}"),
        fingerprint("POST", "/v1/images", "acme", b"{}"),
        fingerprint("POST", "/v1/messages", "globex", b"{}"),
        fingerprint("POST", "/v1/messages", "acme", b"[]"),
    ]
    assert len({same, *others}) == 5
