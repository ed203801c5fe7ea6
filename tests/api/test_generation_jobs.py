"""Pictures by jobs: 202, looked at until they are there; and callers of the drop-in route who wait for them."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from doors import ALICE
from gateway import COST, FAILURES, LEASE, PNG, Door, Gateway, away, finished, on_sqlite
from werkzeug.test import TestResponse

from rollout.db.engine import Database
from rollout.jobs import of_ledger
from rollout.providers.base import (
    Fault,
    ImageCall,
    NotSent,
    OutcomeUnknown,
    Progress,
    Refused,
    Rejected,
    Throttled,
)

PATH = "/api/v1/generations"
FAST, TURBO = 56_000, 168_000


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


@pytest.fixture
def door(gateway: Gateway) -> Door:
    return gateway.door()


def queue(door: Door, *, idem_key: str | None = None, **members: Any) -> TestResponse:
    headers = {} if idem_key is None else {"Idempotency_Key": idem_key}
    return door.post(PATH, {"prompt": "a lighthouse", **members}, **headers)


def queued(door: Door, **members: Any) -> str:
    answer = queue(door, **members)
    assert answer.status_code == 202, answer.json
    return str(answer.json["id"])


def shown(door: Door, generation_id: str) -> Any:
    answer = door.get(f"{PATH}/{generation_id}")
    assert answer.status_code == 200, answer.json
    return answer.json


def test_a_picture_is_left_to_a_job_and_looked_at_when_it_is_there(gateway: Gateway, door: Door) -> None:
    answer = queue(door)
    assert answer.status_code == 202
    made = answer.json["id"]
    assert answer.json == {
        "id": made,
        "status": "queued",
        "progress": 0,
        "links": {"self": f"{PATH}/{made}", "events": f"{PATH}/{made}/events"},
    }
    assert answer.headers["Location"] == f"{PATH}/{made}"
    assert answer.headers["x-rollout-model"] == "gpt-image-2.5-flare"
    assert gateway.the_hold().state == "held"
    assert gateway.vendor.calls == []

    assert gateway.work() == ["succeeded"]
    found = shown(door, made)
    (picture,) = found["images"]
    assert (found["status"], found["progress"], found["cost_usd_micro"]) == ("succeeded", 100, COST)
    assert found["usage"]["output_tokens"] == 1056
    assert found["error"] is None
    assert door.get(picture["url"].removeprefix("https://gate.test")).data.startswith(b"\x89PNG")
    assert gateway.ledger.verify() == []


def test_midjourney_is_submitted_once_and_looked_at_until_it_is_done(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Progress(0), Progress(45)]
    made = queued(door, model="midjourney", size="16:9")
    assert gateway.work() == [2]
    assert (shown(door, made)["status"], gateway.the_hold().state) == ("running", "dispatched")
    gateway.wait(2)
    assert gateway.work() == [2]
    gateway.wait(2)
    assert gateway.work() == [2]
    assert shown(door, made)["progress"] == 45
    gateway.wait(2)
    assert gateway.work() == ["succeeded"]
    found = shown(door, made)
    assert (found["status"], found["cost_usd_micro"], found["settled_from"]) == (
        "succeeded",
        FAST,
        "price_list",
    )
    assert gateway.vendor.references == [made]
    assert gateway.vendor.looks == ["task_1"] * 3
    assert gateway.the_hold().upstream_id == "vendor_1"


def test_the_mode_of_midjourney_is_its_quality_and_what_it_costs(gateway: Gateway, door: Door) -> None:
    queued(door, model="midjourney", quality="turbo")
    assert gateway.the_hold().cost_usd_micro == TURBO


def test_looks_become_rarer_as_a_task_takes_longer(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Progress(index) for index in range(20)]
    queued(door, model="midjourney")
    pauses = []
    for _ in range(20):
        (pause,) = gateway.work()
        pauses.append(pause)
        gateway.wait(pause)
    assert (pauses[0], pauses[-1]) == (2, 10)
    assert pauses == sorted(pauses)


@on_sqlite
def test_a_look_that_fails_says_nothing_of_the_task(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [NotSent("away"), Throttled("busy"), OutcomeUnknown("html")]
    made = queued(door, model="midjourney")
    outcomes = []
    for _ in range(4):
        outcomes += gateway.work()
        gateway.wait(10)
    assert outcomes[-1] == "succeeded"
    assert shown(door, made)["cost_usd_micro"] == FAST


@on_sqlite
def test_nobody_waits_for_a_task_for_ever(gateway: Gateway, door: Door) -> None:
    made = queued(door, model="midjourney")
    gateway.work()
    gateway.vendor.seen = [Progress(10)]
    gateway.wait(3_601)
    assert gateway.work() == ["unknown"]
    assert shown(door, made)["error"]["code"] == "outcome_unknown"
    assert gateway.the_hold().upstream_id == "task_1"


def test_a_submit_that_was_not_answered_is_in_doubt_and_never_repeated(gateway: Gateway, door: Door) -> None:
    gateway.vendor.answers = [OutcomeUnknown("cut")]
    made = queued(door, model="midjourney")
    assert gateway.work() == ["unknown"]
    gateway.wait(901)
    gateway.work()
    assert gateway.ledger.reconcile() == 1
    found = shown(door, made)
    assert (found["status"], found["cost_usd_micro"], found["images"]) == ("failed", FAST, [])
    assert "charged" in found["error"]["message"]
    assert len(gateway.vendor.references) == 1


@pytest.mark.parametrize(
    ("answer", "status", "code", "cost"),
    [
        (Refused("violence"), "refused", "content_refused", 0),
        (Rejected("no such parameter", param="prompt"), "failed", "invalid_request", None),
        (Throttled("busy"), "failed", "upstream_unavailable", None),
        (Fault("nonsense"), "unknown", "upstream_unavailable", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@on_sqlite
def test_what_a_vendor_says_of_a_submit_is_the_generations_error(
    gateway: Gateway, door: Door, answer: Exception, status: str, code: str, cost: int | None
) -> None:
    gateway.vendor.answers = [answer]
    made = queued(door, model="midjourney")
    assert gateway.work() == [status]
    found = shown(door, made)
    assert (found["status"], found["error"]["code"], found["cost_usd_micro"]) == (status, code, cost)
    assert gateway.work() == []


@on_sqlite
def test_a_task_that_fails_is_in_doubt(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Fault("FAILURE: out of order", status=500)]
    made = queued(door, model="midjourney")
    gateway.work()
    gateway.wait(2)
    assert gateway.work() == ["unknown"]
    assert shown(door, made)["error"]["code"] == "upstream_unavailable"


def test_a_queue_that_is_long_loses_no_holds(gateway: Gateway, door: Door) -> None:
    made = queued(door)
    for _ in range(5):
        gateway.wait(LEASE - 1)
        gateway.ledger.renew_queued()
        assert gateway.ledger.sweep().voided == 0
    assert gateway.work() == ["succeeded"]
    assert shown(door, made)["status"] == "succeeded"


def test_a_running_task_keeps_its_hold_though_no_process_owns_it(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Progress(10)]
    queued(door, model="midjourney")
    gateway.work()
    gateway.wait(LEASE - 1)
    gateway.ledger.renew_queued()
    gateway.wait(LEASE - 1)
    assert gateway.ledger.sweep().unknown == 0
    gateway.work()
    gateway.wait(10)
    assert gateway.work() == ["succeeded"]


def test_after_a_time_when_nobody_was_there_a_task_is_looked_at_before_anybody_doubts_it(
    gateway: Gateway, door: Door
) -> None:
    made = queued(door, model="midjourney")
    gateway.work()
    gateway.wait(3_000)
    for tick in of_ledger(gateway.ledger):
        tick.work()
    assert gateway.the_hold().state == "dispatched"
    assert gateway.work() == ["succeeded"]
    assert shown(door, made)["cost_usd_micro"] == FAST


def test_a_job_that_finds_its_work_sent_by_a_process_that_died_doubts_it(
    gateway: Gateway, door: Door
) -> None:
    made = queued(door)

    def die() -> None:
        raise KeyboardInterrupt

    gateway.vendor.answers = [die]
    (job,) = gateway.services.jobs.claim({"generation"}, 1)
    stranger = gateway.services.generation_jobs
    hold = gateway.the_hold()
    with gateway.ledger.take_up(hold, ()) as held:
        assert held.dispatch()
        held.let_go()
    gateway.wait(61)
    assert stranger.carry_out(job) == {"status": "unknown"}
    assert gateway.vendor.calls == []
    assert shown(door, made)["status"] == "unknown"


def test_two_workers_with_one_job_dispatch_once(gateway: Gateway, door: Door) -> None:
    queued(door, model="midjourney")
    (job,) = gateway.services.jobs.claim({"generation"}, 1)
    slow = gateway.services.generation_jobs
    again = []

    def meanwhile() -> str:
        again.append(slow.carry_out(job))
        return "task_1"

    gateway.vendor.answers = [meanwhile]
    with pytest.raises(Exception, match="waits"):
        slow.carry_out(job)
    assert len(gateway.vendor.references) == 1
    assert again == [{"status": "unknown"}]


def test_the_same_key_is_the_same_generation(gateway: Gateway, door: Door) -> None:
    first = queued(door, idem_key="k")
    assert queued(door, idem_key="k") == first
    gateway.work()
    again = queue(door, idem_key="k")
    assert (again.json["id"], again.json["status"]) == (first, "succeeded")
    assert len(gateway.holds()) == 1
    other = queue(door, idem_key="k", prompt="another")
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


@on_sqlite
def test_the_gate_the_quota_and_the_fields_refuse_as_on_the_drop_in_route(
    gateway: Gateway, door: Door
) -> None:
    outside = queue(gateway.door("globex"))
    assert (outside.status_code, outside.json["code"]) == (403, "feature_not_enabled")
    assert outside.content_type == "application/problem+json"
    wrong = queue(door, size="1x1")
    assert (wrong.status_code, wrong.json["param"]) == (400, "size")
    stream = queue(door, stream=True)
    assert (stream.status_code, stream.json["param"]) == (400, "stream")
    gateway.limit("image", "day", 1)
    queued(door)
    full = queue(door)
    assert (full.status_code, full.json["code"]) == (429, "insufficient_quota")


@on_sqlite
def test_nothing_is_queued_while_the_books_are_away(
    gateway: Gateway, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", away)
        answer = queue(door)
    assert (answer.status_code, answer.json["code"]) == (503, "ledger_unavailable")
    assert gateway.holds() == []


def test_what_is_cancelled_before_it_is_sent_costs_nothing(gateway: Gateway, door: Door) -> None:
    made = queued(door)
    answer = delete(door, made)
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert gateway.work() == ["cancelled"]
    assert gateway.vendor.calls == []
    assert gateway.the_hold().state == "void"
    assert delete(door, made).json["status"] == "cancelled"


def test_what_is_cancelled_after_it_was_sent_is_charged_and_not_delivered(
    gateway: Gateway, door: Door
) -> None:
    made = queued(door, model="midjourney")
    gateway.work()
    assert delete(door, made).json["status"] == "cancelled"
    gateway.wait(2)
    assert gateway.work() == ["cancelled"]
    found = shown(door, made)
    assert (found["status"], found["images"], found["cost_usd_micro"]) == ("cancelled", [], FAST)


def test_what_has_ended_cannot_be_cancelled(gateway: Gateway, door: Door) -> None:
    made = queued(door)
    gateway.work()
    answer = delete(door, made)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert shown(door, made)["status"] == "succeeded"


@on_sqlite
def test_what_its_caller_waits_for_cannot_be_cancelled(gateway: Gateway, door: Door) -> None:
    door.generate()
    (made,) = door.get(PATH).json["data"]
    assert delete(door, made["id"]).status_code == 409


def test_another_tenants_generation_is_not_there(gateway: Gateway, door: Door) -> None:
    made = queued(door)
    other = gateway.door("globex")
    for answer in (other.get(f"{PATH}/{made}"), other.get(f"{PATH}/{made}/events"), delete(other, made)):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert other.get(PATH).json["data"] == []


def test_generations_are_listed_newest_first_by_status_and_page(gateway: Gateway, door: Door) -> None:
    first = queued(door)
    gateway.work()
    second, third = queued(door), queued(door)
    listed = door.get(f"{PATH}?limit=2").json
    assert [one["id"] for one in listed["data"]] == [third, second]
    rest = door.get(f"{PATH}?limit=2&cursor={listed['next_cursor']}").json
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([first], None)
    assert [one["id"] for one in door.get(f"{PATH}?status=succeeded").json["data"]] == [first]
    wrong = door.get(f"{PATH}?status=done")
    assert (wrong.status_code, wrong.json["param"]) == (400, "status")


def test_generations_of_the_drop_in_route_are_looked_at_too(gateway: Gateway, door: Door) -> None:
    door.generate()
    gateway.vendor.answers = [Refused("violence")]
    door.generate()
    refused, made = door.get(PATH).json["data"]
    assert (made["status"], made["cost_usd_micro"], len(made["images"])) == ("succeeded", COST, 1)
    assert (refused["status"], refused["error"]["category"]) == ("refused", "violence")


def test_a_generation_is_followed_to_its_end(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Progress(40)]
    made = queued(door, model="midjourney")
    followed = door.get(f"{PATH}/{made}/events")
    assert followed.content_type.startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in followed.text.splitlines() if line.startswith("event")]
    assert names[0] == "generation.progress"
    assert names[-1] == "generation.succeeded"
    assert '"progress":40' in followed.text
    assert '"url":"https://gate.test/' in followed.text


def test_the_drop_in_route_waits_for_a_vendor_that_works_by_tasks(gateway: Gateway, door: Door) -> None:
    gateway.vendor.seen = [Progress(40)]
    answer = door.generate(model="midjourney", idem_key="k")
    assert answer.status_code == 200
    assert len(answer.json["data"]) == 1
    assert answer.headers["x-rollout-model"] == "midjourney"
    again = door.generate(model="midjourney", idem_key="k")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.data == answer.data
    assert len(gateway.vendor.references) == 1


def test_who_has_waited_long_enough_is_told_that_it_goes_on(gateway: Gateway, door: Door) -> None:
    gateway.works = False
    answer = door.generate(model="midjourney", idem_key="k")
    assert (answer.status_code, answer.json["error"]["code"]) == (504, "still_running")
    assert answer.headers["x-should-retry"] == "false"
    made = answer.json["error"]["generation"]
    assert door.generate(model="midjourney", idem_key="k").json["error"]["code"] == "request_in_progress"
    gateway.work()
    gateway.wait(10)
    gateway.work()
    assert shown(door, made)["status"] == "succeeded"
    assert door.generate(model="midjourney", idem_key="k").status_code == 200
    assert len(gateway.vendor.references) == 1


@pytest.mark.parametrize(
    ("failed", "status", "code"),
    [
        (Refused("violence"), 400, "content_refused"),
        (Rejected("no parameters", param="prompt"), 400, "invalid_request"),
        (Throttled("busy"), 503, "upstream_unavailable"),
        (OutcomeUnknown("cut"), 504, "outcome_unknown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@on_sqlite
def test_who_waits_is_told_what_a_caller_of_any_vendor_is_told(
    gateway: Gateway, door: Door, failed: Exception, status: int, code: str
) -> None:
    gateway.vendor.answers = [failed]
    answer = door.generate(model="midjourney")
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)


@on_sqlite
def test_what_was_withheld_by_a_stop_is_charged_and_not_shown(gateway: Gateway, door: Door) -> None:
    def stop() -> Any:
        gateway.services.features.kill(ALICE, "image-generation", "stop", in_flight="withhold", wait=0)
        gateway.services.state.refresh()
        return finished()

    gateway.vendor.answers = [stop]
    made = queued(door)
    assert gateway.work() == ["failed"]
    found = shown(door, made)
    assert (found["error"]["code"], found["images"], found["cost_usd_micro"]) == ("feature_killed", [], COST)


@on_sqlite
def test_a_rehearsal_is_made_by_the_sandbox_and_costs_nothing(gateway: Gateway) -> None:
    door = gateway.door(mode="test")
    made = queued(door, model="midjourney")
    for _ in range(4):
        gateway.work()
        gateway.wait(2)
    found = shown(door, made)
    assert (found["status"], found["mode"], found["vendor"]) == ("succeeded", "test", "sandbox")
    assert gateway.vendor.references == []


@on_sqlite
def test_what_was_not_sent_waits_while_its_vendor_is_left_alone(gateway: Gateway, door: Door) -> None:
    made = queued(door, model="midjourney")
    for _ in range(FAILURES):
        with suppress(Fault), gateway.breakers.watching("cometapi"):
            raise Fault("down", status=500)
    (pause,) = gateway.work()
    assert (pause > 0, shown(door, made)["status"], gateway.vendor.references) == (True, "queued", [])
    gateway.wait(3_601)
    gateway.ledger.renew_queued()
    assert gateway.work() == [2]


def test_pictures_to_start_from_wait_with_their_job_and_are_forgotten_after_it(
    gateway: Gateway, door: Door
) -> None:
    form = {"model": "midjourney", "prompt": "a fox", "image": (io.BytesIO(PNG), "fox.png")}
    assert door.edit(form).status_code == 200
    (sent,) = gateway.vendor.calls
    assert isinstance(sent, ImageCall)
    assert [image.data for image in sent.request.images] == [PNG]
    (made,) = door.get(PATH).json["data"]
    assert (made["operation"], len(made["images"])) == ("edit", 1)
    gateway.wait(2 * 86_400 + 1)
    assert gateway.services.images.purge() == 1


def test_webhooks_are_told_by_the_generations_id_whatever_became_of_it(gateway: Gateway, door: Door) -> None:
    gateway.vendor.answers = [None, Refused("violence"), OutcomeUnknown("cut"), Rejected("no")]
    ids = [queued(door) for _ in range(4)]
    gateway.work()
    told = [(event.type, event.data["generation"]) for event in gateway.told]
    assert told == [
        ("generation.succeeded", ids[0]),
        ("generation.refused", ids[1]),
        ("generation.unknown", ids[2]),
        ("generation.failed", ids[3]),
    ]


def test_a_cancel_that_races_the_dispatch_is_either_before_it_or_after_it(
    gateway: Gateway, door: Door
) -> None:
    for _ in range(5):
        made, sent = queued(door), len(gateway.vendor.calls)
        both = [
            threading.Thread(target=gateway.work),
            threading.Thread(target=delete, args=(door, made)),
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(20)
        (hold,) = [hold for hold in gateway.holds() if hold.id == shown(door, made)["hold"]]
        was_sent = len(gateway.vendor.calls) > sent
        assert hold.state == ("settled" if was_sent else "void")
        assert shown(door, made)["status"] in (("succeeded", "cancelled") if was_sent else ("cancelled",))
    assert gateway.ledger.verify() == []


@on_sqlite
def test_a_prompt_is_refined_before_it_is_sent_and_its_picture_judged(gateway: Gateway, door: Door) -> None:
    made = queued(door, rollout={"refine_prompt": True, "evaluate": True})
    assert gateway.work() == ["succeeded"]
    told = shown(door, made)["rollout"]
    assert set(told) == {"refine_prompt", "evaluate"}


def delete(door: Door, generation_id: str) -> TestResponse:
    return door._client.delete(f"{PATH}/{generation_id}", headers=door._headers({}))
