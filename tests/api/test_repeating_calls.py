"""What becomes of the same Idempotency-Key sent twice: each row for JSON, forms and streams, for pictures and for messages."""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import doors
import pybase64
import pytest
from clocks import Clock
from gateway import COST, IMAGE_MODEL, PNG, USAGE, Door, Gateway, on_sqlite
from werkzeug.test import TestResponse

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.images import Finished, Picture
from rollout.db.engine import Database
from rollout.providers.base import NotSent, OutcomeUnknown, Refused, Rejected, Throttled

Send = Callable[..., TestResponse]
"""(door, key, text, **members): one call."""


def generate(door: Door, key: str, text: str, **members: Any) -> TestResponse:
    return door.generate(idem_key=key, prompt=text, **members)


def edit(door: Door, key: str, text: str, picture: bytes = PNG, **members: Any) -> TestResponse:
    fields = {name: str(value).lower() for name, value in members.items()}
    image = (io.BytesIO(picture), "in.png", "image/png")
    return door.edit({"model": IMAGE_MODEL, "prompt": text, **fields, "image": image}, Idempotency_Key=key)


def analyze(door: Door, key: str, text: str, **members: Any) -> TestResponse:
    return door.analyze(idem_key=key, prompt=text, **members)


def streaming(send: Send) -> Send:
    def read(*call: Any, **members: Any) -> TestResponse:
        answer = send(*call, stream=True, **members)
        answer.get_data()
        return answer

    return read


COSTS = (COST, 110)
"""Of one picture, and of one message."""

PICTURES = {
    "a picture": generate,
    "an edit": edit,
    "a picture's stream": streaming(generate),
    "an edit's stream": streaming(edit),
}
MESSAGES = {"a message": analyze, "a message's stream": streaming(analyze)}

of_each_kind = pytest.mark.parametrize(
    "send", [*PICTURES.values(), *MESSAGES.values()], ids=[*PICTURES, *MESSAGES]
)
of_pictures = pytest.mark.parametrize("send", PICTURES.values(), ids=[*PICTURES])


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def code(answer: TestResponse) -> str:
    """The error's code on either surface."""
    error = answer.json["error"]
    return str(error.get("details", {}).get("error_code") or error["code"])


def detail(answer: TestResponse, name: str) -> Any:
    error = answer.json["error"]
    return (error.get("details") or error)[name]


def is_replayed(answer: TestResponse) -> bool:
    return "Idempotent-Replayed" in answer.headers


@of_each_kind
def test_the_first_call_runs_and_the_next_gets_its_status_type_and_bytes(
    gateway: Gateway, send: Send
) -> None:
    door = gateway.door()

    first, *repeats = [send(door, "k", "a boat") for _ in range(3)]

    assert first.status_code == 200
    assert (first.headers["Idempotency-Key"], is_replayed(first)) == ("k", False)
    for again in repeats:
        assert (again.status_code, again.content_type, again.data) == (200, first.content_type, first.data)
        assert (again.headers["Idempotency-Key"], again.headers["Idempotent-Replayed"]) == ("k", "true")
        assert again.headers["x-rollout-decision"] == first.headers["x-rollout-decision"]
    assert len(gateway.vendor.calls) == 1
    assert gateway.the_hold().cost_usd_micro in COSTS


@of_each_kind
def test_a_repeat_needs_no_room_in_any_limit(gateway: Gateway, send: Send) -> None:
    feature = ANALYSIS if send in MESSAGES.values() else GENERATION
    door = gateway.door()
    gateway.limit("request", "minute", 1, feature)
    first = send(door, "k", "a boat").data
    assert send(door, "another", "a train").status_code == 429

    assert send(door, "k", "a boat").data == first


@of_each_kind
def test_another_request_with_the_key_is_refused_and_the_first_is_still_there(
    gateway: Gateway, send: Send
) -> None:
    door = gateway.door()
    first = send(door, "k", "a boat").data

    other = send(door, "k", "a train")

    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert detail(other, "param") == "Idempotency-Key"
    assert send(door, "k", "a boat").data == first
    assert len(gateway.vendor.calls) == 1


