"""/admin/api/v1/flags and /segments: errors and warnings point at the field, versions are asked for, other names are 404."""

from __future__ import annotations

from typing import Any

import pytest
from doors import ALICE, Door

from rollout.app import create_app
from rollout.core.flags import PRODUCTION
from rollout.core.tokens import NewToken, Role
from rollout.services.flags import keep
from rollout.services.registry import Services

WHY = {"reason": "for the test"}
FLAG = {"name": "new-editor", "enabled": True, "strategies": [{"name": "default"}]}
SEGMENT = {
    "name": "testers",
    "constraints": [{"contextName": "userId", "operator": "IN", "values": ["a"]}],
}


def door(services: Services, role: Role = "editor") -> Door:
    token = services.tokens.add(ALICE, NewToken(role, role), "test").secret
    return Door(create_app(services).test_client(), "/admin/api/v1", str(token))


@pytest.fixture
def editor(wired: Services) -> Door:
    return door(wired)


def constrained(**constraint: Any) -> dict[str, Any]:
    return {"document": {**FLAG, "strategies": [{"name": "default", "constraints": [constraint]}]}, **WHY}


def test_a_flag_is_added_shown_and_listed(editor: Door) -> None:
    status, added, headers = editor.post("/flags", {"document": FLAG, **WHY})
    assert (status, headers["ETag"], added["warnings"]) == (201, '"1"', [])
    assert (added["environment"], added["stale"], added["asked_at"]) == (PRODUCTION, False, None)
    assert editor.get("/flags/new-editor")[1]["document"] == added["document"]
    assert [one["name"] for one in editor.get("/flags")[1]["data"]] == ["new-editor"]
    assert editor.get("/flags?environment=development")[1]["data"] == []
    assert editor.get("/flags?archived=true")[1]["data"] == []


def test_lists_go_on_by_cursor(editor: Door) -> None:
    for name in ("c", "a", "b"):
        editor.post("/flags", {"document": {**FLAG, "name": name}, **WHY})
        editor.post("/segments", {"document": {**SEGMENT, "name": name}, **WHY})
    _, page, _ = editor.get("/flags?limit=2")
    assert ([one["name"] for one in page["data"]], page["next_cursor"]) == (["a", "b"], "b")
    assert [one["name"] for one in editor.get("/flags?cursor=b")[1]["data"]] == ["c"]
    _, page, _ = editor.get("/segments?limit=2")
    assert [one["name"] for one in page["data"]] == ["c", "a"]
    following = editor.get(f"/segments?cursor={page['next_cursor']}")
    assert [one["name"] for one in following[1]["data"]] == ["b"]
    assert editor.get("/segments?cursor=last")[0] == 400


def test_a_slip_is_answered_with_where_it_stands(editor: Door) -> None:
    status, problem, _ = editor.post("/flags", constrained(contextName="x", operator="REGEX", value="(a+)+"))
    assert (status, problem["code"]) == (400, "invalid_request")
    assert problem["param"] == "strategies.0.constraints.0.value"
    assert [one["param"] for one in problem["errors"]] == ["strategies.0.constraints.0.value"]
    assert editor.get("/flags/new-editor")[0] == 404


def test_a_warning_is_answered_and_may_be_accepted(editor: Door) -> None:
    doubtful = constrained(contextName="userId", operator="NOT_IN", values=["eve"])
    status, problem, _ = editor.post("/flags", doubtful)
    assert (status, problem["param"]) == (400, "accept_warnings")
    assert [one["param"] for one in problem["warnings"]] == ["strategies.0.constraints.0"]
    status, added, _ = editor.post("/flags", {**doubtful, "accept_warnings": True})
    assert (status, added["warnings"]) == (201, problem["warnings"])


def test_the_name_of_a_plan_is_refused(editor: Door) -> None:
    status, problem, _ = editor.post("/flags", {"document": {**FLAG, "name": "image-generation"}, **WHY})
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "name")


