"""How far a generation has come follows from its hold and its job: whatever moves them, in whatever order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.catalogue import Cost
from rollout.core.generation_jobs import (
    GOING_ON,
    STATUSES,
    Generated,
    GenerationJob,
    check_status,
    failure,
    generation_json,
    next_look,
    problem,
    raised,
    read,
    status_of,
    written,
)
from rollout.core.holds import (
    Actual,
    Dispatch,
    Gates,
    Hold,
    HoldRequest,
    Reconcile,
    Reserve,
    Settle,
    StoredResult,
    Sweep,
    Unknown,
    Void,
    decide,
)
from rollout.core.images import ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.uses import Generation
from rollout.errors import InvalidRequest, OutcomeUnknown, ResultPurged, UpstreamFailed

LEASE, GRACE = 120, 900
JOB = GenerationJob("acme", "gen_1", {})
MADE = StoredResult(200, {}, {"images": []})
REFUSED = StoredResult(400, {}, {"category": "violence"})
ENDED = ("succeeded", "refused", "failed", "cancelled")

MOVES = (
    "dispatch",
    "task",
    "answer",
    "refuse",
    "fail",
    "doubt",
    "sweep",
    "reconcile",
    "by_hand",
    "cancel",
    "wait",
)


class Machine:
    """A job on its hold, moved as its services move them: each by one rule of the ledger."""

    def __init__(self) -> None:
        self.now, self.job, self.hold = 0, JOB, None
        request = HoldRequest(
            "acme", "image-generation", "dec_1", "req_1", "key_1", (), 1, {"usd_micro": 56_000}, "f", None,
            "cometapi", "midjourney", "p", dispatch=False,
        )  # fmt: skip
        self._decide(Reserve("hold_1", request, LEASE))

    @property
    def status(self) -> str:
        return status_of(self.hold, self.job)

    def move(self, name: str) -> None:
        getattr(self, f"_{name}")()

    def _decide(self, operation: Any) -> bool:
        holds = [] if self.hold is None else [self.hold]
        (reply,), rows = decide([operation], {}, Gates(), {}, holds, self.now)
        for moved in (*rows.new_holds, *rows.holds):
            self.hold = moved
        return reply.moved

    def _dispatch(self) -> None:
        if self.hold.state == "held":
            self._decide(Dispatch("acme", "hold_1", "image-generation", LEASE))

    def _task(self) -> None:
        if self.status == "dispatched":
            self.job = replace(self.job, task_id="17", task_at=self.now)

    def _answer(self) -> None:
        if self.hold.state in ("dispatched", "unknown"):
            self._decide(
                Settle("acme", "hold_1", Actual(Cost(56_000, "price_list", "p"), 1), MADE, "key:key_1")
            )

    def _refuse(self) -> None:
        if self.hold.state in ("dispatched", "unknown"):
            self._decide(
                Settle("acme", "hold_1", Actual(Cost(0, "price_list", "p"), 0), REFUSED, "key:key_1")
            )

    def _fail(self) -> None:
        self._decide(Void("acme", "hold_1", "key:key_1", "NotSent"))

    def _doubt(self) -> None:
        self._decide(Unknown("acme", "hold_1", "key:key_1", "OutcomeUnknown", GRACE))

    def _sweep(self) -> None:
        self._decide(Sweep("acme", "hold_1", GRACE))

    def _reconcile(self) -> None:
        self._decide(Reconcile("acme", "hold_1"))

    def _by_hand(self) -> None:
        self._decide(
            Settle("acme", "hold_1", None, None, "user:a@b.c", "the invoice says so", of=("unknown",))
        )

    def _cancel(self) -> None:
        voided = self._decide(Void("acme", "hold_1", "key:key_1", "cancelled", of=("held",)))
        if voided or self.status in GOING_ON:
            self.job = replace(self.job, cancelled_at=self.now)

    def _wait(self) -> None:
        self.now += 100


@given(st.lists(st.sampled_from(MOVES), max_size=30))
def test_what_has_ended_stays_as_it_ended(moves: list[str]) -> None:
    machine = Machine()
    assert machine.status == "queued"
    for move in moves:
        before = machine.status
        machine.move(move)
        assert machine.status in STATUSES
        if before in ENDED:
            assert machine.status == before
        if before != "queued":
            assert machine.status != "queued"
        if machine.status == "succeeded":
            assert machine.hold.result == MADE
        if machine.status == "cancelled" and machine.hold.state == "void":
            assert machine.hold.cost_usd_micro == 0


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        ([], "queued"),
        (["dispatch"], "dispatched"),
        (["dispatch", "task"], "running"),
        (["dispatch", "task", "answer"], "succeeded"),
        (["dispatch", "refuse"], "refused"),
        (["dispatch", "fail"], "failed"),
        (["dispatch", "doubt"], "unknown"),
        (["dispatch", "doubt", "answer"], "succeeded"),
        (["dispatch", "doubt", "by_hand"], "failed"),
        (["dispatch", *["wait"] * 2, "sweep"], "unknown"),
        (["dispatch", *["wait"] * 2, "sweep", *["wait"] * 10, "reconcile"], "failed"),
        ([*["wait"] * 2, "sweep"], "failed"),
        (["cancel"], "cancelled"),
        (["dispatch", "task", "cancel", "answer"], "cancelled"),
        (["dispatch", "answer", "cancel"], "succeeded"),
    ],
)
def test_a_status_follows_from_what_happened(moves: list[str], status: str) -> None:
    machine = Machine()
    for move in moves:
        machine.move(move)
    assert machine.status == status


def test_what_is_withheld_failed_though_it_was_made() -> None:
    machine = Machine()
    for move in ("dispatch", "answer"):
        machine.move(move)
    machine.job = replace(machine.job, error=problem(UpstreamFailed()))
    assert machine.status == "failed"


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_looks_are_never_further_apart_than_ten_seconds_and_their_jitter(elapsed: int, random: float) -> None:
    assert 1 <= next_look(elapsed, random) <= 13


def test_looks_begin_after_two_seconds_and_grow_to_ten() -> None:
    assert [next_look(elapsed, 0.5) for elapsed in (0, 8, 20, 40, 4_000)] == [2, 2, 5, 10, 10]


def test_a_request_comes_back_as_it_was_written() -> None:
    images = (InputImage(b"one", "image/png", 1, 2), InputImage(b"two", "image/jpeg", 3, 4, "b.jpg"))
    request = ImageRequest(
        "edit",
        "a fox",
        "midjourney",
        size="1024x1024",
        images=images,
        mask=images[0],
        warnings=("translated",),
    )
    kept: dict[str, bytes] = {}

    def keep(image: InputImage) -> str:
        kept[image.data.hex()] = image.data
        return image.data.hex()

    stored = written(request, keep)
    assert read(stored, kept.get) == request
    with pytest.raises(ResultPurged):
        read(stored, {}.get)


def generated(hold: Hold, job: GenerationJob | None = JOB) -> Generated:
    made = Generation(
        tenant_id="acme", id="gen_1", hold_id="hold_1", request_id="req_1", decision_id="dec_1", api_key_id="key_1",
        end_user=None, feature="image-generation", phase=None, run=None, vendor="cometapi", model="midjourney",
        requested_model="midjourney", mode="live", created_at=0, operation="generate", prompt="a fox", images_asked=1,
    )  # fmt: skip
    return Generated(made, hold, job)


def test_why_there_is_no_picture_is_told_to_who_waited() -> None:
    machine = Machine()
    for move in ("dispatch", "doubt"):
        machine.move(move)
    kept = problem(OutcomeUnknown(hold_id="hold_1"))
    found = generated(machine.hold, replace(JOB, error=kept))
    assert failure(found) == kept
    error = raised(found, {"x-rollout-model": "midjourney"})
    assert isinstance(error, OutcomeUnknown)
    assert (error.members["hold_id"], error.headers, error.should_retry) == (
        "hold_1",
        {"x-rollout-model": "midjourney"},
        False,
    )


def test_what_may_be_billed_is_never_invited_to_be_repeated() -> None:
    machine = Machine()
    for move in ("dispatch", "doubt"):
        machine.move(move)
    error = raised(generated(machine.hold, replace(JOB, error=problem(UpstreamFailed()))), {})
    assert (error.http_status, error.should_retry) == (502, False)


def test_a_tenant_sees_no_pictures_of_what_was_cancelled() -> None:
    machine = Machine()
    for move in ("dispatch", "task", "cancel", "answer"):
        machine.move(move)
    shown = generation_json(generated(machine.hold, machine.job), lambda image: image.id)
    assert (shown["status"], shown["images"], shown["cost_usd_micro"]) == ("cancelled", [], 56_000)


def test_a_status_that_there_is_not_is_refused_by_name() -> None:
    assert check_status("running") == "running"
    assert check_status(None) is None
    with pytest.raises(InvalidRequest) as refused:
        check_status("done")
    assert refused.value.members["param"] == "status"
