"""Tokens by which SDKs ask: what they may be for, and how they read."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.core.flag_tokens import NewFlagToken, check_shape, shown_prefix, token_text
from rollout.errors import InvalidApiKey, InvalidRequest

RANDOM = bytes(range(32))


@pytest.mark.parametrize(
    ("projects", "begins"),
    [(("*",), "*:production."), (("shop",), "shop:production."), (("a", "b"), "[]:production.")],
)
def test_the_text_names_the_project_and_the_environment(projects: tuple[str, ...], begins: str) -> None:
    text = token_text(NewFlagToken("sdk", "client", projects=projects), RANDOM)
    assert text == begins + RANDOM.hex()
    check_shape(text)
    assert shown_prefix(text) == begins + RANDOM.hex()[:4]


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"type": "admin"}, "type"),
        ({"environment": ""}, "environment"),
        ({"environment": "pre.prod"}, "environment"),
        ({"environment": "e" * 65}, "environment"),
        ({"projects": ()}, "projects"),
        ({"projects": ("*", "shop")}, "projects"),
        ({"projects": ("../../admin",)}, "projects"),
        ({"projects": ("shop", "shop")}, "projects"),
        ({"projects": tuple(f"p{index}" for index in range(101))}, "projects"),
        ({"type": "client", "tenant_id": "acme"}, "tenant"),
    ],
)
def test_what_a_token_cannot_be_is_refused_by_name(wishes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        NewFlagToken(**{"name": "sdk", "type": "frontend", **wishes})
    assert refused.value.members["param"] == param


@pytest.mark.parametrize(
    "text",
    ["", "x", "*:production", "*:production.abc", "ra_" + "a" * 43, "*:production." + "g" * 64,
     "a b:production." + "a" * 64, "*:prod\n." + "a" * 64, "*:production." + "a" * 64 + "\n"],
)  # fmt: skip
def test_what_cannot_be_a_token_is_told_so(text: str) -> None:
    with pytest.raises(InvalidApiKey, match=r"project:environment\.secret"):
        check_shape(text)
