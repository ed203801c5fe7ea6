"""What differs between the two values of an audit entry."""

from __future__ import annotations

from rollout.core.audit import Difference, differences


def test_only_what_differs_is_told_by_its_path() -> None:
    before = {"cap": 3, "hard": True, "run": {"phase": "internal", "run": 1}}
    after = {"cap": 5, "hard": True, "run": {"phase": "private_beta", "run": 1}}
    assert differences(before, after) == [
        Difference("cap", 3, 5),
        Difference("run.phase", "internal", "private_beta"),
    ]


def test_what_came_to_be_and_what_went_differs_in_all_that_it_has() -> None:
    assert differences(None, {"a": 1, "b": None}) == [Difference("a", None, 1)]
    assert differences({"a": 1, "c": {"d": 2}}, None) == [
        Difference("a", 1, None),
        Difference("c.d", 2, None),
    ]
    assert differences(None, None) == []
