"""/admin/flags and /admin/segments: written by form or as JSON, never losing what a form does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from admin.pages.flag_forms import constraint_line, dependency_line, parse_constraint, parse_dependency
from rollout.core.flags import PRODUCTION
from rollout.core.tokens import Role
from rollout.services.flags import keep
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

HERE = "/admin/flags/production/new-editor"
FLAG = {
    "name": "new-editor",
    "enabled": True,
    "strategies": [
        {
            "name": "flexibleRollout",
            "title": "half of them",
            "parameters": {"rollout": "50", "stickiness": "default", "groupId": "editor"},
            "constraints": [{"contextName": "userId", "operator": "IN", "values": ["ana", "bob"]}],
            "variants": [{"name": "only-here", "weight": 1000, "weightType": "fix", "stickiness": "default"}],
        }
    ],
    "variants": [
        {"name": "blue", "weight": 1000, "weightType": "variable", "stickiness": "default", "payload": {"type": "string", "value": "#00f"}}
    ],
}  # fmt: skip


@pytest.fixture
def flag(wired: Services) -> dict[str, Any]:
    kept = wired.flags.add(SEED, FLAG, "seed")
    return dict(kept.flag.document)


def document(services: Services, name: str = "new-editor") -> Any:
    return services.flags.get(name).document


def test_a_flag_is_added_switched_on_and_listed(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/flags")
    assert "No such flags." in page.text
    page.send("add-flag", name="new-editor", description="the new one", reason="beta")
    page.follow()
    assert "Flag added" in page.text
    assert "Nobody: it is off." in page.text
    page.send("change", enabled="on", reason="launch")
    assert document(wired)["enabled"] is True
    page.get("/admin/flags")
    assert "new-editor on default not yet" in page.text


def test_a_form_that_changes_nothing_changes_nothing(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send("change", reason="only looked")
    assert page.page.status_code == 303
    assert (document(wired), wired.flags.get("new-editor").version) == (flag, 1)


def test_a_form_changes_what_it_shows_and_keeps_the_rest(
    wired: Services, visit: Visit, flag: dict[str, Any]
) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send(
        "change",
        **{
            "strategies.0.percent": "75",
            "strategies.0.constraints": "userId IN ana, bob, eve",
            "strategies.1.name": "userWithId",
            "strategies.1.listed": "carl",
            "variants.0.weight": "400",
            "variants.1.name": "green",
            "variants.1.weight": "600",
            "reason": "more",
        },
    )
    assert page.page.status_code == 303, page.text
    first, second = document(wired)["strategies"]
    (known,) = flag["strategies"]
    assert first["parameters"] == {"rollout": "75", "stickiness": "default", "groupId": "editor"}
    assert first["constraints"][0]["values"] == ["ana", "bob", "eve"]
    assert (first["title"], first["variants"]) == (known["title"], known["variants"])
    assert (second["name"], second["parameters"]) == ("userWithId", {"userIds": "carl"})
    assert [(one["name"], one["weight"]) for one in document(wired)["variants"]] == [
        ("blue", 400),
        ("green", 600),
    ]
    assert document(wired)["variants"][0]["payload"] == {"type": "string", "value": "#00f"}


def test_a_strategy_without_a_kind_is_taken_out(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send("change", **{"strategies.0.name": "", "strategies.1.name": "default", "reason": "for all"})
    assert [one["name"] for one in document(wired)["strategies"]] == ["default"]


def test_a_refused_form_says_where_and_keeps_what_was_typed(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send(
        "change",
        **{"strategies.0.percent": "12.5", "strategies.0.constraints": "userId NUM_GT many", "reason": "x"},
    )
    assert page.page.status_code == 400
    assert "strategies.0.constraints.0.value This is no number" in page.text
    assert "strategies.0.parameters.rollout This is a whole percentage" in page.text
    assert page.form("change").fields["strategies.0.percent"] == "12.5"
    page.get(HERE)
    page.send("change", **{"strategies.0.constraints": "userId NEAR ana", "reason": "x"})
    assert "A constraint is a line such as" in page.text
    assert document(wired) == flag


def test_a_warning_asks_for_a_tick(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send("change", **{"strategies.0.constraints": "not userId IN eve", "reason": "all but eve"})
    assert page.page.status_code == 400
    assert "Callers that do not send userId are let in." in page.text
    assert "accept_warnings" not in page.form("change").fields
    page.send("change", accept_warnings="on")
    assert document(wired)["strategies"][0]["constraints"][0]["inverted"] is True


def test_the_whole_is_edited_as_json(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send("document", document="{", reason="x")
    assert "This is not JSON" in page.text
    page.get(HERE)
    text = page.form("document").fields["document"].replace("half of them", "some of them")
    page.send("document", document=text, reason="said better")
    assert document(wired)["strategies"][0]["title"] == "some of them"


def test_somebody_was_faster(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    wired.flags.put(SEED, "new-editor", {**FLAG, "description": "meanwhile"}, "first")
    page.send("change", description="mine", reason="second")
    assert page.page.status_code == 409
    assert "now meanwhile, you wanted mine" in page.text
    assert document(wired)["description"] == "meanwhile"


def test_a_flag_is_archived_and_revived(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("editor")
    page.get(HERE)
    page.send("archive", reason="launched")
    page.follow()
    assert "Nobody: it is archived" in page.text
    page.get("/admin/flags?which=archived")
    assert "new-editor archived" in page.text
    page.get(HERE)
    page.send("revive", reason="not yet")
    assert wired.flags.get("new-editor").archived_at is None


def test_a_name_that_was_imported_has_a_page_whatever_it_holds(wired: Services, visit: Visit) -> None:
    name = "../../admin/<b>\N{SNOWMAN}"
    with wired.changes.begin(SEED, "import") as change:
        keep(change, PRODUCTION, None, {"name": name, "enabled": False, "strategies": [{"name": "own"}]})
    page = visit("editor")
    page.get("/admin/flags")
    assert "<b>" not in page.page.text
    address = next(part.split('"')[0] for part in page.page.text.split('href="') if "%3Cb%3E" in part)
    page.get(address)
    assert page.page.status_code == 200
    page.send("archive", reason="not ours")
    assert wired.flags.get(name).archived_at is not None


def test_a_viewer_sees_and_changes_nothing(wired: Services, visit: Visit, flag: Any) -> None:
    page = visit("viewer")
    for path in ("/admin/flags", HERE, "/admin/segments"):
        page.get(path)
        assert page.page.status_code == 200
        assert "needs the role editor" in page.text
    assert page.client.post(HERE, data={"_form": "archive", "reason": "x"}).status_code == 403


def test_flags_are_taken_away_as_csv(visit: Visit, flag: Any) -> None:
    page = visit("viewer")
    lines = page.get("/admin/flags?format=csv").text.splitlines()
    assert lines[1].startswith("production,new-editor,default")


def test_a_segment_is_added_used_changed_and_removed(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/segments")
    page.send(
        "add-segment", name="testers", constraints="userId IN ana, bob\nappName IN shop", reason="first"
    )
    page.follow()
    (segment,) = wired.segments.page(cursor=None, limit=9)
    assert [one["contextName"] for one in segment.document["constraints"]] == ["userId", "appName"]
    page.send("change", description="who tries things first", reason="said")
    assert wired.segments.get(segment.id).document["description"] == "who tries things first"
    using = {"name": "new-editor", "strategies": [{"name": "default", "segments": [segment.id]}]}
    wired.flags.add(SEED, using, "seed")
    page.get(f"/admin/segments/{segment.id}")
    assert "new-editor production" in page.text
    page.send("remove", reason="done")
    assert (page.page.status_code, "production/new-editor" in page.text) == (409, True)
    wired.flags.put(SEED, "new-editor", {**using, "strategies": []}, "off")
    page.get(f"/admin/segments/{segment.id}")
    page.send("remove", reason="done")
    page.follow()
    assert "No segments." in page.text


@pytest.mark.parametrize(
    ("line", "constraint"),
    [
        ("region IN eu, us", {"contextName": "region", "operator": "IN", "values": ["eu", "us"]}),
        ("not userId IN ana", {"contextName": "userId", "operator": "IN", "values": ["ana"], "inverted": True}),
        (
            "nocase email STR_ENDS_WITH @acme.com",
            {"contextName": "email", "operator": "STR_ENDS_WITH", "values": ["@acme.com"], "caseInsensitive": True},
        ),
        ("userId REGEX ^a, b$", {"contextName": "userId", "operator": "REGEX", "value": "^a, b$", "values": []}),
    ],
)  # fmt: skip
def test_a_constraint_is_a_line(line: str, constraint: dict[str, Any]) -> None:
    assert (parse_constraint(line, ""), constraint_line(constraint)) == (constraint, line)


@pytest.mark.parametrize(
    "constraint",
    [
        {"contextName": "two words", "operator": "IN", "values": ["a"]},
        {"contextName": "a", "operator": "IN", "values": ["a,b"]},
        {"contextName": "a", "operator": "IN", "values": [1]},
        {"contextName": "a", "operator": "LATER", "values": []},
        {"contextName": "a", "operator": "NUM_EQ", "value": "1", "values": ["2"]},
        {"contextName": "a", "operator": "REGEX", "value": "a\nb", "values": []},
        {"contextName": "a", "operator": "IN", "values": ["a"], "id": 5},
        "nonsense",
    ],
)
def test_what_a_line_cannot_say_stays_json(constraint: Any) -> None:
    line = constraint_line(constraint)
    assert line[0] in '{"'
    if isinstance(constraint, dict):
        assert parse_constraint(line, "") == constraint


@pytest.mark.parametrize(
    ("line", "dependency"),
    [
        ("parent", {"feature": "parent"}),
        ("not parent", {"feature": "parent", "enabled": False}),
        ("parent: blue, green", {"feature": "parent", "variants": ["blue", "green"]}),
        ('{"feature":"two words"}', {"feature": "two words"}),
        ('{"feature":"parent","more":1}', {"feature": "parent", "more": 1}),
    ],
)
def test_a_dependency_is_a_line(line: str, dependency: dict[str, Any]) -> None:
    assert (parse_dependency(line, ""), dependency_line(dependency)) == (dependency, line)
