"""Another model answers in the place of one that does not: only where nothing was sent or billed, only whom the tenant may use, only
if it can do what was asked, and never in silence."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import doors
import orjson
import pytest
from clocks import Clock
from gateway import IMAGE_MODEL, MESSAGE_MODEL, Gateway, on_sqlite
from sandboxes import seed

from rollout.core.catalogue import Catalogue
from rollout.db.engine import Database
from rollout.providers.base import (
    BadCredential,
    Fault,
    NotBilled,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    Retired,
    Throttled,
)

pytestmark = on_sqlite

SECOND, THIRD = "gemini-nano-banana-2.1", "gpt-image-2"


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    rows = [
        dataclasses.replace(model, fallbacks=(SECOND, THIRD)) if model.name == IMAGE_MODEL else model
        for model in seed().models
    ]
    catalogue = Catalogue(rows, seed().aliases)
    return Gateway(database, clock, tmp_path, catalogue=lambda: catalogue)


def fail(gateway: Gateway, vendor: str = "openai", error: PortError | None = None) -> None:
    """The vendor's breaker opens."""
    for _ in range(3):
        with suppress(PortError), gateway.breakers.watching(vendor):
            raise error or NotSent("refused")


def asked(gateway: Gateway) -> list[str]:
    return [call.model.name for call in gateway.vendor.calls]


def ends(gateway: Gateway) -> list[tuple[str, str]]:
    return [(hold.model, hold.state) for hold in gateway.holds()]


def hold_to(gateway: Gateway, *vendors: str) -> None:
    tenants = gateway.services.tenants
    tenants.change(doors.ALICE, "acme", {"vendors": list(vendors)}, "try")
    gateway.services.state.refresh()


def test_a_vendor_with_an_open_breaker_is_not_asked_and_costs_nothing(gateway: Gateway) -> None:
    fail(gateway)
    answer = gateway.door().generate()
    assert answer.status_code == 200
    assert answer.headers["x-rollout-model"] == SECOND
    assert f"{SECOND} answered in its place" in answer.headers["x-rollout-warnings"]
    assert (asked(gateway), ends(gateway)) == ([SECOND], [(SECOND, "settled")])
    (hold,) = gateway.holds()
    assert (hold.vendor, hold.price_id.partition("/")[0]) == ("gemini", "gemini")


def test_the_caller_may_insist_on_the_model_and_is_told_when_to_come_again(gateway: Gateway) -> None:
    fail(gateway)
    answer = gateway.door().generate(rollout={"fallback": False})
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "upstream_unavailable")
    assert answer.headers["Retry-After"] == "15"
    assert (asked(gateway), gateway.holds()) == ([], [])


def test_an_open_breaker_leaves_rehearsals_and_other_vendors_alone(gateway: Gateway) -> None:
    fail(gateway)
    assert gateway.door(mode="test").generate().headers["x-rollout-model"] == f"sandbox/{IMAGE_MODEL}"
    assert gateway.door().analyze().status_code == 200
    fail(gateway, "anthropic")
    refused = gateway.door().analyze()
    assert (refused.status_code, refused.headers["Retry-After"]) == (529, "15")
    assert len(gateway.holds()) == 2


def test_a_vendor_that_is_switched_off_is_not_asked(gateway: Gateway) -> None:
    gateway.services.vendors.disable(doors.ALICE, "openai", "drill", wait=0)
    gateway.services.state.refresh()
    assert gateway.door().generate().headers["x-rollout-model"] == SECOND
    assert asked(gateway) == [SECOND]


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([NotSent("refused"), NotSent("refused")], [IMAGE_MODEL, IMAGE_MODEL, SECOND]),
        ([Throttled("busy", retry_after=1)], [IMAGE_MODEL, SECOND]),
        ([OutOfCredit("empty")], [IMAGE_MODEL, SECOND]),
        ([BadCredential("no")], [IMAGE_MODEL, SECOND]),
        ([Retired("gone")], [IMAGE_MODEL, SECOND]),
        ([NotBilled("500")], [IMAGE_MODEL, SECOND]),
        ([Throttled("busy"), Throttled("busy too")], [IMAGE_MODEL, SECOND, THIRD]),
    ],
)
def test_after_an_answer_that_nobody_bills_the_next_is_asked_with_a_hold_of_its_own(
    gateway: Gateway, answers: list[PortError], calls: list[str]
) -> None:
    gateway.vendor.answers = [*answers]
    answer = gateway.door().generate(idem_key="k")
    assert (answer.status_code, answer.headers["x-rollout-model"]) == (200, calls[-1])
    assert asked(gateway) == calls
    tried = list(dict.fromkeys(calls))
    assert ends(gateway) == [*((name, "void") for name in tried[:-1]), (tried[-1], "settled")]
    again = gateway.door().generate(idem_key="k")
    assert again.json == answer.json
    assert again.headers["x-rollout-model"] == calls[-1]
    assert asked(gateway) == calls


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutcomeUnknown("timed out"), 504),
        (Fault("status 500", status=500), 502),
        (Fault("a page"), 502),
        (Refused("violence"), 400),
        (Rejected("no such size", param="size"), 400),
    ],
)
def test_nobody_else_is_asked_after_an_unknown_outcome_or_a_refusal(
    gateway: Gateway, error: PortError, status: int
) -> None:
    gateway.vendor.answers = [error]
    assert gateway.door().generate().status_code == status
    assert asked(gateway) == [IMAGE_MODEL]