@on_sqlite
def test_a_stream_is_another_request_than_the_same_without_it(gateway: Gateway) -> None:
    door = gateway.door()
    generate(door, "k", "a boat")

    assert streaming(generate)(door, "k", "a boat").status_code == 422


@on_sqlite
def test_another_picture_in_a_form_is_another_request_and_another_filename_is_not(gateway: Gateway) -> None:
    door = gateway.door()
    fields = {"model": IMAGE_MODEL, "prompt": "a hat"}
    edit(door, "k", "a hat")

    renamed = door.edit({**fields, "image": (io.BytesIO(PNG), "b.png", "image/png")}, Idempotency_Key="k")

    assert is_replayed(renamed)
    assert edit(door, "k", "a hat", PNG + b"\0").status_code == 422


@of_each_kind
def test_while_the_first_runs_the_next_is_asked_to_come_back(gateway: Gateway, send: Send) -> None:
    door, meanwhile = gateway.door(), list[TestResponse]()
    gateway.vendor.answers = [lambda: meanwhile.append(send(door, "k", "a boat"))]

    send(door, "k", "a boat")

    (conflict,) = meanwhile
    assert (conflict.status_code, code(conflict)) == (409, "request_in_progress")
    assert conflict.headers["Retry-After"] == "1"
    assert "x-should-retry" not in conflict.headers
    assert len(gateway.vendor.calls) == 1


@of_each_kind
def test_what_ended_before_the_vendor_did_anything_leaves_the_key_unused(
    gateway: Gateway, send: Send
) -> None:
    feature = ANALYSIS if send in MESSAGES.values() else GENERATION
    door, features = gateway.door(), gateway.services.features
    gateway.limit("request", "minute", 4, feature)

    def status(by: Door = door, **members: Any) -> int:
        return send(by, "k", "a boat", **members).status_code

    stranger = Door(gateway.app.test_client(), "rk_live_" + "x" * 40)
    assert [status(stranger), status(gateway.door(scopes=("read",)))] == [401, 403]
    assert status(model="no-such-model") == 404
    gateway.vendor.answers = [Rejected("not so", param="prompt"), Throttled(), NotSent(), NotSent()]
    assert [status(), status(), status()] == [400, *[529 if feature == ANALYSIS else 503] * 2]
    send(door, "another", "a train")
    assert status() == 429
    gateway.wait(61)
    features.kill(doors.ALICE, feature, "incident")
    gateway.services.state.refresh()
    assert status() == 403
    features.revive(doors.ALICE, feature, "over")
    gateway.services.state.refresh()
    before = len(gateway.vendor.calls)

    answer = send(door, "k", "a boat")

    assert (answer.status_code, is_replayed(answer)) == (200, False)
    assert len(gateway.vendor.calls) == before + 1
    assert is_replayed(send(door, "k", "a boat"))


@of_pictures
def test_a_refusal_for_content_is_replayed_and_not_asked_for_again(gateway: Gateway, send: Send) -> None:
    gateway.vendor.answers = [Refused("violence")]
    door = gateway.door()

    first, again = send(door, "k", "a fight"), send(door, "k", "a fight")

    for answer in (first, again):
        assert (answer.status_code, code(answer), detail(answer, "category")) == (
            400,
            "content_refused",
            "violence",
        )
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    assert len(gateway.vendor.calls) == 1


@of_each_kind
def test_an_unknown_outcome_is_never_tried_again_by_the_key(gateway: Gateway, send: Send) -> None:
    gateway.vendor.answers = [OutcomeUnknown("time-out")]
    door = gateway.door()

    statuses = [send(door, "k", "a boat").status_code for _ in range(2)]
    again = send(door, "k", "a boat")

    assert [*statuses, again.status_code] == [504] * 3
    assert (code(again), again.headers["x-should-retry"]) == ("outcome_unknown", "false")
    assert detail(again, "hold_id") == gateway.the_hold().id
    assert len(gateway.vendor.calls) == 1


