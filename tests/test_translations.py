"""Every word that a page says exists in every language, with the same places for values."""

from __future__ import annotations

import re

import messages
import pytest
from babel.messages.catalog import Message
from flask import Flask

from rollout.web.language import LANGUAGES, SOURCE, catalogue, said

OTHERS = sorted(set(LANGUAGES) - {SOURCE})
PLACE = re.compile(r"%\(\w+\)[sd]|\{\w*\}|`[^`]+`")


def ids(message: Message) -> tuple[str, ...]:
    return message.id if isinstance(message.id, tuple) else (message.id,)


def strings(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_untranslated_and_nothing_is_left_over(language: str) -> None:
    said = {ids(message)[0] for message in messages.said() if message.id}
    kept = {
        ids(message)[0] for message in messages.catalogue(language) if message.id and all(strings(message))
    }
    assert sorted(said - kept) == [], "python tests/messages.py brings these in; then translate them"
    assert sorted(kept - said) == [], "python tests/messages.py takes these out"


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_of_its_source(language: str) -> None:
    wrong = [
        message.id
        for message in messages.catalogue(language)
        if message.id
        and any(
            set(PLACE.findall(text)) - {"%(n)s", "%(num)s"}
            != set(PLACE.findall(ids(message)[-1])) - {"%(n)s", "%(num)s"}
            for text in strings(message)
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_is_what_readers_get(language: str) -> None:
    assert catalogue(language).gettext("Access requests") not in ("", "Access requests")


def test_a_word_that_no_catalogue_holds_stays_english() -> None:
    assert catalogue("id").gettext("A word that nobody translated") == "A word that nobody translated"


def test_what_a_service_says_is_escaped_marked_as_english_and_code_stands_out() -> None:
    with Flask("reader").test_request_context(headers={"Accept-Language": "id"}):
        assert said("Send `If-Match` <b>") == '<span lang="en">Send <code>If-Match</code> &lt;b&gt;</span>'
        assert said("The request is not valid.") == "Permintaan tidak valid."
        assert said("There is no meter 'mtr_<1>'.") == "Tidak ada meter &#39;mtr_&lt;1&gt;&#39;."
        assert said("A cap is a whole number from 0 to 9.") == "Batas adalah bilangan bulat dari 0 sampai 9."
        assert said("") == ""