def test_whom_nobody_can_stand_in_for_is_told_of_as_if_there_were_no_others(gateway: Gateway) -> None:
    gateway.vendor.answers = [Throttled("busy", retry_after=1), OutOfCredit("empty"), NotBilled("500")]
    answer = gateway.door().generate()
    assert answer.json["error"]["message"] == "The vendor is overloaded; nothing was charged."
    assert [state for _, state in ends(gateway)] == ["void"] * 3


def test_a_model_that_cannot_do_what_was_asked_is_passed_over(gateway: Gateway) -> None:
    gateway.vendor.answers = [Throttled("busy")]
    assert gateway.door().generate(output_compression=50, output_format="webp").status_code == 200
    assert asked(gateway) == [IMAGE_MODEL, THIRD]


@pytest.mark.parametrize(("vendors", "second"), [(("openai",), THIRD), (("openai", "gemini"), SECOND)])
def test_nobody_answers_whom_the_tenant_may_not_use(
    gateway: Gateway, vendors: tuple[str, ...], second: str
) -> None:
    hold_to(gateway, *vendors)
    gateway.vendor.answers = [Throttled("busy")]
    assert gateway.door().generate().headers["x-rollout-model"] == second


def test_a_model_that_the_tenant_may_not_use_is_refused_before_any_hold_and_not_listed(
    gateway: Gateway,
) -> None:
    hold_to(gateway, "gemini")
    door = gateway.door()
    for answer in (door.generate(), door.analyze()):
        assert answer.status_code == 403
        assert "it may use models of gemini" in answer.text
    assert (asked(gateway), gateway.holds()) == ([], [])
    listed = {row["id"] for row in door.get("/v1/models").json["data"]}
    assert SECOND in listed
    assert not listed & {IMAGE_MODEL, MESSAGE_MODEL}


def events_of(answer: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line[6:]) for line in answer.data.splitlines() if line.startswith(b"data: ")]


def test_a_stream_names_who_answers_it(gateway: Gateway) -> None:
    gateway.vendor.answers = [Throttled("busy"), None]
    answer = gateway.door().generate(stream=True)
    assert (answer.status_code, answer.headers["x-rollout-model"]) == (200, SECOND)
    assert [event["type"] for event in events_of(answer)] == ["image_generation.completed"]
    assert ends(gateway) == [(IMAGE_MODEL, "void"), (SECOND, "settled")]


def test_a_stream_that_has_begun_stays_with_its_vendor(gateway: Gateway) -> None:
    gateway.vendor.partials = [None, OutOfCredit("empty")]
    answer = gateway.door().generate(stream=True, partial_images=1)
    first, last = events_of(answer)
    assert (first["type"], last["error"]["code"]) == (
        "image_generation.partial_image",
        "upstream_unavailable",
    )
    assert asked(gateway) == [IMAGE_MODEL]


def test_a_job_is_left_to_who_answers_when_it_is_accepted(gateway: Gateway) -> None:
    fail(gateway)
    accepted = gateway.door().post("/api/v1/generations", {"model": IMAGE_MODEL, "prompt": "a lighthouse"})
    assert (accepted.status_code, accepted.headers["x-rollout-model"]) == (202, SECOND)
