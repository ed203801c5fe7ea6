"""Handles and opinions."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.feedback import (
    MAX_COMMENT,
    MAX_HANDLE,
    FeedbackItem,
    Handle,
    Opinion,
    check_end_user,
    make_handle,
    open_handle,
    opinion,
)
from rollout.errors import InvalidRequest, NotFound, ResultPurged

SECRET = b"s" * 32
HANDLE = make_handle(SECRET, "acme", "gen_1", "ana@example.com", 2_000)

end_users = st.none() | st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=255)


@given(end_users, st.integers(1, 2**40))
def test_a_handle_opens_what_it_was_made_for(end_user: str | None, expires_at: int) -> None:
    token = make_handle(SECRET, "acme", "gen_1", end_user, expires_at)
    assert open_handle(token, SECRET, expires_at - 1) == Handle("acme", "gen_1", end_user, expires_at)
    assert len(token) <= MAX_HANDLE
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_usual_handle_is_short() -> None:
    token = make_handle(SECRET, "acme", "gen_01k9zq3v8h6t2m4x7c5b1n0d9f", None, 1_795_348_800)
    assert len(token) < 120


@pytest.mark.parametrize("position", range(len(HANDLE)))
def test_no_character_of_a_handle_can_be_changed(position: int) -> None:
    other = "A" if HANDLE[position] != "A" else "B"
    with pytest.raises(NotFound):
        open_handle(HANDLE[:position] + other + HANDLE[position + 1 :], SECRET, 1_000)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é" * 40,
        HANDLE + "=",
        HANDLE + "A",
        HANDLE[:-1],
        " " + HANDLE,
        base64.urlsafe_b64encode(b"\0" * 80).decode(),
        "A" * (MAX_HANDLE + 1),
    ],
)
def test_what_we_did_not_sign_opens_nothing(token: str) -> None:
    with pytest.raises(NotFound) as refused:
        open_handle(token, SECRET, 1_000)
    assert refused.value.members["param"] == "handle"


def test_a_handle_of_another_secret_opens_nothing() -> None:
    with pytest.raises(NotFound):
        open_handle(HANDLE, b"t" * 32, 1_000)


def test_a_handle_ends_at_its_time_and_says_so() -> None:
    assert open_handle(HANDLE, SECRET, 1_999.9).generation_id == "gen_1"
    with pytest.raises(ResultPurged, match="expired"):
        open_handle(HANDLE, SECRET, 2_000)


def test_a_reason_counts_once_and_blank_words_are_none() -> None:
    assert opinion("down", ["blurry", "wrong_colour", "blurry"], "  \n") == Opinion(
        "down", ("blurry", "wrong_colour")
    )
    assert opinion("up", [], " Lovely! ").comment == "Lovely!"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"rating": "sideways"}, "rating"),
        ({"reasons": ["ok", "Not A Slug"]}, "reasons.1"),
        ({"reasons": [""]}, "reasons.0"),
        ({"reasons": ["x" * 51]}, "reasons.0"),
        ({"reasons": [f"r{number}" for number in range(11)]}, "reasons"),
        ({"comment": "x" * (MAX_COMMENT + 1)}, "comment"),
        ({"comment": "a\x00b"}, "comment"),
    ],
)
def test_a_wrong_field_of_an_opinion_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        opinion(**{"rating": "up", "reasons": [], "comment": None, **fields})  # type: ignore[arg-type]
    assert refused.value.members["param"] == param


def test_a_comment_may_have_lines_and_any_script() -> None:
    text = "Zeile 1\n\tZeile 2: 色が違う 🎨"
    assert opinion("down", [], text).comment == text


@pytest.mark.parametrize("end_user", ["", "  ", "x" * 256, "a\x00b", "a\nb"])
def test_an_end_user_has_a_printable_name(end_user: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_end_user(end_user)
    assert refused.value.members["param"] == "end_user"


def test_nobody_named_is_anonymous() -> None:
    assert check_end_user(None) == "anonymous"


@pytest.mark.parametrize(
    ("state", "then"), [("open", "open"), ("resolved", "open"), ("withdrawn", "open"), ("spam", "spam")]
)
def test_new_words_open_all_but_spam(state: str, then: str) -> None:
    item = FeedbackItem(
        id="fb_1",
        tenant_id="acme",
        generation_id="gen_1",
        end_user="ana",
        opinion=Opinion("up"),
        state=state,  # type: ignore[arg-type]
        feature="image-generation",
        phase=None,
        run=None,
        vendor="openai",
        model="gpt-image-2",
        created_at=1,
        updated_at=1,
    )
    assert item.state_after_new_words() == then
