"""Feedback: one for each end user of a generation, credited to what the picture was made with."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from uses import add_generation

from rollout.core.audit import Actor
from rollout.core.feedback import ANONYMOUS, Asked, FeedbackItem, Mark, Opinion, Wanted, make_handle
from rollout.core.tenants import Tenant
from rollout.core.uses import StoredImage
from rollout.db import audit, images, tables
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, ResultPurged, StaleVersion
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.tenants import Tenants

SECRET = b"s" * 32
ALICE = Actor("token:alice", "editor", "req_1")
GOOD, BAD = Opinion("up"), Opinion("down", ("wrong_colour",), "The fox is green.")


@pytest.fixture
def feedback(database: Database, clock: Any) -> Feedback:
    changes = Changes(database)
    for name in ("acme", "globex"):
        Tenants(database, changes).add(ALICE, Tenant(name, name), "seed")
    add_generation(database)
    count = itertools.count(1)
    return Feedback(database, changes, SECRET, lambda prefix: f"{prefix}_{next(count):03}", clock)


def rows(database: Database) -> int:
    with database.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(tables.feedback)).scalar_one())


def test_feedback_is_credited_to_what_the_picture_was_made_with(feedback: Feedback, clock: Any) -> None:
    item, is_new = feedback.submit("acme", "gen_1", "ana", BAD)
    assert is_new
    assert item == feedback.get(item.id)
    assert (item.feature, item.phase, item.run) == ("image-generation", "private_beta", 2)
    assert (item.vendor, item.model) == ("openai", "gpt-image-2")
    assert (item.state, item.opinion, item.created_at) == ("open", BAD, int(clock()))


def test_the_latest_opinion_of_an_end_user_wins_and_keeps_its_id(
    feedback: Feedback, database: Database, clock: Any
) -> None:
    first, _ = feedback.submit("acme", "gen_1", "ana", GOOD)
    clock.advance(60)
    second, is_new = feedback.submit("acme", "gen_1", "ana", BAD)
    other, _ = feedback.submit("acme", "gen_1", None, GOOD)
    assert not is_new
    assert (second.id, second.opinion, second.created_at) == (first.id, BAD, first.created_at)
    assert second.updated_at == first.updated_at + 60
    assert (other.end_user, other.id != first.id) == (ANONYMOUS, True)
    assert rows(database) == 2


def test_saying_the_same_again_changes_nothing(feedback: Feedback) -> None:
    first, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    resolved = feedback.set_state(ALICE, first.id, "resolved", "told the vendor")
    again, is_new = feedback.submit("acme", "gen_1", "ana", BAD)
    assert (again, is_new) == (resolved, False)


def test_new_words_open_what_was_resolved_but_not_spam(feedback: Feedback) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", GOOD)
    feedback.set_state(ALICE, item.id, "resolved", "thanked")
    assert feedback.submit("acme", "gen_1", "ana", BAD)[0].state == "open"
    feedback.set_state(ALICE, item.id, "spam", "advertising")
    assert feedback.submit("acme", "gen_1", "ana", GOOD)[0].state == "spam"


@pytest.mark.parametrize(("tenant", "generation"), [("globex", "gen_1"), ("acme", "gen_2")])
def test_what_is_not_the_tenants_is_not_found(feedback: Feedback, tenant: str, generation: str) -> None:
    with pytest.raises(NotFound) as refused:
        feedback.submit(tenant, generation, None, GOOD)
    assert refused.value.members["param"] == "generation"


def test_a_hundred_clicks_at_once_are_one_opinion(feedback: Feedback, database: Database) -> None:
    answers: list[tuple[FeedbackItem, bool]] = []
    opinions = [GOOD, BAD] * 10
    threads = [
        threading.Thread(
            target=lambda said=said: answers.append(feedback.submit("acme", "gen_1", "ana", said))
        )
        for said in opinions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(opinions)
    assert [is_new for _, is_new in answers].count(True) == 1
    assert rows(database) == 1


def test_withdrawing_erases_the_words_and_speaking_again_is_possible(feedback: Feedback) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    gone = feedback.withdraw("acme", item.id)
    assert (gone.state, gone.opinion) == ("withdrawn", Opinion("down"))
    assert feedback.withdraw("acme", item.id) == gone == feedback.get(item.id)
    back, is_new = feedback.submit("acme", "gen_1", "ana", Opinion("down"))
    assert (back.id, back.state, is_new) == (item.id, "open", False)


def test_only_its_own_tenant_or_end_user_withdraws_feedback(feedback: Feedback, clock: Any) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    with pytest.raises(NotFound):
        feedback.withdraw("globex", item.id)
    for end_user in ("bob", None):
        stranger = feedback.open(make_handle(SECRET, "acme", "gen_1", end_user, int(clock()) + 60))
        with pytest.raises(NotFound):
            feedback.withdraw("acme", item.id, stranger)
    hers = feedback.open(make_handle(SECRET, "acme", "gen_1", "ana", int(clock()) + 60))
    assert feedback.withdraw("acme", item.id, hers).state == "withdrawn"


def test_a_handle_ends_with_its_picture(feedback: Feedback, clock: Any) -> None:
    token = make_handle(SECRET, "acme", "gen_1", None, int(clock()) + 60)
    assert feedback.open(token).generation_id == "gen_1"
    clock.advance(60)
    with pytest.raises(ResultPurged):
        feedback.open(token)


def test_triage_is_audited_and_bound_to_the_version_that_was_read(
    feedback: Feedback, database: Database
) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    feedback.submit("acme", "gen_1", "ana", GOOD)
    with pytest.raises(StaleVersion) as refused:
        feedback.set_state(ALICE, item.id, "resolved", "done", based_on=item.version)
    assert refused.value.members["current"]["rating"] == "up"
    after = feedback.set_state(ALICE, item.id, "resolved", "done", based_on=2)
    assert (after.state, after.version) == ("resolved", 3)
    with database.read() as tx:
        entry = audit.page(tx, tenant="acme", subject=item.id, before=None, limit=9)
    assert [(one["action"], one["before"], one["after"], one["actor"], one["reason"]) for one in entry] == [
        (
            "feedback.triaged",
            {"state": "open", "version": 2},
            {"state": "resolved", "version": 3},
            "token:alice",
            "done",
        )
    ]


def test_a_dry_run_of_triage_checks_and_keeps_nothing(feedback: Feedback) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    assert feedback.set_state(ALICE, item.id, "spam", "test", dry_run=True).state == "spam"
    assert feedback.get(item.id) == item
    with pytest.raises(InvalidRequest):
        feedback.set_state(ALICE, item.id, "spam", " ", dry_run=True)


def test_what_was_withdrawn_or_does_not_exist_is_not_triaged(feedback: Feedback) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    feedback.withdraw("acme", item.id)
    with pytest.raises(Conflict, match="withdrew"):
        feedback.set_state(ALICE, item.id, "resolved", "done")
    for unknown in (lambda: feedback.set_state(ALICE, "fb_x", "open", "why"), lambda: feedback.get("fb_x")):
        with pytest.raises(NotFound):
            unknown()


def test_pages_are_newest_first_and_filtered(feedback: Feedback, database: Database) -> None:
    add_generation(database, "gen_2", phase="wider_beta")
    add_generation(database, "gen_1", tenant_id="globex")
    made = [
        feedback.submit(*where, opinion)[0]
        for where, opinion in (
            (("acme", "gen_1", "ana"), GOOD),
            (("acme", "gen_1", "bob"), BAD),
            (("acme", "gen_2", "ana"), BAD),
            (("globex", "gen_1", "ana"), BAD),
        )
    ]
    feedback.set_state(ALICE, made[1].id, "resolved", "done")

    def found(**wanted: Any) -> list[int]:
        page = feedback.page(Wanted(**wanted), before=None, limit=9)
        return [[item.id for item in made].index(item.id) for item in page]

    assert found() == [3, 2, 1, 0]
    assert found(tenant="acme") == [2, 1, 0]
    assert found(tenant="acme", rating="down", state="open") == [2]
    assert found(phase="private_beta") == [3, 1, 0]
    assert found(tenant="acme", generation="gen_1") == [1, 0]
    second = feedback.page(Wanted(), before=made[2].id, limit=1)
    assert [item.id for item in second] == [made[1].id]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"vendor": "xai"}, ["gen_2"]),
        ({"model": "gpt-image-2"}, ["gen_1"]),
        ({"feature": "image-generation", "rating": "down"}, ["gen_2"]),
        ({"feature": "image-analysis"}, []),
        ({"end_user": "bob"}, ["gen_2"]),
        ({"generation": "gen_1"}, ["gen_1"]),
        ({"vendor": "xai", "end_user": "ana", "state": "open"}, []),
    ],
)
def test_lists_are_filtered_by_what_the_picture_was_made_with(
    feedback: Feedback, database: Database, wanted: dict[str, Any], found: list[str]
) -> None:
    add_generation(database, "gen_2", vendor="xai", model="grok-imagine")
    feedback.submit("acme", "gen_1", "ana", GOOD)
    feedback.submit("acme", "gen_2", "bob", BAD)
    page = feedback.page(Wanted(**wanted), before=None, limit=9)
    assert [item.generation_id for item in page] == found
    assert list(feedback.every(Wanted(**wanted))) == page


def test_everything_is_read_page_by_page(feedback: Feedback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.services.feedback.EXPORT_PAGE", 2)
    made = [feedback.submit("acme", "gen_1", f"person {n}", GOOD)[0].id for n in range(5)]
    assert [item.id for item in feedback.every(Wanted())] == made[::-1]


def add_picture(database: Database, generation_id: str, *, expires_at: int, **changed: Any) -> None:
    picture = {
        "tenant_id": "acme",
        "id": f"img_{generation_id}",
        "generation_id": generation_id,
        "position": 0,
        "sha256": "0" * 64,
        "media_type": "image/png",
        "bytes": 9,
        "created_at": 1,
        "expires_at": expires_at,
    }
    with database.write() as tx:
        images.add(tx, [StoredImage(**{**picture, **changed})])


def test_the_inbox_shows_what_each_item_is_about(feedback: Feedback, database: Database, clock: Any) -> None:
    add_generation(database, "gen_2", prompt="a blue fox", request_id="req_2", requested_model="alias")
    add_picture(database, "gen_2", expires_at=int(clock()) + 60)
    add_picture(database, "gen_2", expires_at=int(clock()) + 60, id="img_second", position=1)
    first, _ = feedback.submit("acme", "gen_1", "ana", GOOD)
    feedback.submit("acme", "gen_2", "ana", BAD)
    feedback.submit("acme", "gen_2", "bob", GOOD)
    newest, _, oldest = feedback.inbox(Wanted(), before=None, limit=9)
    assert (newest.prompt, newest.request_id, newest.requested_model) == ("a blue fox", "req_2", "alias")
    assert (newest.picture, newest.picture_until) == ("img_gen_2", int(clock()) + 60)
    assert (newest.others, oldest.others) == (1, 0)
    assert (oldest.item, oldest.picture, oldest.picture_until) == (first, None, None)
    clock.advance(60)
    assert feedback.inbox_item(newest.item.id).picture is None
    assert [found.item.id for found in feedback.inbox(Wanted(), before=newest.item.id, limit=1)] == ["fb_002"]
    with pytest.raises(NotFound):
        feedback.inbox_item("fb_x")


def test_a_page_of_the_inbox_is_one_query(feedback: Feedback, database: Database) -> None:
    for number in range(20):
        feedback.submit("acme", "gen_1", f"person {number}", BAD)
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert [found.others for found in feedback.inbox(Wanted(), before=None, limit=20)] == [19] * 20
    assert len([statement for statement in asked if "feedback" in statement]) == 1


def test_neighbours_are_the_next_of_the_same_kind(feedback: Feedback) -> None:
    made = [feedback.submit("acme", "gen_1", f"person {n}", GOOD)[0].id for n in range(5)]
    feedback.set_state(ALICE, made[3], "spam", "test")
    assert feedback.neighbours(Wanted(state="open"), made[2]) == (made[4], made[1])
    assert feedback.neighbours(Wanted(state="open"), made[3]) == (made[4], made[2])
    assert feedback.neighbours(Wanted(), made[4]) == (None, made[3])
    assert feedback.neighbours(Wanted(tenant="globex"), made[2]) == (None, None)


def test_many_are_triaged_in_one_change_with_an_entry_each(feedback: Feedback, database: Database) -> None:
    made = [feedback.submit("acme", "gen_1", f"person {n}", BAD)[0] for n in range(3)]
    feedback.set_state(ALICE, made[2].id, "spam", "earlier")
    marks = [Mark(made[0].id, 1, "spam"), Mark(made[1].id, 1, "resolved"), Mark(made[2].id, 2, "spam")]
    assert [item.state for item in feedback.set_states(ALICE, marks, "the same campaign")] == [
        "spam",
        "resolved",
        "spam",
    ]
    with database.read() as tx:
        entries = audit.page(tx, tenant="acme", subject=None, before=None, limit=9)
    told = [(row["subject"], row["after"], row["reason"]) for row in entries[:2]]
    assert told == [
        (made[1].id, {"state": "resolved", "version": 2}, "the same campaign"),
        (made[0].id, {"state": "spam", "version": 2}, "the same campaign"),
    ]
    assert entries[0]["revision"] == entries[1]["revision"] != entries[2]["revision"]


@pytest.mark.parametrize(
    ("version", "error"), [(7, StaleVersion), (None, Conflict)], ids=["stale", "withdrawn"]
)
def test_when_one_of_many_is_refused_none_changes(
    feedback: Feedback, version: int | None, error: type[Exception]
) -> None:
    made = [feedback.submit("acme", "gen_1", f"person {n}", BAD)[0] for n in range(2)]
    if version is None:
        feedback.withdraw("acme", made[1].id)
    with pytest.raises(error):
        feedback.set_states(ALICE, [Mark(made[0].id, 1, "spam"), Mark(made[1].id, version, "spam")], "test")
    assert feedback.get(made[0].id) == made[0]


@pytest.mark.parametrize("ids", [[], ["fb_001", "fb_001"], [f"fb_{n:03}" for n in range(101)]])
def test_a_change_names_some_items_once_each(feedback: Feedback, ids: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        feedback.set_states(ALICE, [Mark(id_, None, "spam") for id_ in ids], "test")
    assert refused.value.members["param"] == "ids"


def test_an_end_user_is_asked_about_the_first_picture_and_what_they_said(
    feedback: Feedback, database: Database, clock: Any
) -> None:
    add_picture(database, "gen_1", expires_at=int(clock()) + 60)
    handle = feedback.open(make_handle(SECRET, "acme", "gen_1", "ana", int(clock()) + 600))
    asked = feedback.asked(handle)
    assert (asked.tenant_name, asked.said) == ("acme", None)
    assert asked.picture is not None
    assert asked.picture.id == "img_gen_1"
    said, _ = feedback.submit("acme", "gen_1", "ana", BAD)
    clock.advance(60)
    assert feedback.asked(handle) == Asked("acme", None, said)
    gone = feedback.open(make_handle(SECRET, "acme", "gen_9", "ana", int(clock()) + 600))
    with pytest.raises(NotFound):
        feedback.asked(gone)
