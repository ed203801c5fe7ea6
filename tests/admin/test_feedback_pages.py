"""/admin/feedback: the inbox, sorted with the mouse and without scripts, one and many, there and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from console import SEED, Visitor
from uses import add_generation

from rollout.core.feedback import FeedbackItem, Opinion
from rollout.core.tokens import Role
from rollout.core.users import Preferences
from rollout.core.uses import StoredImage
from rollout.db import images
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
WORDS = '<script>alert("no")</script> The sign is misspelt.'


@pytest.fixture
def said(wired: Services) -> list[FeedbackItem]:
    """Five people on acme's gen_1, of which there is a picture; one on globex's gen_2."""
    now = wired.database.now
    add_generation(wired.database, prompt="a <b>red</b> fox")
    add_generation(wired.database, "gen_2", tenant_id="globex", vendor="xai", model="grok-imagine")
    with wired.database.write() as tx:
        picture = StoredImage(
            tenant_id="acme",
            id="img_1",
            generation_id="gen_1",
            position=0,
            sha256="0" * 64,
            media_type="image/png",
            bytes=9,
            created_at=1,
            expires_at=now(tx) + 3600,
        )
        images.add(tx, [picture])
    made = [
        wired.feedback.submit(
            "acme", "gen_1", f"person {number}", Opinion("down", ("wrong-text", "own_word"), WORDS)
        )
        for number in range(5)
    ]
    return [item for item, _ in [*made, wired.feedback.submit("globex", "gen_2", None, Opinion("up"))]]


def shown(visitor: Visitor) -> list[str]:
    return re.findall(r'<article [^>]*id="(fb_\w+)"', visitor.page.text)


def state(services: Services, item: FeedbackItem) -> str:
    return services.feedback.get(item.id).state


def last_change(services: Services) -> dict[str, Any]:
    return dict(services.audit.page(limit=1)[0])


def test_the_inbox_shows_what_was_said_of_which_picture(visit: Visit, said: list[FeedbackItem]) -> None:
    viewer = visit("viewer")
    viewer.get("/admin/feedback")
    assert viewer.page.status_code == 200
    assert shown(viewer) == [item.id for item in reversed(said)]
    assert "The text in it is wrong own_word" in viewer.text
    assert "<script>alert" not in viewer.page.text
    assert "&lt;script&gt;alert" in viewer.page.text
    assert "a &lt;b&gt;red&lt;/b&gt; fox" in viewer.page.text
    pictures = re.findall(r'<img class="thumb" src="(/api/v1/images/img_1\?[^"]+)"', viewer.page.text)
    assert len(pictures) == 5
    assert "no longer kept" in viewer.text
    assert "4 more of the same picture" in viewer.text
    assert 'href="/admin/requests/req_1"' in viewer.page.text


def test_words_of_partners_are_nothing_to_the_script(visit: Visit, said: list[FeedbackItem]) -> None:
    visitor = visit("viewer")
    for path in ("/admin/feedback", f"/admin/feedback/{said[0].id}"):
        html = visitor.get(path).text
        before = [html[: at.start()] for at in re.finditer(re.escape("The sign is misspelt"), html)]
        assert before
        assert all(re.search(r"<[^>]*hx-ignore[^>]*>[^<]*$", text) for text in before)


def test_figures_stand_above_the_list(visit: Visit, said: list[FeedbackItem]) -> None:
    viewer = visit("viewer")
    viewer.get("/admin/feedback")
    assert "private_beta openai 0 5 100" in viewer.text
    assert "private_beta xai 1 0 0" in viewer.text
    viewer.get("/admin/feedback?tenant=globex")
    assert "xai 1 0" in viewer.text
    assert "openai" not in viewer.text
    assert viewer.get("/admin/feedback?tenant=nobody").status_code == 200


def test_an_empty_inbox_says_where_feedback_comes_from(visit: Visit) -> None:
    viewer = visit("viewer")
    viewer.get("/admin/feedback")
    assert "x-rollout-feedback" in viewer.text


def test_the_address_says_what_is_shown(visit: Visit, said: list[FeedbackItem]) -> None:
    viewer = visit("viewer")
    for query, found in (
        ("rating=up", [5]),
        ("tenant=acme&vendor=openai&limit=2", [4, 3]),
        ("model=grok-imagine&phase=private_beta", [5]),
        ("vendor=xai&rating=down", []),
        ("state=spam", []),
        ("state=any&rating=&tenant=globex&phase=&vendor=&model=", [5]),
    ):
        viewer.get(f"/admin/feedback?{query}")
        assert shown(viewer) == [said[index].id for index in found], query


def test_a_wrong_word_in_the_address_is_named(visit: Visit) -> None:
    viewer = visit("viewer")
    for query in ("state=lost", "rating=meh", "limit=0", "limit=1000", "colour=red", "format=xml"):
        assert viewer.get(f"/admin/feedback?{query}").status_code == 400
        assert query.partition("=")[0] in viewer.text


def test_files_hold_what_the_filters_leave(visit: Visit, said: list[FeedbackItem]) -> None:
    viewer = visit("viewer")
    viewer.get("/admin/feedback?tenant=acme&rating=down&limit=2")
    (link,) = re.findall(r'href="([^"]+format=csv[^"]*)"', viewer.page.text)
    file = viewer.get(link.replace("&amp;", "&"))
    assert file.headers["Content-Disposition"] == 'attachment; filename="feedback.csv"'
    assert len(file.text.strip().splitlines()) == 6


def test_one_is_sorted_and_the_next_is_there(visit: Visit, wired: Services, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback?tenant=acme")
    editor.send(f"sort-{said[3].id}", state="resolved")
    assert editor.page.status_code == 303
    target = urlsplit(editor.page.headers["Location"])
    assert (target.path, target.fragment) == ("/admin/feedback", said[2].id)
    assert parse_qs(target.query)["tenant"] == ["acme"]
    assert state(wired, said[3]) == "resolved"
    change = last_change(wired)
    assert (change["action"], change["actor"]) == ("feedback.triaged", "user:editor@example.com")
    editor.follow()
    assert shown(editor) == [said[index].id for index in (4, 2, 1, 0)]
    assert "Feedback sorted" in editor.text


def test_what_was_sorted_is_undone(visit: Visit, wired: Services, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback")
    editor.send(f"sort-{said[3].id}", state="spam")
    editor.follow()
    editor.send("undo")
    assert urlsplit(editor.page.headers["Location"]).fragment == said[3].id
    assert state(wired, said[3]) == "open"
    assert last_change(wired)["reason"] == "undone in the inbox"


def test_many_are_sorted_at_once_and_undone_at_once(
    visit: Visit, wired: Services, said: list[FeedbackItem]
) -> None:
    wired.feedback.set_state(SEED, said[1].id, "spam", "seed")
    chosen = [f"{item.id}:{wired.feedback.get(item.id).version}" for item in said[:3]]
    editor = visit("editor")
    editor.get("/admin/feedback?state=any")
    editor.send("bulk", items=chosen, state="resolved")
    assert [state(wired, item) for item in said] == ["resolved"] * 3 + ["open"] * 3
    revisions = {row["revision"] for row in wired.audit.page(limit=3)}
    assert len(revisions) == 1
    editor.follow()
    editor.send("undo")
    assert [state(wired, item) for item in said] == ["open", "spam", *["open"] * 4]


def test_who_was_slower_changes_nothing_and_reads_who_was_faster(
    visit: Visit, wired: Services, said: list[FeedbackItem]
) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback")
    wired.feedback.set_state(SEED, said[0].id, "spam", "faster")
    editor.send(f"sort-{said[0].id}", state="resolved")
    assert editor.page.status_code == 409
    assert "Somebody was faster" in editor.text
    assert "system:seed" in editor.text
    assert state(wired, said[0]) == "spam"
    editor.get("/admin/feedback")
    wired.feedback.submit("acme", "gen_1", "person 1", Opinion("up"))
    editor.send(f"sort-{said[1].id}", state="resolved")
    assert "end user has just spoken again" in editor.text
    assert state(wired, said[1]) == "open"


def test_an_undo_that_comes_too_late_changes_nothing(
    visit: Visit, wired: Services, said: list[FeedbackItem]
) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback")
    editor.send(f"sort-{said[0].id}", state="resolved")
    editor.follow()
    wired.feedback.set_state(SEED, said[0].id, "spam", "meanwhile")
    assert editor.send("undo").status_code == 409
    assert state(wired, said[0]) == "spam"


def test_nobody_undoes_what_another_did(visit: Visit, wired: Services, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback")
    editor.send(f"sort-{said[0].id}", state="resolved")
    editor.follow()
    wired.feedback.set_state(SEED, said[1].id, "spam", "seed")
    editor.send("undo", change=str(last_change(wired)["seq"]))
    assert (editor.page.status_code, state(wired, said[1])) == (404, "spam")


def test_a_wrong_form_is_refused_on_the_page(visit: Visit, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    editor.get("/admin/feedback")
    for status, said_so, typed in (
        (400, "Choose at least one item.", {"state": "resolved"}),
        (400, "Choose items of the list.", {"state": "resolved", "items": "fb_1"}),
        (400, "Choose items of the list.", {"state": "resolved", "items": "fb_1:x"}),
        (400, "state", {"state": "gone", "items": "fb_1:1"}),
        (400, "state", {"items": "fb_1:1"}),
        (404, "There is no feedback", {"state": "spam", "items": "fb_nothing:1"}),
    ):
        editor.send("bulk", **typed)
        assert (editor.page.status_code, said_so in editor.text) == (status, True), typed


def test_a_viewer_sorts_nothing_and_sees_why(visit: Visit, wired: Services, said: list[FeedbackItem]) -> None:
    editor, viewer = visit("editor"), visit("viewer")
    viewer.get("/admin/feedback")
    assert "needs the role editor" in viewer.text
    assert not [form for form in viewer.forms() if form.name.startswith(("sort", "bulk"))]
    editor.get("/admin/feedback")
    form = next(form for form in editor.forms() if form.name == "bulk")
    viewer.get("/admin/feedback")
    token = next(form.fields["_token"] for form in viewer.forms() if "_token" in form.fields)
    sent = {**form.fields, "_token": token, "items": f"{said[0].id}:1", "state": "spam"}
    assert viewer.client.post(form.action, data=sent).status_code == 403
    assert state(wired, said[0]) == "open"


def test_one_item_has_a_page_and_leads_on(visit: Visit, wired: Services, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    editor.get(f"/admin/feedback/{said[2].id}?tenant=acme")
    assert editor.page.status_code == 200
    links = re.findall(r'href="/admin/feedback/(fb_\w+)\?tenant=acme" rel="(prev|next)"', editor.page.text)
    assert links == [(said[3].id, "prev"), (said[1].id, "next")]
    assert "Said of the same picture" in editor.text
    assert '<img class="picture" src="/api/v1/images/img_1?' in editor.page.text
    editor.send(f"sort-{said[2].id}", state="resolved")
    assert urlsplit(editor.page.headers["Location"]).path == f"/admin/feedback/{said[1].id}"
    editor.follow()
    assert "Feedback sorted" in editor.text
    assert editor.get("/admin/feedback/fb_nothing").status_code == 404


def test_what_was_withdrawn_is_shown_without_its_words(
    visit: Visit, wired: Services, said: list[FeedbackItem]
) -> None:
    wired.feedback.withdraw("acme", said[0].id)
    editor = visit("editor")
    editor.get(f"/admin/feedback/{said[0].id}")
    assert "took it back" in editor.text
    assert not [form for form in editor.forms() if form.name.startswith("sort")]
    editor.get("/admin/feedback")
    editor.send("bulk", items=f"{said[0].id}:2", state="spam")
    assert (editor.page.status_code, "withdrew" in editor.text) == (409, True)


def test_keys_are_told_and_can_be_switched_off(visit: Visit, said: list[FeedbackItem]) -> None:
    editor = visit("editor")
    html = editor.get("/admin/feedback").text
    assert all(f'data-key="{key}"' in html for key in "esxESO?")
    assert "next, previous" in editor.text
    me = editor.services.users.by_email("editor@example.com")
    editor.services.users.set_preferences(me.id, Preferences(shortcuts=False))
    html = editor.get("/admin/feedback").text
    assert "data-shortcuts" not in html
    assert "Single keys are switched off." in editor.text


def test_a_list_is_sorted_from_its_first_item_to_its_last(visit: Visit, wired: Services) -> None:
    add_generation(wired.database)
    for number in range(7):
        wired.feedback.submit("acme", "gen_1", f"person {number}", Opinion("down"))
    editor = visit("editor")
    editor.get("/admin/feedback?limit=5")
    for _ in range(7):
        editor.send(f"sort-{shown(editor)[0]}", state="resolved")
        editor.follow()
    assert shown(editor) == []
    assert "Nothing here" in editor.text
