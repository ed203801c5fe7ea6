"""Feedback: one for each end user of a generation, credited to what the picture was made with."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from uses import add_generation

from rollout.core.audit import Actor
from rollout.core.feedback import ANONYMOUS, FeedbackItem, Opinion, Wanted, make_handle
from rollout.core.tenants import Tenant
from rollout.db import audit, tables
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
        ("feedback.triaged", {"state": "open"}, {"state": "resolved"}, "token:alice", "done")
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
