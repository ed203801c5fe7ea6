"""Claude in the loop of a generation: it rewrites the prompt, it judges the picture, and neither can fail the generation."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import doors
import msgspec
import pytest
from clocks import Clock
from gateway import B64, COST, IMAGE_MODEL, PNG, Gateway, events, finished, on_sqlite
from werkzeug.test import TestResponse

from rollout.core.catalogue import Catalogue
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.guardrails import Wanted
from rollout.core.holds import Hold
from rollout.core.prices import maximum_image_cost
from rollout.db import analyses, generations
from rollout.db.engine import Database
from rollout.providers.base import (
    Fault,
    MessageCall,
    NotSent,
    OutcomeUnknown,
    Progress,
    Rejected,
    Throttled,
)
from rollout.services import asking
from rollout.services.refine import MAX_BYTES

REFINE, EVALUATE = {"rollout": {"refine_prompt": True}}, {"rollout": {"evaluate": True}}
BETTER = "a lighthouse at dusk, wide angle"
JUDGED = {
    "shows_what_was_asked": {"score": 0.9, "reasons": ["a lighthouse"]},
    "text_rendered_right": {"score": 1.0, "reasons": ["no text was asked for"]},
    "free_of_defects": {"score": 0.4, "reasons": ["the lamp is broken"]},
}


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def said(answer: Any, stop_reason: str = "end_turn", **members: Any) -> bytes:
    """A message with that JSON as its text."""
    text = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    message = {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": stop_reason}
    return msgspec.json.encode({**message, "usage": {"input_tokens": 300, "output_tokens": 50}, **members})


def holds(gateway: Gateway, feature: str) -> list[Hold]:
    return [hold for hold in gateway.holds() if hold.feature == feature]


def questions(gateway: Gateway) -> list[dict[str, Any]]:
    """The bodies of what Claude was asked."""
    return [msgspec.json.decode(call.body) for call in gateway.vendor.calls if isinstance(call, MessageCall)]


def in_no_time(gateway: Gateway, service: str) -> None:
    asker = getattr(gateway.services.generate, service)
    asker._question = replace(asker._question, seconds=0.01)


def let_judges_finish() -> None:
    for thread in threading.enumerate():
        if thread.name in ("evaluation", "question"):
            thread.join()


def alike(answer: TestResponse) -> Any:
    """What an answer says besides its extensions."""
    return {name: value for name, value in answer.json.items() if name != "rollout"}


FAILURES = [
    (Throttled(), "upstream_unavailable"),
    (Fault("500"), "upstream_unavailable"),
    (OutcomeUnknown("cut"), "outcome_unknown"),
    (Rejected("no schema"), "invalid_request"),
    (said("{}", "refusal", stop_details={"type": "refusal", "category": "cyber"}), "content_refused"),
    (said('{"prompt": "a light', "max_tokens"), "unreadable"),
    (said("no JSON"), "unreadable"),
    (said({"prompt": 7, "free_of_defects": {"score": 2, "reasons": []}}), "unreadable"),
    (b'{"type":"message","content":["no block"],"stop_reason":"end_turn"}', "failed"),
    (RuntimeError("a bug"), "outcome_unknown"),
]
"""How the vendor answers a question, and why it is skipped then."""


# -- refining ----------------------------------------------------------------------------------------------------------


def test_a_prompt_is_rewritten_before_the_vendor_sees_it(gateway: Gateway) -> None:
    gateway.vendor.answers = [said({"prompt": f" {BETTER}\n"})]

    answer = gateway.door().generate(**REFINE)

    assert answer.json["data"] == [{"b64_json": B64.decode(), "revised_prompt": BETTER}]
    assert answer.json["rollout"] == {"refine_prompt": {"prompt": BETTER, "model": "claude-sonnet-5-5"}}
    asked, made = gateway.vendor.calls
    assert made.request.prompt == BETTER
    (question,) = questions(gateway)
    assert question["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "<draft>a lighthouse</draft>"}]}
    ]
    assert question["output_config"]["format"]["type"] == "json_schema"
    assert asked.headers == {"anthropic-version": "2026-10-21"}


def test_a_question_has_its_own_hold_and_use_and_the_generation_keeps_the_prompt_as_asked(
    gateway: Gateway,
) -> None:
    gateway.vendor.answers = [said({"prompt": BETTER})]

    gateway.door().generate(**REFINE)

    (made,), (asked,) = holds(gateway, GENERATION), holds(gateway, ANALYSIS)
    assert (made.state, made.cost_usd_micro) == ("settled", COST)
    assert (asked.state, asked.settled_from, asked.cost_usd_micro) == ("settled", "usage", 1_100)
    assert asked.request_id == f"{made.request_id}.refine"
    with gateway.database.read() as tx:
        assert generations.of_hold(tx, "acme", made.id).prompt == "a lighthouse"  # type: ignore[union-attr]
        assert analyses.of_hold(tx, "acme", asked.id).model == "claude-sonnet-5-5"  # type: ignore[union-attr]


@on_sqlite
@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_failing_question_leaves_the_prompt_as_it_was(gateway: Gateway, failure: Any, reason: str) -> None:
    door = gateway.door()
    plain = alike(door.generate())
    gateway.vendor.answers = [failure]

    answer = door.generate(**REFINE)

    assert (answer.status_code, alike(answer)) == (200, plain)
    assert answer.json["rollout"] == {"refine_prompt": {"skipped": reason}}
    assert gateway.vendor.calls[-1].request.prompt == "a lighthouse"
    assert len(questions(gateway)) == 1


@on_sqlite
def test_an_empty_and_an_endless_prompt_are_not_taken(gateway: Gateway) -> None:
    prompts = ["  ", "a\0b", "x" * (MAX_BYTES + 1)]
    gateway.vendor.answers = [answer for prompt in prompts for answer in (said({"prompt": prompt}), None)]
    door = gateway.door()

    told = [door.generate(**REFINE).json["rollout"]["refine_prompt"]["skipped"] for _ in prompts]

    assert told == ["unreadable", "unreadable", "too_long"]


@on_sqlite
def test_a_question_that_could_not_be_sent_is_sent_once_more(gateway: Gateway) -> None:
    gateway.vendor.answers = [NotSent("refused"), said({"prompt": BETTER})]

    assert gateway.door().generate(**REFINE).json["rollout"]["refine_prompt"]["prompt"] == BETTER


def test_a_late_question_is_not_waited_for_and_charged_what_it_cost(gateway: Gateway) -> None:
    answered = threading.Event()
    gateway.vendor.answers = [lambda: answered.wait(30) and said({"prompt": BETTER})]
    in_no_time(gateway, "_refine")

    answer = gateway.door().generate(**REFINE)

    assert (answer.status_code, answer.json["rollout"]) == (200, {"refine_prompt": {"skipped": "late"}})
    (asked,) = holds(gateway, ANALYSIS)
    assert asked.state == "dispatched"
    answered.set()
    let_judges_finish()
    (asked,) = holds(gateway, ANALYSIS)
    assert (asked.state, asked.cost_usd_micro) == ("settled", 1_100)
    assert len(questions(gateway)) == 1


@on_sqlite
def test_a_question_over_quota_out_of_scope_or_without_a_place_is_not_asked(gateway: Gateway) -> None:
    def skipped(**door: Any) -> str:
        answer = gateway.door(**door).generate(**REFINE)
        assert answer.status_code == 200
        reason: str = answer.json["rollout"]["refine_prompt"]["skipped"]
        return reason

    assert skipped(scopes=("generate",)) == "permission_denied"
    taken = [gateway.places.take("analysis") for _ in range(4)]
    assert skipped() == "at_capacity"
    for place in taken:
        place.leave()
    gateway.limit("request", "day", 1, feature=ANALYSIS)
    gateway.vendor.answers = [said({"prompt": BETTER})]
    assert gateway.door().generate(**REFINE).json["rollout"]["refine_prompt"]["prompt"] == BETTER
    assert skipped() == "insufficient_quota"
    assert len(questions(gateway)) == 1


@on_sqlite
def test_a_question_is_not_asked_while_analysis_is_switched_off(gateway: Gateway) -> None:
    gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")

    answer = gateway.door().generate(**REFINE)

    assert (answer.status_code, answer.json["rollout"]) == (
        200,
        {"refine_prompt": {"skipped": "feature_killed"}},
    )


def test_a_repeated_call_is_answered_with_the_prompt_of_the_first(gateway: Gateway) -> None:
    gateway.vendor.answers = [said({"prompt": BETTER})]
    door = gateway.door()

    first, again = door.generate(idem_key="k", **REFINE), door.generate(idem_key="k", **REFINE)

    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json
    assert len(gateway.vendor.calls) == 2


@on_sqlite
def test_a_model_that_answers_in_the_place_of_another_gets_the_same_prompt(gateway: Gateway) -> None:
    seed = gateway.services.state.catalogue()
    rows = [
        replace(row, fallbacks=("gpt-image-2",)) if row.name == IMAGE_MODEL else row for row in seed.models
    ]
    gateway.services.generate._routing._catalogue = lambda: Catalogue(rows, seed.aliases)
    gateway.vendor.answers = [said({"prompt": BETTER}), Throttled()]

    answer = gateway.door().generate(**REFINE)

    assert answer.headers["x-rollout-model"] == "gpt-image-2"
    assert answer.json["data"][0]["revised_prompt"] == BETTER
    assert [call.request.prompt for call in gateway.vendor.calls[1:]] == [BETTER, BETTER]
    assert len(questions(gateway)) == 1


@on_sqlite
def test_what_the_limits_refuse_is_not_rewritten(gateway: Gateway) -> None:
    gateway.limit("image", "day", 1)
    gateway.vendor.answers = [said({"prompt": BETTER})]
    door = gateway.door()
    door.generate(**REFINE)

    assert door.generate(**REFINE).status_code == 429
    assert len(questions(gateway)) == 1


def test_a_stop_while_the_prompt_is_rewritten_sends_nothing(gateway: Gateway) -> None:
    def stop() -> bytes:
        gateway.services.features.kill(doors.ALICE, GENERATION, "incident")
        return said({"prompt": BETTER})

    gateway.vendor.answers = [stop]

    answer = gateway.door().generate(**REFINE)

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "feature_killed")
    (made,) = holds(gateway, GENERATION)
    assert (made.state, len(gateway.vendor.calls)) == ("void", 1)


@on_sqlite
def test_the_longest_prompt_that_may_come_of_it_is_reserved_for(gateway: Gateway) -> None:
    gateway.limit("usd_micro", "day", 10_000_000)
    reserved = []

    def look() -> bytes:
        reserved.extend(
            line.amount for line in holds(gateway, GENERATION)[0].lines if line.unit == "usd_micro"
        )
        return said({"prompt": "x" * MAX_BYTES})

    gateway.vendor.answers = [look]

    gateway.door().generate(**REFINE)

    call = gateway.vendor.calls[-1]
    assert reserved == [maximum_image_cost(call.model, call.request).usd_micro]
    assert len(call.request.prompt) == MAX_BYTES


@on_sqlite
def test_a_refusal_by_claude_leaves_one_event_of_its_own(gateway: Gateway) -> None:
    gateway.vendor.answers = [said("", "refusal", stop_details={"type": "refusal", "category": "bio"})]

    gateway.door().generate(**REFINE)

    (event,) = gateway.services.guardrails.page(Wanted(), cursor=None, limit=10)
    assert (event.feature, event.category, event.source) == (ANALYSIS, "bio", "anthropic")


# -- judging -----------------------------------------------------------------------------------------------------------


def test_a_picture_is_judged_and_the_scores_are_told_and_kept(gateway: Gateway) -> None:
    gateway.vendor.answers = [None, said(JUDGED)]

    answer = gateway.door().generate(**EVALUATE)

    told = {"model": "claude-sonnet-5-5", "score": 0.4, "criteria": JUDGED}
    assert answer.json["rollout"] == {"evaluate": told}
    (image,) = answer.json["data"]
    assert image == {"b64_json": B64.decode()}
    (question,) = questions(gateway)
    text, picture = question["messages"][0]["content"]
    assert text == {"type": "text", "text": "<asked>a lighthouse</asked>"}
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": B64.decode()}
    (made,), (asked,) = holds(gateway, GENERATION), holds(gateway, ANALYSIS)
    assert (asked.state, asked.request_id) == ("settled", f"{made.request_id}.evaluate")
    with gateway.database.read() as tx:
        generation = generations.of_hold(tx, "acme", made.id)
    assert generation is not None
    assert gateway.services.evaluate.found("acme", generation.id) == told


def test_a_repeated_call_is_answered_with_the_scores_of_the_first(gateway: Gateway) -> None:
    gateway.vendor.answers = [None, said(JUDGED)]
    door = gateway.door()

    first, again = door.generate(idem_key="k", **EVALUATE), door.generate(idem_key="k", **EVALUATE)

    assert again.json == first.json
    assert len(gateway.vendor.calls) == 2


@on_sqlite
@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_failing_judge_changes_nothing_but_his_own_words(
    gateway: Gateway, failure: Any, reason: str
) -> None:
    door = gateway.door()
    plain = alike(door.generate())
    gateway.vendor.answers = [None, failure]

    first = door.generate(idem_key="k", **EVALUATE)
    again = door.generate(idem_key="k", **EVALUATE)

    assert (first.status_code, alike(first)) == (200, plain)
    assert first.json["rollout"] == again.json["rollout"] == {"evaluate": {"skipped": reason}}
    assert len(questions(gateway)) == 1


@on_sqlite
def test_a_late_judge_is_told_as_late_for_good(gateway: Gateway) -> None:
    answered = threading.Event()
    gateway.vendor.answers = [None, lambda: answered.wait(30) and said(JUDGED)]
    in_no_time(gateway, "_evaluate")
    door = gateway.door()

    first = door.generate(idem_key="k", **EVALUATE)
    answered.set()
    let_judges_finish()

    assert first.json["rollout"] == {"evaluate": {"skipped": "late"}}
    assert door.generate(idem_key="k", **EVALUATE).json["rollout"] == first.json["rollout"]
    (asked,) = holds(gateway, ANALYSIS)
    assert (asked.state, asked.cost_usd_micro) == ("settled", 1_100)


@on_sqlite
def test_a_judge_who_died_is_told_as_unfinished(gateway: Gateway) -> None:
    door = gateway.door()
    gateway.services.generate._evaluate._kept = lambda found: found
    door.generate(idem_key="k", **EVALUATE)

    assert door.generate(idem_key="k", **EVALUATE).json["rollout"] == {"evaluate": {"skipped": "unfinished"}}


@on_sqlite
def test_a_stream_carries_no_event_of_ours_and_is_judged_all_the_same(gateway: Gateway) -> None:
    gateway.vendor.answers = [finished(1), said(JUDGED)]

    answer = gateway.door().generate(stream=True, **EVALUATE)
    names = [name for name, _ in events(answer)]
    let_judges_finish()

    assert names == ["image_generation.completed"]
    with gateway.database.read() as tx:
        generation = generations.of_hold(tx, "acme", holds(gateway, GENERATION)[0].id)
    assert generation is not None
    assert gateway.services.evaluate.found("acme", generation.id)["score"] == 0.4


@on_sqlite
def test_pictures_that_no_message_can_hold_are_not_judged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_BODY_BYTES", 1_000)

    answer = gateway.door().generate(**EVALUATE)

    assert answer.json["rollout"] == {"evaluate": {"skipped": "payload_too_large"}}
    assert questions(gateway) == []


@on_sqlite
def test_a_form_asks_for_both_and_several_pictures_are_judged_at_once(gateway: Gateway) -> None:
    gateway.vendor.answers = [said({"prompt": BETTER}), None, said(JUDGED)]
    form = {
        "prompt": "a hat",
        "n": "2",
        "image": (io.BytesIO(PNG), "a.png"),
        "rollout[evaluate]": "true",
        "rollout[refine_prompt]": "true",
    }

    answer = gateway.door().edit(form)

    assert [image["revised_prompt"] for image in answer.json["data"]] == [BETTER, BETTER]
    assert set(answer.json["rollout"]) == {"refine_prompt", "evaluate"}
    (_, judged) = questions(gateway)
    text, *pictures = judged["messages"][0]["content"]
    assert text["text"] == "<asked>a hat</asked>"
    assert len(pictures) == 2


@on_sqlite
def test_what_is_refused_is_not_judged(gateway: Gateway) -> None:
    gateway.vendor.answers = [Fault("500")]

    assert gateway.door().generate(**EVALUATE).status_code == 502
    assert questions(gateway) == []


# -- test keys ---------------------------------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    ("steering", "refined", "evaluated"),
    [
        ("", None, None),
        ("judge=error:529", None, "upstream_unavailable"),
        ("refine=refuse:violence", "content_refused", None),
        ("refine=malformed", "upstream_unavailable", None),
        ("refine=drop,judge=hang", "outcome_unknown", "outcome_unknown"),
    ],
)
def test_a_test_key_is_answered_by_the_sandbox_which_the_prompt_steers(
    gateway: Gateway, steering: str, refined: str | None, evaluated: str | None
) -> None:
    prompt = f"sandbox:{steering} a fox"

    answer = gateway.door(mode="test").generate(
        prompt=prompt, rollout={"refine_prompt": True, "evaluate": True}
    )

    assert answer.status_code == 200
    told = answer.json["rollout"]
    assert told["refine_prompt"].get("skipped") == refined
    assert told["evaluate"].get("skipped") == evaluated
    if refined is None:
        assert told["refine_prompt"]["prompt"] == f"{prompt}, in more words (SANDBOX)"
    if evaluated is None:
        assert told["evaluate"]["score"] == 0.9
    assert gateway.vendor.calls == []


@on_sqlite
def test_the_sandbox_scores_as_it_is_told(gateway: Gateway) -> None:
    answer = gateway.door(mode="test").generate(prompt="sandbox:judge=score:0.2 a fox", **EVALUATE)

    assert answer.json["rollout"]["evaluate"]["score"] == 0.2


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_a_job_refines_once_and_judges_what_came_of_it(gateway: Gateway) -> None:
    gateway.vendor.seen = [Progress(10)]
    gateway.vendor.answers = [said({"prompt": BETTER}), None, said(JUDGED)]
    door = gateway.door()
    body = {
        "model": "midjourney",
        "prompt": "a lighthouse",
        "rollout": {"refine_prompt": True, "evaluate": True},
    }
    made = door.post("/api/v1/generations", body).json["id"]

    assert gateway.work() == [2]
    gateway.wait(2)
    assert gateway.work() == [2]
    gateway.wait(2)
    assert gateway.work() == ["succeeded"]

    told = door.get(f"/api/v1/generations/{made}").json["rollout"]
    assert told == {
        "refine_prompt": {"prompt": BETTER, "model": "claude-sonnet-5-5"},
        "evaluate": {"model": "claude-sonnet-5-5", "score": 0.4, "criteria": JUDGED},
    }
    (_, judged) = questions(gateway)
    assert judged["messages"][0]["content"][0]["text"] == "<asked>a lighthouse</asked>"
    assert [hold.state for hold in gateway.holds()] == ["settled"] * 3


@on_sqlite
def test_who_waits_for_a_job_waits_for_its_judge(gateway: Gateway) -> None:
    judge = gateway.services.evaluate
    left: list[Any] = []
    judged, judge.judged = judge.judged, lambda *asked: left.append(asked)
    judge._sleep = lambda _: judged(*left.pop())
    gateway.vendor.answers = [None, said(JUDGED)]

    answer = gateway.door().generate(model="midjourney", size="auto", **EVALUATE)

    assert answer.status_code == 200
    assert answer.json["rollout"]["evaluate"]["score"] == 0.4