def test_a_change_says_what_it_is_based_on(editor: Door) -> None:
    _, _, headers = editor.post("/flags", {"document": FLAG, **WHY})
    described = {"document": {**FLAG, "description": "new"}, **WHY}
    assert editor.send("PUT", "/flags/new-editor", described)[0] == 428
    status, changed, _ = editor.send("PUT", "/flags/new-editor", described, If_Match=headers["ETag"])
    assert (status, changed["version"]) == (200, 2)
    status, stale, _ = editor.send("PUT", "/flags/new-editor", described, If_Match=headers["ETag"])
    assert (status, stale["code"], stale["current"]["version"]) == (409, "stale_version", 2)
    status, stale, _ = editor.post("/flags/new-editor/archive", WHY, If_Match=headers["ETag"])
    assert (status, stale["code"]) == (409, "stale_version")


def test_a_flag_is_archived_and_revived(editor: Door) -> None:
    editor.post("/flags?environment=development", {"document": FLAG, **WHY})
    assert editor.post("/flags/new-editor/archive", WHY)[0] == 404
    status, archived, _ = editor.post("/flags/new-editor/archive?environment=development", WHY)
    assert (status, archived["archived_at"] is not None) == (200, True)
    status, revived, _ = editor.post("/flags/new-editor/revive?environment=development", WHY)
    assert (status, revived["archived_at"]) == (200, None)


@pytest.mark.parametrize(
    ("name", "path"), [("../../admin", "..%2F..%2Fadmin"), ("a b/archive", "a%20b%2Farchive")]
)  # fmt: skip
def test_a_name_that_was_imported_is_reached_whatever_it_holds(
    wired: Services, editor: Door, name: str, path: str
) -> None:
    with wired.changes.begin(ALICE, "import") as change:
        keep(change, PRODUCTION, None, {**FLAG, "name": name})
    assert editor.get(f"/flags/{path}")[1]["name"] == name
    assert editor.post(f"/flags/{path}/archive", WHY)[1]["name"] == name


def test_a_segment_is_kept_while_flags_use_it(editor: Door) -> None:
    status, segment, _ = editor.post("/segments", {"document": SEGMENT, **WHY})
    here = f"/segments/{segment['id']}"
    assert (status, segment["document"]["id"]) == (201, segment["id"])
    using = {**FLAG, "strategies": [{"name": "default", "segments": [segment["id"]]}]}
    editor.post("/flags", {"document": using, **WHY})
    _, shown, headers = editor.get(here)
    assert shown["flags"] == ["production/new-editor"]
    status, problem, _ = editor.send("DELETE", here, WHY)
    assert (status, problem["flags"]) == (409, ["production/new-editor"])
    described = {"document": {**SEGMENT, "description": "who tries things first"}, **WHY}
    assert editor.send("PUT", here, described)[0] == 428
    assert editor.send("PUT", here, described, If_Match=headers["ETag"])[1]["version"] == 2
    assert editor.send("PUT", here, described, If_Match=headers["ETag"])[0] == 409


@pytest.mark.parametrize("path", ["/flags/nobody", "/segments/9", "/segments/99999999999999999999"])
def test_what_is_not_there_is_not_found(editor: Door, path: str) -> None:
    assert editor.get(path)[0] == 404


@pytest.mark.parametrize("document", [[], "x", None, 5])
def test_a_document_is_an_object(editor: Door, document: object) -> None:
    status, problem, _ = editor.post("/flags", {"document": document, **WHY})
    assert (status, problem["param"]) == (400, "document")


def test_a_viewer_reads_and_writes_nothing(wired: Services) -> None:
    viewer = door(wired, "viewer")
    assert viewer.get("/flags")[0] == viewer.get("/segments")[0] == 200
    assert viewer.post("/flags", {"document": FLAG, **WHY})[0] == 403
    assert viewer.post("/segments", {"document": SEGMENT, **WHY})[0] == 403
