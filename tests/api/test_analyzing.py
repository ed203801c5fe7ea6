"""Analysing pictures at the drop-in door: passed through, open to all, charged, and going on when the books are away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import doors
import orjson
import pytest
import sqlalchemy as sa
import structlog
from clocks import Clock
from gateway import EVENTS, MESSAGE, MESSAGE_MODEL, Gateway, away, events, on_sqlite

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.db.engine import Database
from rollout.db.tables import analysis
from rollout.providers.base import Fault, NotSent, OutcomeUnknown, Rejected, Throttled

COST = 110
"""30 tokens in and 5 out at the prices of claude-sonnet-5-5, in micro-dollars."""


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def test_the_answer_comes_back_byte_for_byte_and_is_charged_by_its_usage(gateway: Gateway) -> None:
    answer = gateway.door().analyze()

    assert (answer.status_code, answer.data) == (200, MESSAGE)
    assert answer.headers["x-rollout-model"] == MESSAGE_MODEL
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    assert "x-rollout-feedback" not in answer.headers
    hold = gateway.the_hold()
    assert (hold.state, hold.feature, hold.cost_usd_micro) == ("settled", ANALYSIS, COST)
    assert hold.result is None
    with gateway.database.read() as tx:
        row = tx.execute(sa.select(analysis)).mappings().one()
    assert (row["hold_id"], row["model"], row["phase"]) == (hold.id, MESSAGE_MODEL, None)


@on_sqlite
def test_members_go_to_the_vendor_as_they_came_in_their_order(gateway: Gateway) -> None:
    body = (
        b'{"max_tokens" : 100, "metadata":{"user_id":  "u"}, "model":"claude-sonnet-5-5",'
        b' "messages":[ {"role":"user", "content":"hi"} ], "temperature":1.0, "model":"claude-haiku-5-5"}'
    )

    gateway.door().post("/v1/messages", body, x_rollout_end_user="rosa")

    assert gateway.vendor.calls[0].body == (
        b'{"max_tokens":100,"metadata":{"user_id":  "u"},"model":"claude-haiku-5-5",'
        b'"messages":[ {"role":"user", "content":"hi"} ],"temperature":1.0}'
    )
    assert gateway.the_hold().model == "claude-haiku-5-5"


@on_sqlite
def test_the_end_user_of_the_header_goes_on_as_a_hash(gateway: Gateway) -> None:
    gateway.door().post(
        "/v1/messages",
        {"model": MESSAGE_MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        x_rollout_end_user="rosa",
    )

    user = orjson.loads(gateway.vendor.calls[0].body)["metadata"]["user_id"]
    assert user
    assert "rosa" not in user


@on_sqlite
def test_the_callers_version_goes_on_with_the_betas_that_are_offered(gateway: Gateway) -> None:
    door = gateway.door()
    body = {"model": MESSAGE_MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

    answer = door.post(
        "/v1/messages",
        body,
        anthropic_version="2026-10-21",
        anthropic_beta="files-api-2025-04-14, structured-outputs-2025-11-13",
    )
    door.post("/v1/messages", body)
    strange = door.post("/v1/messages", body, anthropic_version="1999-01-01")

    sent = [call.headers for call in gateway.vendor.calls]
    assert sent[0] == {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "structured-outputs-2025-11-13",
    }
    assert sent[1] == {"anthropic-version": "2023-06-01"}
    assert "files-api-2025-04-14" in answer.headers["x-rollout-warnings"]
    assert (strange.status_code, strange.json["error"]["details"]["param"]) == (400, "anthropic-version")


def test_generations_plan_quota_and_kill_do_not_concern_it(gateway: Gateway) -> None:
    gateway.limit("image", "day", 0)
    gateway.limit("usd_micro", "life", 0)
    gateway.services.features.kill(doors.ALICE, GENERATION, "incident")
    gateway.services.state.refresh()

    assert gateway.door().analyze().status_code == 200
    assert gateway.door("globex").analyze().status_code == 200


@on_sqlite
def test_its_own_limits_and_kill_do(gateway: Gateway) -> None:
    gateway.limit("request", "minute", 1, ANALYSIS)
    door = gateway.door()

    first, limited = door.analyze(), door.analyze()
    gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")
    gateway.services.state.refresh()
    killed = door.analyze()

    assert first.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert first.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert first.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert (limited.status_code, limited.json["error"]["type"]) == (429, "rate_limit_error")
    assert limited.json["error"]["details"]["error_code"] == "rate_limit_exceeded"
    assert (killed.status_code, killed.json["error"]["details"]["error_code"]) == (403, "feature_killed")


@on_sqlite
@pytest.mark.parametrize(
    ("members", "status", "param"),
    [
        ({"model": "gpt-image-2.5-flare"}, 404, "model"),
        ({"model": ""}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"stream": "yes"}, 400, "stream"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_held(
    gateway: Gateway, members: dict[str, Any], status: int, param: str
) -> None:
    answer = gateway.door().analyze(**members)

    assert (answer.status_code, answer.json["error"]["details"]["param"]) == (status, param)
    assert gateway.holds() == []


@on_sqlite
def test_a_model_that_has_ended_is_answered_for_by_its_successor_and_says_so(gateway: Gateway) -> None:
    retired, deprecated = (
        gateway.door().analyze(model=f"claude-{name}") for name in ("opus-4", "sonnet-4-5")
    )

    assert (retired.status_code, retired.headers["x-rollout-model"]) == (200, "claude-opus-5-5")
    assert "claude-opus-4" in retired.headers["x-rollout-warnings"]
    assert deprecated.status_code == 200
    assert "claude-sonnet-4-5 is deprecated" in deprecated.headers["x-rollout-warnings"]
    assert "30 Nov 2026" in deprecated.headers["Sunset"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_is_answered_with_the_same_bytes_and_charged_once(
    gateway: Gateway, stream: bool
) -> None:
    door = gateway.door()

    first = door.analyze(idem_key="k", stream=stream)
    assert first.data == (EVENTS if stream else MESSAGE)
    again = door.analyze(idem_key="k", stream=stream)
    other = door.analyze(idem_key="k", stream=not stream)

    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["x-rollout-decision"] == first.headers["x-rollout-decision"]
    assert other.status_code == 422
    assert len(gateway.vendor.calls) == 1
    assert gateway.the_hold().cost_usd_micro == COST


@on_sqlite
def test_a_refusal_by_the_model_is_an_answer(gateway: Gateway) -> None:
    refusal = MESSAGE.replace(b"end_turn", b"refusal")
    gateway.vendor.answers = [refusal]

    answer = gateway.door().analyze()

    assert (answer.status_code, answer.data) == (200, refusal)
    assert gateway.the_hold().state == "settled"


@pytest.mark.parametrize(
    ("failure", "status", "kind", "state"),
    [
        (NotSent(), 200, None, "settled"),
        (Throttled(), 529, "overloaded_error", "void"),
        (Rejected("messages.0: bad", param="messages.0"), 400, "invalid_request_error", "void"),
        (Fault("500"), 502, "api_error", "unknown"),
        (OutcomeUnknown("cut"), 504, "api_error", "unknown"),
    ],
)
@on_sqlite
def test_each_failure_of_the_vendor_has_its_answer_and_what_may_be_billed_is_not_tried_again(
    gateway: Gateway, failure: Exception, status: int, kind: str | None, state: str
) -> None:
    gateway.vendor.answers = [failure]

    answer = gateway.door().analyze()

    assert answer.status_code == status
    assert answer.json.get("error", {}).get("type") == kind
    assert answer.headers.get("x-should-retry") == ("false" if state == "unknown" else None)
    assert gateway.the_hold().state == state


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_events_are_passed_on_as_they_come_and_the_last_waits_for_the_settle(gateway: Gateway) -> None:
    answer = gateway.door().analyze(stream=True)

    stream = answer.iter_encoded()
    passed = [next(stream) for _ in range(3)]
    assert gateway.the_hold().state == "dispatched"
    passed.append(next(stream))
    assert gateway.the_hold().state == "settled"
    assert b"".join(passed) == EVENTS
    assert answer.content_type.startswith("text/event-stream")
    assert gateway.the_hold().cost_usd_micro == COST


def test_a_caller_who_hangs_up_changes_nothing(gateway: Gateway) -> None:
    answer = gateway.door().analyze(stream=True)
    next(answer.iter_encoded())

    answer.close()

    assert (gateway.the_hold().state, gateway.the_hold().cost_usd_micro) == ("settled", COST)
    assert gateway.vendor.closed == 1


@on_sqlite
def test_a_stream_that_is_cut_ends_with_the_event_that_the_sdk_raises(gateway: Gateway) -> None:
    head, _, _ = EVENTS.partition(b"event: message_delta")
    gateway.vendor.events = [head, OutcomeUnknown("cut")]

    answer = gateway.door().analyze(stream=True)

    name, data = events(answer)[-1]
    assert (name, data["type"], data["error"]["type"]) == ("error", "error", "api_error")
    assert data["error"]["details"]["hold_id"] == gateway.the_hold().id
    assert gateway.the_hold().state == "unknown"


@on_sqlite
def test_a_stream_that_fails_before_its_first_event_is_an_ordinary_error(gateway: Gateway) -> None:
    gateway.vendor.events = [Throttled()]

    assert gateway.door().analyze(stream=True).status_code == 529


# -- the books away ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_with_the_books_away_a_tenant_in_memory_goes_on_and_the_gap_is_logged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    door, stranger = gateway.door(), gateway.door("globex")
    door.analyze()
    monkeypatch.setattr(gateway.database, "write", away)
    monkeypatch.setattr(gateway.database, "read", away)

    with structlog.testing.capture_logs() as logs:
        known = door.analyze(stream=stream)
        unknown = stranger.analyze()

    assert (known.status_code, known.data) == (200, EVENTS if stream else MESSAGE)
    assert [line["tenant"] for line in logs if line["event"] == "analysis_unbooked"] == ["acme"]
    assert (unknown.status_code, unknown.json["error"]["details"]["error_code"]) == (
        503,
        "ledger_unavailable",
    )


def test_an_answer_that_cannot_be_booked_is_given_all_the_same_and_its_hold_is_swept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = gateway.door()
    gateway.vendor.answers = [lambda: monkeypatch.setattr(gateway.database, "write", away)]

    with structlog.testing.capture_logs() as logs:
        answer = door.analyze()

    assert (answer.status_code, answer.data) == (200, MESSAGE)
    assert "analysis_unbooked" in {line["event"] for line in logs}
    assert gateway.the_hold().state == "dispatched"


# -- counting, test keys, admission ------------------------------------------------------------------------------------


@on_sqlite
def test_counting_tokens_holds_nothing(gateway: Gateway) -> None:
    answer = gateway.door().post(
        "/v1/messages/count_tokens",
        {"model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "hi"}]},
    )

    assert (answer.status_code, answer.json) == (200, {"input_tokens": 30})
    assert gateway.holds() == []


@on_sqlite
def test_a_test_key_is_answered_by_the_sandbox_and_rehearses_errors(gateway: Gateway) -> None:
    door = gateway.door(mode="test")

    answer = door.analyze()
    denied = door.analyze(prompt="sandbox:deny=at_capacity hello")

    assert answer.headers["x-rollout-model"] == f"sandbox/{MESSAGE_MODEL}"
    assert answer.headers["x-rollout-mode"] == "test"
    assert (denied.status_code, denied.json["error"]["type"]) == (529, "overloaded_error")
    assert gateway.vendor.calls == []


@on_sqlite
def test_when_all_places_are_taken_the_sdk_is_told_to_come_back(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    gateway = Gateway(database, clock, tmp_path, analysis=1)
    door = gateway.door()

    open_stream = door.analyze(stream=True)
    full = door.analyze()
    generated = door.generate()
    open_stream.close()

    assert (full.status_code, full.json["error"]["details"]["error_code"]) == (529, "at_capacity")
    assert full.headers["Retry-After"] == "1"
    assert generated.status_code == 200
    assert door.analyze().status_code == 200


@on_sqlite
def test_a_key_without_the_scope_analyses_nothing(gateway: Gateway) -> None:
    answer = gateway.door(scopes=("generate",)).analyze()

    assert (answer.status_code, answer.json["error"]["type"]) == (403, "permission_error")
