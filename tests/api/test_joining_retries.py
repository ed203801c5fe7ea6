"""Retries that bring no Idempotency-Key: the SDKs send them by themselves, and nothing is made twice for a caller who got nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from gateway import IMAGE_MODEL, LEASE, Door, Gateway, away, events
from werkzeug.test import TestResponse

from rollout.db.engine import Database
from rollout.providers.base import OutcomeUnknown, Refused, Throttled
from rollout.services.joins import RECENT_SECONDS

PATH = "/v1/images/generations"


class Line:
    """A caller's connection, which he may give up."""

    def __init__(self, door: Door) -> None:
        self._near, self._far = socket.socketpair()
        door.called_over(self._near)

    def hang_up(self) -> None:
        self._far.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._near.close()
        self._far.close()


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


@pytest.fixture
def door(gateway: Gateway) -> Door:
    return gateway.door()


@pytest.fixture
def line(door: Door) -> Iterator[Line]:
    with Line(door) as line:
        yield line


def again(gateway: Gateway, door: Door, count: str = "1", **members: Any) -> TestResponse:
    """The SDK's next try, by the same key over another connection."""
    body = {"model": IMAGE_MODEL, "prompt": "a lighthouse", **members}
    return Door(gateway.app.test_client(), door.secret).post(PATH, body, x_stainless_retry_count=count)


def is_joined(answer: TestResponse) -> bool:
    return "Idempotent-Replayed" in answer.headers


def test_who_hung_up_before_the_answer_gets_it_by_trying_again(
    gateway: Gateway, door: Door, line: Line
) -> None:
    gateway.limit("image", "day", 1)  # the retry needs no room of its own
    gateway.vendor.answers = [line.hang_up]

    first, second = door.generate(), again(gateway, door)

    assert (second.status_code, is_joined(second), second.data) == (200, True, first.data)
    for name in ("x-rollout-model", "x-rollout-decision", "x-rollout-feedback"):
        assert second.headers[name] == first.headers[name]
    assert len(gateway.vendor.calls) == 1
    (limit,) = gateway.ledger.limits(gateway.services.state.fresh_facts("acme"))
    assert (limit.used, limit.held) == (1, 0)


def test_an_answer_is_joined_once(gateway: Gateway, door: Door, line: Line) -> None:
    gateway.vendor.answers = [line.hang_up]
    door.generate()

    joined = [is_joined(again(gateway, door, count)) for count in ("1", "2")]

    assert joined == [True, False]
    assert len(gateway.vendor.calls) == 2


def test_an_answer_whose_bytes_did_not_all_leave_is_joined(gateway: Gateway, door: Door) -> None:
    door.generate().close()

    assert is_joined(again(gateway, door))
    assert not is_joined(again(gateway, door))


def test_an_answer_that_was_read_belongs_to_its_caller(gateway: Gateway, door: Door) -> None:
    door.generate().get_data()

    assert not is_joined(again(gateway, door))


def test_a_joined_answer_that_is_lost_too_is_there_for_the_next_try(
    gateway: Gateway, door: Door, line: Line
) -> None:
    gateway.vendor.answers = [line.hang_up]
    door.generate()
    again(gateway, door).close()

    assert is_joined(again(gateway, door, "2"))
    assert len(gateway.vendor.calls) == 1


def test_while_the_first_try_runs_the_next_waits_for_its_answer(
    gateway: Gateway, door: Door, line: Line
) -> None:
    beside = Beside(gateway, lambda: again(gateway, door))
    gateway.vendor.answers = [lambda: (beside.start(), line.hang_up())[1]]

    first = door.generate()

    assert beside.answer().data == first.data
    assert is_joined(beside.answer())
    assert len(gateway.vendor.calls) == 1


def test_a_sibling_whose_caller_is_still_there_keeps_its_picture(
    gateway: Gateway, door: Door, line: Line
) -> None:
    beside = Beside(gateway, lambda: again(gateway, door))
    gateway.vendor.answers = [beside.start]

    door.generate().get_data()

    assert (beside.answer().status_code, is_joined(beside.answer())) == (200, False)
    assert len(gateway.vendor.calls) == 2


def test_when_nobody_knows_what_became_of_the_first_try_there_is_no_second_one(
    gateway: Gateway, door: Door, line: Line
) -> None:
    gateway.vendor.answers = [lambda: (line.hang_up(), fail(OutcomeUnknown("time-out")))]
    door.generate()

    refused = again(gateway, door)

    assert (refused.status_code, refused.json["error"]["code"]) == (504, "outcome_unknown")
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json["error"]["hold_id"] == gateway.the_hold().id
    assert len(gateway.vendor.calls) == 1


def test_a_first_try_that_ends_unknown_while_the_next_waits_is_not_repeated(
    gateway: Gateway, door: Door
) -> None:
    beside = Beside(gateway, lambda: again(gateway, door))
    gateway.vendor.answers = [lambda: (beside.start(), fail(OutcomeUnknown("time-out")))]

    door.generate()

    assert beside.answer().status_code == 504
    assert len(gateway.vendor.calls) == 1


def test_a_first_try_whose_worker_died_is_not_repeated(gateway: Gateway, door: Door) -> None:
    def sweep() -> None:
        gateway.clock.advance(LEASE + 1)
        gateway.ledger.sweep()

    answers: list[TestResponse] = []
    gateway.vendor.answers = [lambda: answers.append(again(gateway, door))]
    gateway.meanwhile = [sweep]

    door.generate()

    assert answers[0].status_code == 504
    assert len(gateway.vendor.calls) == 1


