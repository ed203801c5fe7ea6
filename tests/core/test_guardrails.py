"""Vendors' words for what they refuse, put into ours."""

import pytest

from rollout.core.guardrails import category_of


@pytest.mark.parametrize(
    ("told", "category"),
    [
        ("violence", "violence"),
        ("violence/graphic", "violence"),
        ("self-harm/intent", "self_harm"),
        ("sexual/minors", "minors"),
        ("HARM_CATEGORY_HATE_SPEECH", "hate"),
        ("HARM_CATEGORY_SEXUALLY_EXPLICIT", "sexual"),
        ("HARM_CATEGORY_DANGEROUS_CONTENT", "illicit"),
        ("cyber", "cyber"),
        ("general_harms", "policy"),
        ("RECITATION", "copyright"),
        (None, "policy"),
        ("", "policy"),
    ],
)
def test_a_vendors_word_has_one_of_ours(told: str | None, category: str) -> None:
    assert category_of(told) == category
