"""/admin/flags/import and /export: a document is looked at before anything changes, and comes back as a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from answering import feature, rollout
from console import SEED, Visitor

from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

HERE = "/admin/flags/import"
HOSTILE = "../../admin/<b>\N{SNOWMAN}"
DOCUMENT = {"version": 2, "features": [feature("new-editor", lifecycle=1), feature(HOSTILE)], "segments": []}


@pytest.fixture
def page(visit: Visit) -> Visitor:
    found = visit("editor")
    found.get(HERE)
    return found


def names(services: Services, **which: Any) -> list[str]:
    return [flag.name for flag in services.flags.page(cursor=None, limit=9, **which)]


def test_a_document_is_looked_at_first_and_then_imported(wired: Services, page: Visitor) -> None:
    page.send("look", document=json.dumps(DOCUMENT))
    assert page.page.status_code == 200
    assert "new-editor added" in page.text
    assert "<b>" not in page.page.text
    assert "new-editor lifecycle No engine reads this member" in page.text
    assert names(wired) == []
    page.send("take", reason="moving in")
    assert page.page.status_code == 303
    page.follow()
    assert "Flags imported" in page.text
    assert wired.flags.get(HOSTILE).document == feature(HOSTILE)


def test_a_file_comes_before_the_text_and_may_replace_all(wired: Services, page: Visitor) -> None:
    wired.flags.add(SEED, {"name": "old", "strategies": []}, "seed")
    file = io.BytesIO(json.dumps(DOCUMENT).encode())
    page.send("look", file=(file, "flags.json"), document="{", mode="replace", environment="production")
    assert "old archived" in page.text
    page.send("take", reason="moving in")
    assert sorted(names(wired)) == sorted([HOSTILE, "new-editor"])
    assert names(wired, archived=True) == ["old"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "This is not JSON"),
        ("[]", "This is no JSON object."),
        ('{"a": 1}', "This is no document of flags"),
        ('{"features": [{"name": 5}]}', "features.0.name"),
    ],
)
def test_what_cannot_be_read_is_said_with_where(page: Visitor, text: str, said: str) -> None:
    page.send("look", document=text)
    assert page.page.status_code == 200 or page.page.status_code == 400
    assert said in page.text
    assert page.form("look").fields["document"].strip() == text


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff{}", "The file is not UTF-8 text."), (b" " * 400_001, "too large for this page")],
)
def test_a_file_that_the_page_cannot_take_is_refused(page: Visitor, content: bytes, said: str) -> None:
    page.send("look", file=(io.BytesIO(content), "flags.json"))
    assert said in page.text


def test_an_import_needs_a_reason_and_is_looked_at_again_without_one(wired: Services, page: Visitor) -> None:
    page.send("look", document=json.dumps(DOCUMENT))
    page.send("take")
    assert "A change needs a reason." in page.text
    assert names(wired) == []
    page.send("take", reason="moving in")
    assert "new-editor" in names(wired)


def test_flags_are_taken_away_as_a_file(wired: Services, visit: Visit) -> None:
    wired.flags.add(SEED, feature("plain"), "seed")
    wired.flags.add(SEED, feature("half", rollout(50, "default")), "seed")
    page = visit("viewer")
    answer = page.get("/admin/flags/export?environment=production&format=unleash")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.get_json() == wired.imports.export()
    assert list(page.get("/admin/flags/export?format=flagd").get_json()["flags"]) == ["plain"]
    page.get(HERE)
    assert "1 flag of production that flagd cannot say exactly" in page.text
    assert "needs the role editor" in page.text
    assert page.client.post(HERE, data={"_form": "look"}).status_code == 403
