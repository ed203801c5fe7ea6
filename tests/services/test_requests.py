"""Refusals written down after the answer, and the story of a request by any id of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doors
import pytest
import sqlalchemy as sa
from clocks import Clock
from gateway import GRACE, MESSAGE_MODEL, PNG, Gateway, away, on_sqlite
from structlog.testing import capture_logs

from rollout.core.decisions import GENERATION
from rollout.core.feedback import Opinion
from rollout.core.refusals import Refusal
from rollout.core.stories import Event, Story
from rollout.core.tenants import NewKey
from rollout.db.engine import Database
from rollout.db.tables import refusal
from rollout.errors import InvalidRequest, LedgerUnavailable, NotFound
from rollout.providers.base import Fault, NotSent, OutcomeUnknown, Refused
from rollout.services import requests
from rollout.services.catalogue import load_seed
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.requests import Requests


@pytest.fixture
def log(database: Database, clock: Clock) -> Requests:
    return Requests(database, clock, load_seed, retention_days=30)


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path, log: Requests) -> Gateway:
    wired = Gateway(database, clock, tmp_path)
    wired.services.requests = log
    return wired


def noted(**changed: Any) -> Refusal:
    made = Refusal(
        tenant_id="acme",
        request_id="req_1",
        at=1_795_348_800,
        method="POST",
        route="/v1/images/generations",
        status=429,
        code="insufficient_quota",
        message="full",
        members={"remedy": "wait"},
        api_key_id="key_1",
        decision_id=None,
    )
    return dataclasses.replace(made, **changed)


def kinds(story: Story) -> list[str]:
    return [event.kind for event in story.events]


def the(story: Story, kind: str) -> Event:
    (found,) = [event for event in story.events if event.kind == kind]
    return found


def asked(answer: Any) -> str:
    request_id: str = answer.headers["x-request-id"]
    return request_id


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_who_is_not_let_in_is_written_down_with_the_reason(gateway: Gateway, log: Requests) -> None:
    answer = gateway.door("globex").generate(prompt="a prompt that nobody keeps")
    assert log.flush() == 1
    (row,) = log.page(limit=9)
    assert (row.tenant_id, row.request_id, row.at) == ("globex", asked(answer), int(gateway.clock()))
    assert (row.method, row.route, row.status) == ("POST", "/v1/images/generations", 403)
    assert (row.code, row.members["reason"]) == ("feature_not_enabled", "not_granted")
    assert row.decision_id == answer.headers["x-rollout-decision"]
    assert "nobody keeps" not in repr(row)


def test_a_full_limit_is_written_down_with_its_figures(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 1)
    door = gateway.door()
    door.generate()
    story = log.story(asked(door.generate()))
    assert (story.outcome, kinds(story)) == ("refused", ["called", "decided", "refused"])
    told = the(story, "refused").values
    assert (told["code"], told["limit"], told["resets_at"]) == (
        "insufficient_quota",
        "image-day",
        "2026-11-22T17:00:00Z",
    )
    assert [(one["cap"], one["used"], one["held"]) for one in told["limits"]] == [(1, 1, 0)]
    assert the(story, "refused").links == {"meter": told["limits"][0]["meter"]}
    assert the(story, "decided").values["allowed"] is True


@pytest.mark.parametrize("why", ["revoked", "suspended", "scope"])
def test_a_key_that_opens_nothing_any_more_still_says_whose_call_it_was(
    gateway: Gateway, log: Requests, why: str
) -> None:
    services = gateway.services
    issued = services.keys.add(doors.ALICE, "acme", NewKey("old", scopes=("read",)), "test")
    if why == "revoked":
        services.keys.revoke(doors.ALICE, "acme", issued.key.id, "lost")
    if why == "suspended":
        services.tenants.set_state(doors.ALICE, "acme", "suspended", "unpaid")
    services.state.refresh()
    answer = gateway.app.test_client().post(
        "/v1/images/generations", headers={"Authorization": f"Bearer {issued.secret}"}, json={}
    )
    (row,) = log.page(limit=9)
    assert answer.status_code == row.status == (401 if why == "revoked" else 403)
    assert (row.tenant_id, row.api_key_id) == ("acme", issued.key.id)
    assert the(log.story(row.request_id), "called").values["key"] == issued.key.prefix


@on_sqlite
def test_a_caller_that_nobody_knows_leaves_nothing_behind(gateway: Gateway, log: Requests) -> None:
    client = gateway.app.test_client()
    assert client.post("/v1/images/generations", json={}).status_code == 401
    assert client.get("/v1/nowhere").status_code == 404
    assert log.flush() == 0


@on_sqlite
def test_an_error_within_a_stream_is_a_refusal_too(gateway: Gateway, log: Requests) -> None:
    gateway.vendor.partials = ["a partial", OutcomeUnknown("cut")]
    answer = gateway.door().generate(stream=True, partial_images=1)
    assert b"event: error" in answer.data
    assert the(log.story(asked(answer)), "refused").values["code"] == "outcome_unknown"


@on_sqlite
def test_secrets_in_a_message_are_not_kept(log: Requests) -> None:
    log.note(
        noted(message="There is no model sk-abcdefghijklmnop.", members={"remedy": "not ra_abcdefghijk"})
    )
    (row,) = log.page(limit=9)
    assert row.message == "There is no model sk-[redacted]."
    assert row.members == {"remedy": "not ra_[redacted]"}


@on_sqlite
def test_what_does_not_fit_into_memory_is_counted_and_logged(
    log: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MEMORY", 3)
    for number in range(5):
        log.note(noted(request_id=f"req_{number}"))
    with capture_logs() as logs:
        assert (log.flush(), log.flush()) == (3, 0)
    assert [(line["event"], line["count"]) for line in logs] == [("refusals_not_noted", 2)]


@on_sqlite
def test_with_the_database_away_what_was_noted_waits(
    database: Database, log: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.note(noted())
    with monkeypatch.context() as outage, capture_logs() as logs:
        outage.setattr(database, "write", away)
        assert (log.flush(), log.flush()) == (0, 0)
    assert [line["event"] for line in logs] == ["refusals_wait"]
    assert log.flush() == 1


def test_a_batch_whose_commit_was_not_answered_is_written_once(
    database: Database, log: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.note(noted())
    write = requests.refusals.add

    def unanswered(*arguments: Any) -> None:
        with database.write() as tx:
            write(tx, *arguments[1:])
        raise LedgerUnavailable

    with monkeypatch.context() as outage:
        outage.setattr(requests.refusals, "add", unanswered)
        outage.setattr(database, "write", _without_the_files_lock(database))
        assert log.flush() == 0
    assert log.flush() == 1
    assert len(log.page(limit=9)) == 1


def _without_the_files_lock(database: Database) -> Callable[[], Any]:
    return database.engine.begin


@on_sqlite
def test_what_no_database_takes_is_dropped_with_a_trace(
    log: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.note(noted(members={"remedy": object()}))
    with capture_logs() as logs:
        log.flush()
    assert [line["event"] for line in logs] == ["refusals_not_written"]
    log.note(noted(request_id="req_2"))
    assert [row.request_id for row in log.page(limit=9)] == ["req_2"]


def test_refusals_are_listed_newest_first_by_tenant_code_and_time(log: Requests) -> None:
    start = noted().at
    for number in range(4):
        tenant, code = ("acme", "globex")[number % 2], ("not_found", "conflict")[number // 2]
        log.note(noted(request_id=f"req_{number}", at=start + number // 2, tenant_id=tenant, code=code))

    def ids(**wanted: Any) -> list[str]:
        return [row.request_id[4:] for row in log.page(limit=9, **wanted)]

    assert ids() == ["3", "2", "1", "0"]
    assert ids(before="req_2") == ["1", "0"]
    assert ids(tenant="acme") == ["2", "0"]
    assert ids(code="conflict") == ["3", "2"]
    assert ids(since=start + 1, tenant="globex", code="conflict") == ["3"]
    assert [row.request_id for row in log.page(limit=1)] == ["req_3"]
    with pytest.raises(InvalidRequest) as wrong:
        log.page(before="req_9", limit=9)
    assert wrong.value.members == {"param": "cursor"}


def test_a_summary_counts_by_code_and_route(log: Requests, clock: Clock) -> None:
    for number in range(3):
        log.note(noted(request_id=f"req_{number}", at=int(clock()) - number))
    log.note(noted(request_id="req_old", at=int(clock()) - 90_000))
    log.note(noted(request_id="req_other", at=int(clock()), code="not_found", route="/v1/models/<name>"))
    summary = log.grouped()
    assert summary.since == int(clock()) - 86_400
    assert [(one.code, one.route, one.count, one.last_at) for one in summary.groups] == [
        ("insufficient_quota", "/v1/images/generations", 3, int(clock())),
        ("not_found", "/v1/models/<name>", 1, int(clock())),
    ]
    assert sum(one.count for one in log.grouped(int(clock()) - 100_000).groups) == 5


def test_a_summary_of_too_much_says_from_when_it_counts(
    log: Requests, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "COUNTED", 2)
    for number in range(4):
        log.note(noted(request_id=f"req_{number}", at=int(clock()) - 10 * number))
    summary = log.grouped()
    assert (summary.since, summary.groups[0].count) == (int(clock()) - 10, 2)


def test_refusals_are_forgotten_when_their_time_is_over(
    database: Database, log: Requests, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FORGOTTEN_AT_ONCE", 2)
    for number in range(5):
        log.note(noted(request_id=f"req_{number}", at=int(clock()) + number))
    log.note(noted(request_id="req_kept", at=int(clock()) + 100))
    log.flush()
    clock.advance(30 * 86_400 + 50)
    log.forget()
    with database.read() as tx:
        assert tx.execute(sa.select(refusal.c.request_id)).scalars().all() == ["req_kept"]


# -- stories -----------------------------------------------------------------------------------------------------------


def test_every_id_of_a_generation_tells_the_same_story(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 5)
    gateway.limit("usd_micro", "month", 10_000_000)
    door = gateway.door()
    answer = door.post(
        "/v1/images/generations", {"model": "gpt-image-1", "prompt": "a fox"}, x_rollout_end_user="rosa"
    )
    hold = gateway.the_hold()
    feedback = Feedback(
        gateway.database, Changes(gateway.database), doors.SECRET, gateway.new_id, gateway.clock
    )
    made = the(log.story(asked(answer)), "called").values["id"]
    gateway.clock.advance(60)
    item, _ = feedback.submit("acme", made, "rosa", Opinion("down", ("wrong_colour",), "no fox"))
    gateway.clock.advance(60)
    feedback.set_state(doors.BOB, item.id, "resolved", "told the vendor")

    story = log.story(asked(answer))
    picture = the(story, "stored").values["images"][0]
    for other in (made, hold.id, item.id, picture["id"]):
        assert log.story(other) == story
    assert (story.tenant_id, story.request_id, story.outcome) == ("acme", asked(answer), "settled")
    assert kinds(story) == [
        "called", "decided", "held", "dispatched", "settled", "stored", "rated", "changed",
    ]  # fmt: skip
    called = the(story, "called").values
    assert (called["prompt"], called["requested_model"], called["end_user"]) == (
        "a fox",
        "gpt-image-1",
        "rosa",
    )
    assert called["key"].startswith("rk_live_")
    assert (the(story, "decided").values["phase"], the(story, "decided").values["reason"]) == (
        "private_beta",
        None,
    )
    assert [(line["name"], line["amount"], line["held"]) for line in the(story, "held").values["lines"]] == [
        ("image-day", 1, 1),
        ("money-month", hold.lines[1].amount, hold.lines[1].amount),
    ]
    settled = the(story, "settled")
    assert (settled.at, settled.values["cost_usd_micro"]) == (hold.settled_at, hold.cost_usd_micro)
    assert [(line["name"], line["charged"]) for line in settled.values["lines"]] == [
        ("image-day", 1),
        ("money-month", hold.cost_usd_micro),
    ]
    assert (picture["bytes"], picture["media_type"]) == (len(PNG), "image/png")
    assert the(story, "rated").values["comment"] == "no fox"
    changed = the(story, "changed").values
    assert (changed["actor"], changed["reason"], changed["after"]["state"]) == (
        "token:bob",
        "told the vendor",
        "resolved",
    )


def test_an_analysis_has_a_story_without_meters(gateway: Gateway, log: Requests) -> None:
    story = log.story(asked(gateway.door().analyze()))
    assert kinds(story) == ["called", "decided", "held", "dispatched", "settled"]
    made = the(story, "called").values["id"]
    assert made.startswith("anl_")
    assert log.story(made) == story
    assert the(story, "dispatched").values["model"] == MESSAGE_MODEL
    assert the(story, "settled").values["lines"] == []


def test_a_call_that_never_left_is_void(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 5)
    gateway.vendor.answers = [NotSent("no route"), NotSent("no route")]
    story = log.story(asked(gateway.door().generate()))
    assert kinds(story) == ["called", "decided", "held", "void", "refused"]
    assert "no route" in the(story, "void").values["why"]
    assert the(story, "refused").values["code"] == "upstream_unavailable"


def test_content_that_the_vendor_refused_is_settled_and_refused(gateway: Gateway, log: Requests) -> None:
    gateway.vendor.answers = [Refused("violence")]
    story = log.story(asked(gateway.door().generate()))
    assert story.outcome == "settled"
    assert the(story, "refused").values["category"] == "violence"


@pytest.mark.parametrize("slots", [True, False])
def test_an_unknown_outcome_waits_and_is_charged_as_reserved(
    gateway: Gateway, log: Requests, slots: bool
) -> None:
    if slots:
        gateway.limit("slot", "concurrent", 4)
    gateway.limit("image", "day", 5)
    gateway.vendor.answers = [Fault("500")]
    request_id = asked(gateway.door().generate())
    story = log.story(request_id)
    assert (story.outcome, kinds(story)[-2:]) == ("unknown", ["unknown", "refused"])
    unknown = the(story, "unknown")
    assert (unknown.values["until"], unknown.values["then"]) == ("2026-11-22T12:15:00Z", "charge")
    assert (unknown.at, unknown.values["evidence"][0]["found"]) == (int(gateway.clock()), "Fault: 500")
    gateway.wait(GRACE)
    gateway.ledger.reconcile()
    ended = log.story(request_id)
    assert kinds(ended)[-1] == "settled"
    assert the(ended, "settled").values["settled_from"] == "estimate"
    assert the(ended, "settled").values["by"] == "system:reconciler"
    assert "until" not in the(ended, "unknown").values


def test_what_a_person_did_to_a_hold_is_in_its_story(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 5)
    gateway.vendor.answers = [Fault("500")]
    request_id = asked(gateway.door().generate())
    gateway.clock.advance(5)
    gateway.ledger.void_by_hand(doors.BOB, gateway.the_hold().id, "their log shows no call")
    story = log.story(request_id)
    assert kinds(story)[-2:] == ["void", "changed"]
    assert the(story, "void").values == {"why": "their log shows no call", "by": "token:bob"}
    assert the(story, "changed").links == {"audit": gateway.the_hold().id}


def test_a_rehearsal_reserves_nothing_and_has_a_story(gateway: Gateway, log: Requests) -> None:
    story = log.story(asked(gateway.door("globex", mode="test").generate()))
    assert (the(story, "called").values["mode"], the(story, "held").values["lines"]) == ("test", [])
    assert the(story, "settled").at is not None


def test_a_stopped_feature_is_told_as_the_reason(gateway: Gateway, log: Requests) -> None:
    gateway.services.features.kill(doors.BOB, GENERATION, "bad pictures")
    gateway.services.state.refresh()
    story = log.story(asked(gateway.door().generate()))
    decided = the(story, "decided").values
    assert (decided["allowed"], decided["reason"], decided["feature"]) == (False, "killed", GENERATION)


@on_sqlite
def test_an_id_without_a_story_is_not_found_and_says_what_has_one(log: Requests) -> None:
    for known in ("req_0", "gen_0", "anl_0", "hold_0", "fb_0", "img_0"):
        with pytest.raises(NotFound) as error:
            log.story(known)
        assert "Copy the whole id" in error.value.remedy_text
    for strange in ("dec_0", "key_0", "acme", "", "_"):
        with pytest.raises(NotFound) as error:
            log.story(strange)
        assert "req_, gen_, anl_, hold_, fb_, img_" in error.value.remedy_text
