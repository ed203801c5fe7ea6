"""Generating pictures at the drop-in door: what is answered, what is charged, what happens when the vendor fails."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import doors
import pytest
import sqlalchemy as sa
from clocks import Clock
from gateway import B64, COST, GRACE, IMAGE_MODEL, PNG, Gateway, away, events, finished, on_sqlite

from rollout.core.catalogue import Usage
from rollout.core.decisions import GENERATION
from rollout.core.feedback import open_handle
from rollout.core.images import Finished, Picture
from rollout.db.engine import Database
from rollout.db.tables import generation, image
from rollout.providers.base import (
    BadCredential,
    Fault,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def test_a_picture_comes_back_as_the_vendor_made_it_and_is_charged_by_its_usage(gateway: Gateway) -> None:
    answer = gateway.door().generate()

    assert answer.status_code == 200
    assert answer.json["data"] == [{"b64_json": B64.decode()}]
    assert answer.json["created"] == 1_795_348_800
    assert answer.json["usage"] == {
        "input_tokens": 12,
        "output_tokens": 1056,
        "total_tokens": 1068,
        "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
    }
    assert {name: answer.json[name] for name in ("size", "quality", "background", "output_format")} == {
        "size": "1024x1024",
        "quality": "medium",
        "background": "opaque",
        "output_format": "png",
    }
    hold = gateway.the_hold()
    assert (hold.state, hold.cost_usd_micro, hold.settled_from) == ("settled", COST, "usage")
    assert hold.upstream_id == "vendor_1"


def test_the_answer_tells_who_answered_by_which_decision_and_how_to_rate_it(gateway: Gateway) -> None:
    headers = gateway.door().generate().headers

    assert headers["x-rollout-model"] == IMAGE_MODEL
    assert headers["x-rollout-decision"].startswith("dec_")
    assert headers["x-request-id"] == headers["request-id"]
    assert "x-rollout-mode" not in headers
    handle = open_handle(headers["x-rollout-feedback"], doors.SECRET, gateway.clock())
    assert handle.tenant_id == "acme"
    assert handle.generation_id.startswith("gen_")


def test_the_generation_and_its_pictures_are_written_down(gateway: Gateway) -> None:
    door = gateway.door()
    door.post(
        "/v1/images/generations",
        {"model": "gpt-image-1", "prompt": "two lighthouses", "n": 2},
        x_rollout_end_user="rosa",
    )

    with gateway.database.read() as tx:
        made = tx.execute(sa.select(generation)).mappings().one()
        kept = tx.execute(sa.select(image).order_by(image.c.position)).mappings().all()
    hold = gateway.the_hold()
    assert (made["hold_id"], made["decision_id"], made["phase"]) == (
        hold.id,
        hold.decision_id,
        "private_beta",
    )
    assert (made["model"], made["requested_model"], made["vendor"]) == (IMAGE_MODEL, "gpt-image-1", "openai")
    assert (made["prompt"], made["images_asked"], made["end_user"], made["mode"]) == (
        "two lighthouses",
        2,
        "rosa",
        "live",
    )
    assert [(row["generation_id"], row["position"], row["bytes"]) for row in kept] == [
        (made["id"], 0, len(PNG)),
        (made["id"], 1, len(PNG)),
    ]
    assert kept[0]["expires_at"] - kept[0]["created_at"] == 30 * 86_400


@on_sqlite
def test_the_vendor_learns_only_a_hash_of_the_end_user(gateway: Gateway) -> None:
    door = gateway.door()
    door.post("/v1/images/generations", {"prompt": "x"}, x_rollout_end_user="rosa")
    door.generate(safety_identifier="rosa")
    door.generate(user="paul")
    door.generate()

    users = [call.user for call in gateway.vendor.calls]
    assert users[0] == users[1] != users[2]
    assert "rosa" not in str(users[0])
    assert users[3] is None


@on_sqlite
def test_a_request_without_a_model_is_answered_by_the_default_model(gateway: Gateway) -> None:
    answer = gateway.door().post("/v1/images/generations", {"prompt": "a lighthouse"})

    assert answer.headers["x-rollout-model"] == IMAGE_MODEL


@on_sqlite
def test_a_name_in_the_wild_is_answered_with_its_end_and_warnings(gateway: Gateway) -> None:
    answer = gateway.door().generate(model="dall-e-3", quality="hd")

    assert answer.status_code == 200
    assert answer.headers["x-rollout-model"] == "gpt-image-2.5-sunburst"
    assert answer.headers["Deprecation"].startswith("@")
    assert answer.headers["Sunset"].endswith("GMT")
    assert "quality hd was sent as high" in answer.headers["x-rollout-warnings"]
    assert answer.json["data"][0]["url"].startswith("https://gate.test/api/v1/images/img_")


def test_a_tenant_outside_the_beta_is_told_why_before_anything_of_the_model_is_checked(
    gateway: Gateway,
) -> None:
    answer = gateway.door("globex").generate(model="no-such-model")

    assert answer.status_code == 403
    error = answer.json["error"]
    assert (error["code"], error["reason"]) == ("feature_not_enabled", "not_granted")
    assert "access-requests" in error["how_to_enable"]
    assert answer.headers["x-rollout-decision"] == error["decision_id"]
    assert gateway.vendor.calls == []
    assert gateway.holds() == []


@on_sqlite
@pytest.mark.parametrize(
    ("members", "status", "code", "param"),
    [
        ({"model": "no-such-model"}, 404, "model_not_found", "model"),
        ({"model": "claude-sonnet-5-5"}, 404, "model_not_found", "model"),
        ({"model": 7}, 400, "invalid_request", "model"),
        ({"prompt": ""}, 400, "invalid_request", "prompt"),
        ({"n": 0}, 400, "invalid_request", "n"),
        ({"n": 1_000_000}, 400, "invalid_request", "n"),
        ({"size": "7x7"}, 400, "invalid_request", "size"),
        ({"colour": "red"}, 400, "invalid_request", "colour"),
        ({"stream": "yes"}, 400, "invalid_request", "stream"),
        ({"rollout": {"evaluate": "well"}}, 400, "invalid_request", "rollout.evaluate"),
        ({"rollout": {"refine_prompt": 1}}, 400, "invalid_request", "rollout.refine_prompt"),
        ({"rollout": {"dance": True}}, 400, "invalid_request", "rollout.dance"),
        ({"rollout": 7}, 400, "invalid_request", "rollout"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_held(
    gateway: Gateway, members: dict[str, Any], status: int, code: str, param: str
) -> None:
    answer = gateway.door().generate(**members)

    assert answer.status_code == status
    assert (answer.json["error"]["code"], answer.json["error"]["param"]) == (code, param)
    assert gateway.holds() == []


@on_sqlite
def test_extensions_that_are_switched_off_are_taken_out_before_the_vendor_sees_them(gateway: Gateway) -> None:
    answer = gateway.door().generate(rollout={"evaluate": False})

    assert answer.status_code == 200


@on_sqlite
def test_a_key_without_the_scope_generates_nothing(gateway: Gateway) -> None:
    answer = gateway.door(scopes=("analyze",)).generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "permission_denied")


# -- limits ------------------------------------------------------------------------------------------------------------


@on_sqlite
def test_the_headers_tell_what_is_left_of_each_limit(gateway: Gateway) -> None:
    gateway.limit("image", "day", 3)
    gateway.limit("request", "minute", 60)
    gateway.limit("slot", "concurrent", 4)

    headers = gateway.door().generate().headers

    policies, states = headers["RateLimit-Policy"], headers["RateLimit"]
    assert '"image-day";q=3;w=86400;rollout-unit="image"' in policies
    assert '"request-minute";q=60;w=60' in policies
    assert '"concurrent";q=4;qu="concurrent-requests"' in policies
    assert states.startswith('"image-day";r=2;t=')
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_what_does_not_fit_is_refused_with_its_reset_and_the_sdk_is_told_not_to_try_again(
    gateway: Gateway,
) -> None:
    gateway.limit("image", "day", 3)
    door = gateway.door()

    assert door.generate(n=3).status_code == 200
    refused = door.generate()

    assert (refused.status_code, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert refused.json["error"]["resets_at"]
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["RateLimit"].startswith('"image-day";r=0;t=')
    assert refused.headers["RateLimit-Policy"].startswith('"image-day";q=3;')
    assert len(gateway.vendor.calls) == 1


def test_the_dearest_it_may_cost_is_held_while_it_runs_and_the_actual_cost_is_charged(
    gateway: Gateway,
) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    seen: list[int] = []

    def look() -> None:
        (limit,) = gateway.ledger.limits(gateway.services.state.fresh_facts("acme"))
        seen.append(limit.held)

    gateway.vendor.answers = [look]
    gateway.door().generate(quality="high")

    (limit,) = gateway.ledger.limits(gateway.services.state.fresh_facts("acme"))
    assert seen[0] > COST
    assert (limit.used, limit.held) == (COST, 0)
    assert gateway.ledger.verify() == []


@on_sqlite
def test_fewer_pictures_than_asked_are_charged_as_what_came(gateway: Gateway) -> None:
    gateway.limit("image", "day", 10)
    gateway.vendor.answers = [finished(1)]

    answer = gateway.door().generate(n=3)

    assert len(answer.json["data"]) == 1
    (limit,) = gateway.ledger.limits(gateway.services.state.fresh_facts("acme"))
    assert (limit.used, limit.held) == (1, 0)


@on_sqlite
def test_a_vendor_that_tells_no_usage_is_charged_by_the_price_list(gateway: Gateway) -> None:
    gateway.vendor.answers = [finished(1, usage=None)]

    answer = gateway.door().generate()

    assert "usage" not in answer.json
    assert gateway.the_hold().settled_from == "price_list"


# -- the same request twice --------------------------------------------------------------------------------------------


def test_the_same_key_is_answered_with_the_same_picture_and_charged_once(gateway: Gateway) -> None:
    door = gateway.door()

    first = door.generate(idem_key="order-7", n=2)
    again = door.generate(idem_key='"order-7"', n=2)

    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"] == "order-7"
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.data == first.data
    for name in ("x-rollout-model", "x-rollout-decision", "x-rollout-feedback"):
        assert again.headers[name] == first.headers[name]
    assert len(gateway.vendor.calls) == 1
    assert gateway.the_hold().cost_usd_micro == COST


def test_another_key_of_the_tenant_replays_too_and_another_tenant_does_not(gateway: Gateway) -> None:
    gateway.services.grants.add(doors.ALICE, "globex", GENERATION, "test", expires_at=None)
    gateway.services.state.refresh()

    gateway.door().generate(idem_key="order-7")
    rotated = gateway.door().generate(idem_key="order-7")
    stranger = gateway.door("globex").generate(idem_key="order-7")

    assert "Idempotent-Replayed" in rotated.headers
    assert "Idempotent-Replayed" not in stranger.headers


def test_the_order_of_members_makes_no_other_request_and_another_value_does(gateway: Gateway) -> None:
    door = gateway.door()
    door.post("/v1/images/generations", {"prompt": "a", "n": 1}, Idempotency_Key="k")

    same = door.post("/v1/images/generations", {"n": 1, "prompt": "a"}, Idempotency_Key="k")
    other = door.post("/v1/images/generations", {"prompt": "b", "n": 1}, Idempotency_Key="k")

    assert same.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json["error"]["code"]) == (422, "idempotency_key_reused")


def test_while_the_first_is_running_the_same_key_is_asked_to_come_back(gateway: Gateway) -> None:
    door, answers = gateway.door(), []
    gateway.vendor.answers = [lambda: answers.append(door.generate(idem_key="k"))]

    door.generate(idem_key="k")

    assert (answers[0].status_code, answers[0].json["error"]["code"]) == (409, "request_in_progress")
    assert answers[0].headers["Retry-After"] == "1"


def test_a_key_that_was_refused_before_the_vendor_had_the_call_may_be_used_again(gateway: Gateway) -> None:
    door = gateway.door()

    door.generate(idem_key="k", n=99)
    gateway.vendor.answers = [Throttled()]
    assert door.generate(idem_key="k").status_code == 503
    answer = door.generate(idem_key="k")

    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)


@on_sqlite
def test_a_replay_whose_pictures_are_gone_says_so_and_makes_no_new_ones(gateway: Gateway) -> None:
    door = gateway.door()
    door.generate(idem_key="k")
    gateway.lose_pictures()

    answer = door.generate(idem_key="k")

    assert (answer.status_code, answer.json["error"]["code"]) == (410, "result_purged")
    assert len(gateway.vendor.calls) == 1


@on_sqlite
@pytest.mark.parametrize("sent", ["", '""', "a" * 256, "two words", "tab\tbed", "käse"])
def test_a_malformed_idempotency_key_is_named(gateway: Gateway, sent: str) -> None:
    answer = gateway.door().generate(idem_key=sent)

    assert answer.status_code == 400
    assert answer.json["error"]["param"] == "Idempotency-Key"


# -- refusals and failures ---------------------------------------------------------------------------------------------


def test_refused_content_is_settled_at_nothing_and_the_refusal_is_replayed(gateway: Gateway) -> None:
    gateway.limit("image", "day", 1)
    gateway.vendor.answers = [Refused("violence")]
    door = gateway.door()

    first, again = door.generate(idem_key="k"), door.generate(idem_key="k")

    for answer in (first, again):
        assert answer.status_code == 400
        assert (answer.json["error"]["code"], answer.json["error"]["category"]) == (
            "content_refused",
            "violence",
        )
        assert answer.headers["x-rollout-model"] == IMAGE_MODEL
    assert first.json["error"] | {"request_id": ""} == again.json["error"] | {"request_id": ""}
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.vendor.calls) == 1
    assert (gateway.the_hold().state, gateway.the_hold().cost_usd_micro) == ("settled", 0)
    (limit,) = gateway.ledger.limits(gateway.services.state.fresh_facts("acme"))
    assert (limit.used, limit.held) == (0, 0)


@on_sqlite
def test_a_refusal_that_was_billed_is_charged(gateway: Gateway) -> None:
    gateway.vendor.answers = [Refused("sexual", usage=Usage(input=12, output=1056, text_in=12))]

    assert gateway.door().generate().status_code == 400
    assert gateway.the_hold().cost_usd_micro == COST


@on_sqlite
@pytest.mark.parametrize(
    ("failure", "status", "code", "state"),
    [
        (Throttled(retry_after=30), 503, "upstream_unavailable", "void"),
        (OutOfCredit("no money"), 503, "upstream_unavailable", "void"),
        (BadCredential("bad key"), 503, "upstream_unavailable", "void"),
        (Rejected("size must be square", param="size"), 400, "invalid_request", "void"),
        (Rejected("too large", status=413), 413, "payload_too_large", "void"),
        (Retired("gone"), 400, "model_retired", "void"),
        (Fault("500"), 502, "upstream_unavailable", "unknown"),
        (OutcomeUnknown("time-out"), 504, "outcome_unknown", "unknown"),
        (RuntimeError("a bug"), 504, "outcome_unknown", "unknown"),
    ],
)
def test_each_failure_of_the_vendor_has_its_answer_and_its_hold(
    gateway: Gateway, failure: Exception, status: int, code: str, state: str
) -> None:
    gateway.vendor.answers = [failure]

    answer = gateway.door().generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert gateway.the_hold().state == state
    assert answer.headers["x-rollout-decision"] == gateway.the_hold().decision_id
    assert len(gateway.vendor.calls) == 1
    assert answer.headers.get("x-should-retry") == ("false" if status in (502, 504) else None)
    if status in (502, 504):
        assert answer.json["error"]["hold_id"] == gateway.the_hold().id


@on_sqlite
def test_the_vendors_words_about_the_request_are_passed_on_and_those_about_our_account_are_not(
    gateway: Gateway,
) -> None:
    door = gateway.door()
    gateway.vendor.answers = [
        Rejected("size must be square", param="size"),
        BadCredential("key sk-123 is bad"),
    ]

    rejected, credential = door.generate().json["error"], door.generate().json["error"]

    assert (rejected["message"], rejected["param"]) == ("size must be square", "size")
    assert "sk-123" not in str(credential)


@on_sqlite
def test_a_throttled_call_may_come_back_soon_however_long_the_vendor_asks(gateway: Gateway) -> None:
    gateway.vendor.answers = [Throttled(retry_after=300)]

    assert gateway.door().generate().headers["Retry-After"] == "2"


def test_a_call_that_never_left_is_sent_once_more(gateway: Gateway) -> None:
    gateway.vendor.answers = [NotSent()]
    assert gateway.door().generate().status_code == 200

    gateway.vendor.answers = [NotSent(), NotSent()]
    answer = gateway.door().generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (503, "upstream_unavailable")
    assert [hold.state for hold in gateway.holds()] == ["settled", "void"]
    assert len(gateway.vendor.calls) == 4


@on_sqlite
def test_what_is_no_picture_is_a_failure_of_the_vendor(gateway: Gateway) -> None:
    for b64 in (b"not base64!", b"AAAA"):
        gateway.vendor.answers = [Finished((Picture(b64, "image/png"),), None, 0)]
        assert gateway.door().generate().status_code == 502

    assert {hold.state for hold in gateway.holds()} == {"unknown"}


def test_after_an_unknown_outcome_the_same_key_never_makes_a_second_picture(gateway: Gateway) -> None:
    gateway.vendor.answers = [OutcomeUnknown()]
    door = gateway.door()

    door.generate(idem_key="k")
    answer = door.generate(idem_key="k")

    assert (answer.status_code, answer.json["error"]["code"]) == (504, "outcome_unknown")
    assert answer.headers["x-should-retry"] == "false"
    assert len(gateway.vendor.calls) == 1


def test_an_unknown_outcome_is_charged_as_reserved_once_its_grace_is_over(gateway: Gateway) -> None:
    gateway.vendor.answers = [OutcomeUnknown()]
    gateway.door().generate()
    reserved = gateway.the_hold().cost_usd_micro

    gateway.clock.advance(GRACE + 1)
    gateway.ledger.reconcile()

    hold = gateway.the_hold()
    assert (hold.state, hold.settled_from, hold.cost_usd_micro) == ("settled", "estimate", reserved)
    assert gateway.ledger.verify() == []


def test_with_the_books_away_nothing_is_started(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    door = gateway.door()
    door.generate()
    monkeypatch.setattr(gateway.database, "write", away)

    answer = door.generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (503, "ledger_unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert len(gateway.vendor.calls) == 1


def test_a_finished_picture_that_cannot_be_booked_is_not_invited_to_be_made_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = gateway.door()
    gateway.vendor.answers = [lambda: monkeypatch.setattr(gateway.database, "write", away)]

    answer = door.generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (504, "outcome_unknown")
    assert answer.headers["x-should-retry"] == "false"
    assert gateway.the_hold().state == "dispatched"


@on_sqlite
def test_a_full_disk_leaves_the_hold_unknown(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_data: bytes) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gateway.blobs, "put", full)
    answer = gateway.door().generate()

    assert (answer.status_code, answer.json["error"]["code"]) == (504, "outcome_unknown")
    assert gateway.the_hold().state == "unknown"


# -- killed ------------------------------------------------------------------------------------------------------------


def test_a_killed_feature_answers_nobody(gateway: Gateway) -> None:
    gateway.services.features.kill(doors.ALICE, GENERATION, "incident")
    gateway.services.state.refresh()

    for mode in ("live", "test"):
        answer = gateway.door(mode=mode).generate()
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "feature_killed")


@pytest.mark.parametrize(("in_flight", "status"), [("finish", 200), ("withhold", 403)])
def test_a_kill_while_it_runs_charges_it_and_delivers_it_only_if_told_so(
    gateway: Gateway, in_flight: Any, status: int
) -> None:
    def kill() -> None:
        gateway.services.features.kill(doors.ALICE, GENERATION, "incident", in_flight=in_flight)
        gateway.services.state.refresh()

    gateway.vendor.answers = [kill]
    answer = gateway.door().generate()

    assert answer.status_code == status
    assert (gateway.the_hold().state, gateway.the_hold().cost_usd_micro) == ("settled", COST)


# -- test keys ---------------------------------------------------------------------------------------------------------


def test_a_test_key_works_before_the_grant_on_the_sandbox_and_costs_nothing(gateway: Gateway) -> None:
    answer = gateway.door("globex", mode="test").generate(size="1024x1024", quality="low")

    assert answer.status_code == 200
    assert answer.headers["x-rollout-mode"] == "test"
    assert answer.headers["x-rollout-model"] == f"sandbox/{IMAGE_MODEL}"
    assert gateway.vendor.calls == []
    assert gateway.the_hold().lines == ()


@on_sqlite
def test_a_rehearsed_idempotency_key_is_not_replayed_in_earnest(gateway: Gateway) -> None:
    rehearsed = gateway.door("acme", "test").generate(idem_key="order-1")
    earnest = gateway.door("acme").generate(idem_key="order-1")
    assert rehearsed.headers["x-rollout-model"].startswith("sandbox/")
    assert earnest.headers["x-rollout-model"] == IMAGE_MODEL
    assert "Idempotent-Replayed" not in earnest.headers
    assert earnest.headers["Idempotency-Key"] == "order-1"


def test_a_test_key_does_not_touch_the_tenants_limits(gateway: Gateway) -> None:
    gateway.limit("image", "day", 1)
    gateway.door().generate()

    assert gateway.door().generate().status_code == 429
    assert gateway.door(mode="test").generate(quality="low").status_code == 200


@on_sqlite
def test_with_a_test_key_a_prompt_rehearses_any_error_of_the_gate(gateway: Gateway) -> None:
    door = gateway.door(mode="test")

    quota = door.generate(prompt="sandbox:deny=insufficient_quota a cat")
    unknown = door.generate(prompt="sandbox:deny=outcome_unknown")
    typo = door.generate(prompt="sandbox:deny=no_such_code")

    assert (quota.status_code, quota.json["error"]["code"]) == (429, "insufficient_quota")
    assert quota.headers["x-should-retry"] == "false"
    assert unknown.status_code == 504
    assert (typo.status_code, typo.json["error"]["param"]) == (400, "prompt")
    assert "insufficient_quota" in typo.json["error"]["remedy"]
    assert gateway.holds() == []


@on_sqlite
def test_with_a_live_key_such_a_prompt_is_a_prompt(gateway: Gateway) -> None:
    assert gateway.door().generate(prompt="sandbox:deny=insufficient_quota a cat").status_code == 200
    assert len(gateway.vendor.calls) == 1


# -- editing -----------------------------------------------------------------------------------------------------------


def _file(data: bytes = PNG, name: str = "cat.png", kind: str = "image/png") -> Any:
    return (io.BytesIO(data), name, kind)


@on_sqlite
def test_pictures_are_edited_from_one_file_or_several(gateway: Gateway) -> None:
    door = gateway.door()

    one = door.edit({"model": IMAGE_MODEL, "prompt": "a hat", "image": _file()})
    several = door.edit({"model": IMAGE_MODEL, "prompt": "a hat", "n": "2", "image[]": [_file(), _file()]})

    assert (one.status_code, several.status_code) == (200, 200)
    assert [len(call.request.images) for call in gateway.vendor.calls] == [1, 2]
    assert len(several.json["data"]) == 2


@on_sqlite
@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"prompt": "a hat"}, "image"),
        ({"prompt": "a hat", "image": "a string"}, "image"),
        ({"prompt": "a hat", "image": b"GIF8 is no picture"}, "image"),
        ({"prompt": "a hat", "image": PNG, "sound": PNG}, "sound"),
        ({"prompt": "a hat", "image": PNG, "n": "many"}, "n"),
        ({"prompt": "a hat", "image": PNG, "rollout[evaluate]": "well"}, "rollout.evaluate"),
        ({"prompt": "a hat", "image": PNG, "n": ["1", "2"]}, "n"),
    ],
)
def test_a_wrong_part_of_a_form_is_named(gateway: Gateway, form: dict[str, Any], param: str) -> None:
    parts = {name: _file(value) if isinstance(value, bytes) else value for name, value in form.items()}

    answer = gateway.door().edit(parts)

    assert answer.status_code == 400
    assert answer.json["error"]["param"] == param
    assert gateway.holds() == []


@on_sqlite
def test_an_edit_is_replayed_whatever_its_boundary(gateway: Gateway) -> None:
    door = gateway.door()
    form = {"model": IMAGE_MODEL, "prompt": "a hat"}

    door.edit({**form, "image": _file()}, Idempotency_Key="k")
    again = door.edit({**form, "image": _file()}, Idempotency_Key="k")
    other = door.edit({**form, "image": _file(PNG + b"\0")}, Idempotency_Key="k")

    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 422


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_a_stream_gives_partial_pictures_and_the_finished_one_once_it_is_charged(gateway: Gateway) -> None:
    gateway.limit("image", "day", 5)
    gateway.vendor.partials = [1, 2]

    answer = gateway.door().generate(stream=True, partial_images=2)

    assert answer.content_type.startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["x-rollout-model"] == IMAGE_MODEL
    assert '"image-day";r=4' in answer.headers["RateLimit"]
    (first, partial), _, (last, completed) = events(answer)
    assert (first, partial["type"]) == ("image_generation.partial_image",) * 2
    assert (partial["partial_image_index"], partial["b64_json"]) == (0, B64.decode())
    assert (last, completed["type"]) == ("image_generation.completed",) * 2
    assert completed["b64_json"] == B64.decode()
    assert completed["usage"]["output_tokens"] == 1056
    assert gateway.the_hold().state == "settled"


@on_sqlite
def test_an_edit_streams_under_its_own_names(gateway: Gateway) -> None:
    answer = gateway.door().edit({"prompt": "a hat", "image": _file(), "stream": "true"})

    assert [name for name, _ in events(answer)] == ["image_edit.completed"]


def test_what_fails_before_the_first_event_is_an_ordinary_error(gateway: Gateway) -> None:
    door = gateway.door()

    gateway.vendor.answers = [Throttled()]
    assert door.generate(stream=True).status_code == 503
    gateway.vendor.partials = [OutcomeUnknown("cut")]
    cut = door.generate(stream=True)
    gateway.vendor.answers, gateway.vendor.partials = [Refused("hate")], []
    refused = door.generate(stream=True, idem_key="k")

    assert (cut.status_code, cut.headers["x-should-retry"]) == (504, "false")
    assert (refused.status_code, refused.json["error"]["category"]) == (400, "hate")
    assert [hold.state for hold in gateway.holds()] == ["void", "unknown", "settled"]


def test_a_stream_that_is_cut_later_ends_with_an_error_event(gateway: Gateway) -> None:
    gateway.vendor.partials = [1, OutcomeUnknown("cut")]

    answer = gateway.door().generate(stream=True, partial_images=1)

    assert answer.status_code == 200
    assert [name for name, _ in events(answer)] == ["image_generation.partial_image", "error"]
    error = events(answer)[1][1]["error"]
    assert (error["code"], error["hold_id"]) == ("outcome_unknown", gateway.the_hold().id)
    assert gateway.the_hold().state == "unknown"


@on_sqlite
def test_the_finished_picture_is_not_sent_when_it_could_not_be_charged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.vendor.partials = [1]
    gateway.vendor.answers = [lambda: monkeypatch.setattr(gateway.database, "write", away)]

    answer = gateway.door().generate(stream=True, partial_images=1)

    assert [name for name, _ in events(answer)] == ["image_generation.partial_image", "error"]


def test_a_caller_who_hangs_up_changes_nothing_the_work_is_settled_and_kept(gateway: Gateway) -> None:
    gateway.vendor.partials = [1, 2, 3]
    door = gateway.door()

    answer = door.generate(stream=True, partial_images=3, idem_key="k")
    stream = answer.iter_encoded()
    next(stream)
    assert gateway.the_hold().state == "dispatched"
    answer.close()

    assert gateway.the_hold().state == "settled"
    assert gateway.vendor.closed == 1
    replayed = door.generate(stream=True, partial_images=3, idem_key="k")
    assert [name for name, _ in events(replayed)] == ["image_generation.completed"]
    assert replayed.headers["Idempotent-Replayed"] == "true"


@on_sqlite
def test_a_failure_after_the_caller_hung_up_leaves_the_hold_unknown(gateway: Gateway) -> None:
    gateway.vendor.partials = [1, OutcomeUnknown("cut")]

    answer = gateway.door().generate(stream=True, partial_images=1)
    next(answer.iter_encoded())
    answer.close()

    assert gateway.the_hold().state == "unknown"


# -- admission ---------------------------------------------------------------------------------------------------------


@on_sqlite
def test_when_all_places_are_taken_nothing_is_held_and_the_caller_may_come_back(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    gateway = Gateway(database, clock, tmp_path, generation=1)
    door, answers = gateway.door(), []
    gateway.vendor.answers = [lambda: answers.append(door.generate())]

    assert door.generate().status_code == 200

    assert (answers[0].status_code, answers[0].json["error"]["code"]) == (503, "at_capacity")
    assert answers[0].headers["Retry-After"] == "1"
    assert len(gateway.holds()) == 1
    assert door.generate().status_code == 200


@on_sqlite
def test_a_stream_keeps_its_place_until_it_is_closed_and_analysis_has_its_own(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    gateway = Gateway(database, clock, tmp_path, generation=1)
    gateway.vendor.partials = [1]
    door = gateway.door()

    open_stream = door.generate(stream=True, partial_images=1)
    assert door.generate().status_code == 503
    assert door.analyze().status_code == 200
    open_stream.close()

    assert door.generate().status_code == 200


@on_sqlite
def test_every_way_out_gives_the_place_back(database: Database, clock: Clock, tmp_path: Path) -> None:
    gateway = Gateway(database, clock, tmp_path, generation=1)
    door = gateway.door()
    gateway.vendor.partials = [1, RuntimeError("a bug")]
    gateway.vendor.answers = [None, OutcomeUnknown(), RuntimeError("a bug")]

    door.generate(stream=True, partial_images=1).get_data()
    door.generate()
    door.generate()
    door.generate(n=99)
    gateway.door("globex").generate()
    door.post("/v1/images/generations", b"{")

    gateway.vendor.partials = []
    assert door.generate().status_code == 200


def test_many_at_once_get_exactly_what_fits(database: Database, clock: Clock, tmp_path: Path) -> None:
    gateway = Gateway(database, clock, tmp_path, generation=20)
    gateway.limit("image", "day", 3)
    door, statuses = gateway.door(), []
    threads = [
        threading.Thread(target=lambda: statuses.append(door.generate().status_code)) for _ in range(10)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] * 3 + [429] * 7
    assert len(gateway.vendor.calls) == 3
    assert gateway.ledger.verify() == []