@of_each_kind
def test_once_it_is_found_that_nothing_was_done_the_key_runs(gateway: Gateway, send: Send) -> None:
    gateway.vendor.answers = [OutcomeUnknown("time-out")]
    door = gateway.door()
    send(door, "k", "a boat")
    gateway.ledger.void_by_hand(doors.ALICE, gateway.the_hold().id, "the vendor's books do not have it")

    answer = send(door, "k", "a boat")

    assert (answer.status_code, is_replayed(answer)) == (200, False)
    assert [hold.state for hold in gateway.holds()] == ["void", "settled"]


@of_each_kind
def test_once_it_is_charged_without_an_answer_the_key_says_so(gateway: Gateway, send: Send) -> None:
    gateway.vendor.answers = [OutcomeUnknown("time-out")]
    door = gateway.door()
    send(door, "k", "a boat")
    gateway.ledger.settle_by_hand(doors.ALICE, gateway.the_hold().id, "the vendor billed it", 5)

    answer = send(door, "k", "a boat")

    assert (answer.status_code, code(answer)) == (410, "result_purged")
    assert detail(answer, "hold_id") == gateway.the_hold().id
    assert len(gateway.vendor.calls) == 1


@of_pictures
def test_pictures_that_are_no_longer_kept_are_named_and_not_made_again(gateway: Gateway, send: Send) -> None:
    door = gateway.door()
    first = send(door, "k", "a boat")
    gateway.lose_pictures()

    answer = send(door, "k", "a boat")

    assert (answer.status_code, code(answer)) == (410, "result_purged")
    assert detail(answer, "generation").startswith("gen_")
    (picture,) = detail(answer, "images")
    assert picture.startswith("img_")
    assert answer.headers["x-rollout-decision"] == first.headers["x-rollout-decision"]
    assert len(gateway.vendor.calls) == 1


@of_pictures
def test_a_large_picture_is_replayed_byte_by_byte(gateway: Gateway, send: Send) -> None:
    text = pybase64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(1_500_000))
    large = Finished((Picture(text, "image/png"),), USAGE, 1, "1024x1024", "medium", "opaque", "png", None)
    gateway.vendor.answers = [large]
    door = gateway.door()

    first, again = send(door, "k", "a boat").data, send(door, "k", "a boat").data

    assert text in first
    assert again == first
    assert len(gateway.vendor.calls) == 1


@on_sqlite
def test_an_answer_by_address_is_replayed_with_the_same_address(gateway: Gateway) -> None:
    door = gateway.door()
    first, again = (generate(door, "k", "a boat", response_format="url") for _ in range(2))

    assert again.json == first.json
    assert first.json["data"][0]["url"].startswith("https://")


@pytest.mark.parametrize("send", [generate, analyze], ids=["a picture", "a message"])
def test_a_hundred_at_once_are_one_call(database: Database, clock: Clock, tmp_path: Path, send: Send) -> None:
    gateway = Gateway(database, clock, tmp_path, generation=100, analysis=100)
    secret, told = gateway.door().secret, threading.Semaphore(0)
    gateway.vendor.answers = [lambda: none_of([told.acquire(timeout=30) for _ in range(20)])]

    def call(_: int) -> tuple[int, bool, bytes]:
        answer = send(Door(gateway.app.test_client(), secret), "k", "a boat")
        told.release()
        return answer.status_code, is_replayed(answer), answer.data

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(call, range(100)))

    kinds = Counter((status, replayed) for status, replayed, _ in answers)
    assert kinds[200, False] == 1
    assert kinds[409, False] >= 20
    assert set(kinds) <= {(200, False), (200, True), (409, False)}
    assert len({data for status, _, data in answers if status == 200}) == 1
    assert len(gateway.vendor.calls) == 1
    assert gateway.the_hold().cost_usd_micro in COSTS
    assert gateway.ledger.verify() == []


def none_of(_: object) -> None:
    """The vendor answers as usual once that is done."""