def test_who_was_told_that_the_outcome_is_unknown_may_ask_anew(gateway: Gateway, door: Door) -> None:
    gateway.vendor.answers = [OutcomeUnknown("time-out")]
    door.generate()

    assert again(gateway, door).status_code == 200


def test_a_first_try_that_never_reached_the_vendor_is_made_up_for(
    gateway: Gateway, door: Door, line: Line
) -> None:
    gateway.vendor.answers = [lambda: (line.hang_up(), fail(Throttled()))]
    door.generate()

    answer = again(gateway, door)

    assert (answer.status_code, is_joined(answer)) == (200, False)


def test_a_refusal_that_nobody_heard_is_told_again(gateway: Gateway, door: Door, line: Line) -> None:
    gateway.vendor.answers = [lambda: (line.hang_up(), fail(Refused("violence")))]
    door.generate()

    refused = again(gateway, door)

    assert (refused.status_code, refused.json["error"]["category"]) == (400, "violence")
    assert refused.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.vendor.calls) == 1


def test_a_stream_is_joined_as_a_stream(gateway: Gateway, door: Door, line: Line) -> None:
    gateway.vendor.partials = [1, 2]
    stream = door.generate(stream=True, partial_images=2)
    next(stream.iter_encoded())
    line.hang_up()
    stream.close()

    joined = again(gateway, door, stream=True, partial_images=2)

    assert [name for name, _ in events(joined)] == ["image_generation.completed"]
    assert is_joined(joined)
    assert len(gateway.vendor.calls) == 1


def test_a_stream_that_was_read_to_its_end_belongs_to_its_caller(gateway: Gateway, door: Door) -> None:
    gateway.vendor.partials = [1]
    door.generate(stream=True, partial_images=1).get_data()

    assert not is_joined(again(gateway, door, stream=True, partial_images=1))


@pytest.mark.parametrize("count", ["", "0", "00", "one", "-1", "1.5"])
def test_a_first_try_joins_nothing(gateway: Gateway, door: Door, line: Line, count: str) -> None:
    gateway.vendor.answers = [line.hang_up]
    door.generate()

    assert not is_joined(again(gateway, door, count))


def test_another_request_another_key_and_another_day_join_nothing(
    gateway: Gateway, door: Door, line: Line
) -> None:
    gateway.vendor.answers = [line.hang_up]
    door.generate()

    assert not is_joined(again(gateway, door, prompt="a train"))
    assert not is_joined(again(gateway, gateway.door()))
    gateway.wait(RECENT_SECONDS + 1)
    assert not is_joined(again(gateway, door))


def test_with_an_idempotency_key_the_key_alone_decides(gateway: Gateway, door: Door, line: Line) -> None:
    gateway.vendor.answers = [line.hang_up]
    door.generate()

    other = door.post(
        PATH,
        {"model": IMAGE_MODEL, "prompt": "a lighthouse"},
        Idempotency_Key="k",
        x_stainless_retry_count="1",
    )

    assert not is_joined(other)
    assert len(gateway.vendor.calls) == 2


def test_a_retry_does_not_wait_for_ever(gateway: Gateway, door: Door) -> None:
    answers: list[TestResponse] = []
    gateway.vendor.answers = [lambda: answers.append(again(gateway, door))]
    gateway.meanwhile = [lambda: None] * 1000

    door.generate()

    assert (answers[0].status_code, answers[0].json["error"]["code"]) == (409, "request_in_progress")
    assert answers[0].headers["Retry-After"] == "1"
    assert len(gateway.vendor.calls) == 1


def test_a_retry_that_hung_up_while_it_waited_takes_no_answer_from_the_next(
    gateway: Gateway, door: Door, line: Line
) -> None:
    second = Door(gateway.app.test_client(), door.secret)
    body = {"model": IMAGE_MODEL, "prompt": "a lighthouse"}
    beside = Beside(gateway, lambda: second.post(PATH, body, x_stainless_retry_count="1"))
    with Line(second) as second_line:
        gateway.vendor.answers = [lambda: (beside.start(), line.hang_up())[1]]
        door.generate()
        second_line.hang_up()
        given_up = beside.answer()

    assert given_up.status_code == 409
    assert is_joined(again(gateway, door, "2"))
    assert len(gateway.vendor.calls) == 1


def test_an_answer_is_given_even_if_its_loss_cannot_be_written_down(
    gateway: Gateway, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = door.generate()
    monkeypatch.setattr(gateway.database, "write", away)

    answer.close()

    assert gateway.the_hold().state == "settled"


class Beside:
    """A call made while another one runs: `start` returns once it waits, and it goes on when that one has ended."""

    def __init__(self, gateway: Gateway, call: Callable[[], TestResponse]) -> None:
        self._waits, self._ended = threading.Event(), threading.Event()
        self._answers: list[TestResponse] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(call()), daemon=True)
        gateway.meanwhile = [self._wait]

    def start(self) -> None:
        self._thread.start()
        assert self._waits.wait(10)

    def answer(self) -> TestResponse:
        self._ended.set()
        self._thread.join(10)
        return self._answers[0]

    def _wait(self) -> None:
        self._waits.set()
        assert self._ended.wait(10)


def fail(error: Exception) -> None:
    raise error
