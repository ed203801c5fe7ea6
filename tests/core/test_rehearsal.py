"""Prompts that ask the gate for an error."""

from __future__ import annotations

import msgspec
import pytest

from rollout.core import rehearsal
from rollout.errors import InvalidRequest, RolloutError, all_errors


@pytest.mark.parametrize("code", sorted({error.code for error in all_errors()}))
def test_every_code_of_the_tree_can_be_rehearsed(code: str) -> None:
    with pytest.raises(RolloutError) as raised:
        rehearsal.check(f"sandbox:slow=1s,deny={code} a cat", "dec_1")

    assert raised.value.code == code
    assert raised.value.members["decision_id"] == "dec_1"


@pytest.mark.parametrize(
    "prompt", ["", "a cat", "sandbox: a cat", "sandbox:slow=1s deny=not_found", "see sandbox:deny=x"]
)
def test_other_prompts_ask_for_nothing(prompt: str) -> None:
    rehearsal.check(prompt, "dec_1")


@pytest.mark.parametrize("code", ["", "no_such_code"])
def test_a_code_that_is_not_in_the_tree_is_answered_with_those_that_are(code: str) -> None:
    with pytest.raises(InvalidRequest, match="no error code") as raised:
        rehearsal.check(f"sandbox:deny={code}", "dec_1")

    assert "feature_killed" in raised.value.remedy_text


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one"),
        ([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}], "two"),
        ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "one"}]}], "one"),
        ([{"role": "user", "content": []}], ""),
        ([], ""),
        ([{"role": "user", "content": 7}], ""),
    ],
)
def test_the_prompt_of_a_message_is_its_last_users_first_text(messages: object, prompt: str) -> None:
    assert rehearsal.message_prompt({"messages": msgspec.Raw(msgspec.json.encode(messages))}) == prompt
