"""/admin/api/v1/flags/import and /export: what would change is answered before it does, and all of it or nothing is kept."""

from __future__ import annotations

import pytest
from answering import feature, rollout
from doors import ALICE, Door

from rollout.app import create_app
from rollout.core.documents import MAX_BYTES
from rollout.core.tokens import NewToken, Role
from rollout.services.registry import Services

DOCUMENT = {"version": 2, "features": [feature("a", lifecycle=1), feature("b")], "segments": []}
TAKE = {"document": DOCUMENT, "reason": "moving in"}


def door(services: Services, role: Role = "editor") -> Door:
    token = services.tokens.add(ALICE, NewToken(role, role), "test").secret
    return Door(create_app(services).test_client(), "/admin/api/v1", str(token))


@pytest.fixture
def editor(wired: Services) -> Door:
    return door(wired)


def test_a_look_says_what_would_change_and_an_import_does_it(editor: Door) -> None:
    status, looked, _ = editor.post("/flags/import?dry_run=true", {"document": DOCUMENT})
    assert (status, looked["dry_run"], looked["unchanged"]) == (200, True, 0)
    assert looked["changes"] == [
        {"kind": "flag", "name": "a", "change": "added"},
        {"kind": "flag", "name": "b", "change": "added"},
    ]
    assert [(one["flag"], one["param"]) for one in looked["warnings"]] == [("a", "lifecycle")]
    assert editor.get("/flags")[1]["data"] == []
    status, done, _ = editor.post("/flags/import", TAKE)
    assert (status, done) == (200, {**looked, "dry_run": False})
    assert editor.get("/flags/export")[1]["document"] == DOCUMENT
    status, again, _ = editor.post("/flags/import", TAKE)
    assert (again["changes"], again["unchanged"]) == ([], 2)


def test_an_export_comes_back_by_an_import_in_another_environment(editor: Door) -> None:
    editor.post("/flags/import", TAKE)
    exported = editor.get("/flags/export")[1]["document"]
    take = {"document": exported, "reason": "a copy"}
    status, done, _ = editor.post("/flags/import?environment=development&mode=replace", take)
    assert (status, done["environment"], done["mode"]) == (200, "development", "replace")
    assert editor.get("/flags/export?environment=development")[1]["document"] == exported
    rest = {"document": {**exported, "features": [feature("b")]}, "reason": "fewer"}
    status, done, _ = editor.post("/flags/import?environment=development&mode=replace", rest)
    assert done["changes"] == [{"kind": "flag", "name": "a", "change": "archived"}]
    assert len(editor.get("/flags")[1]["data"]) == 2


def test_flagd_gets_what_it_can_say_and_the_rest_is_listed(editor: Door) -> None:
    half = {"features": [feature("half", rollout(50, "default")), feature("plain")]}
    editor.post("/flags/import", {"document": half, "reason": "x"})
    status, found, _ = editor.get("/flags/export?format=flagd")
    assert (status, found["format"], list(found["document"]["flags"])) == (200, "flagd", ["plain"])
    assert [one["name"] for one in found["left_out"]] == ["half"]
    assert editor.get("/flags/export?format=launchdarkly")[0] == 400


def test_what_cannot_be_read_is_answered_with_where(editor: Door) -> None:
    twice = {"features": [feature("a"), feature("a")]}
    status, problem, _ = editor.post("/flags/import", {"document": twice, "reason": "x"})
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", "features.1.name")
    for body in ({"reason": "x"}, {"document": []}, {**TAKE, "mode": "merge"}):
        assert editor.post("/flags/import", body)[0] == 400
    status, problem, _ = editor.post("/flags/import", {"document": DOCUMENT})
    assert (status, problem["param"]) == (400, "reason")
    assert editor.post("/flags/import?environment=..%2Fprod", TAKE)[0] == 400
    assert editor.get("/flags")[1]["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"document": {"features": [', 400, "not valid JSON"),
        (b"[" * (MAX_BYTES + 1), 413, "payload_too_large"),
    ],
    ids=["cut off", "50 MB"],
)
def test_a_body_that_ends_too_soon_or_too_late_is_refused(
    wired: Services, body: bytes, status: int, said: str
) -> None:
    token = wired.tokens.add(ALICE, NewToken("editor", "editor"), "test").secret
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    client = create_app(wired).test_client()
    answer = client.post("/admin/api/v1/flags/import", data=body, headers=headers)
    assert (answer.status_code, said in answer.text) == (status, True)


def test_a_large_document_is_taken(editor: Door) -> None:
    large = {"features": [feature("a", description="x" * 2_000_000)]}
    status, done, _ = editor.post("/flags/import", {"document": large, "reason": "x"})
    assert (status, [one["param"] for one in done["warnings"]]) == (200, ["description"])


def test_a_viewer_takes_flags_away_and_brings_none(wired: Services) -> None:
    viewer = door(wired, "viewer")
    assert viewer.get("/flags/export")[0] == 200
    assert viewer.post("/flags/import", TAKE)[0] == 403
