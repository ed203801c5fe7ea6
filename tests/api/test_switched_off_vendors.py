"""A vendor that is switched off: its models are not offered, and a call for one is refused before anything is held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import doors
import pytest
from clocks import Clock
from gateway import IMAGE_MODEL, MESSAGE_MODEL, Gateway, on_sqlite

from rollout.db.engine import Database

pytestmark = on_sqlite


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def disable(gateway: Gateway, vendor: str = "openai", in_flight: str = "finish") -> None:
    gateway.services.vendors.disable(doors.BOB, vendor, "wrong pictures", in_flight=in_flight, wait=0)
    gateway.services.state.refresh()


def models(gateway: Gateway) -> set[str]:
    return {model["id"] for model in gateway.door().get("/v1/models").json["data"]}


@pytest.mark.parametrize("mode", ["live", "test"])
def test_a_call_for_its_model_is_refused_before_any_hold_and_says_why(gateway: Gateway, mode: str) -> None:
    disable(gateway)
    answer = gateway.door(mode=mode).generate()
    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "upstream_unavailable"
    assert (
        "The vendor openai, which makes this model, is switched off here" in answer.json["error"]["message"]
    )
    assert (answer.headers["Retry-After"], answer.headers["x-should-retry"]) == ("30", "false")
    assert (gateway.holds(), gateway.vendor.calls) == ([], [])


def test_its_models_are_not_offered_and_others_answer(gateway: Gateway) -> None:
    assert {IMAGE_MODEL, MESSAGE_MODEL} <= models(gateway)
    disable(gateway)
    assert models(gateway)
    assert IMAGE_MODEL not in models(gateway)
    assert gateway.door().get(f"/v1/models/{IMAGE_MODEL}").status_code == 404
    assert gateway.door().analyze().status_code == 200


def test_analysis_stops_only_when_its_own_vendor_is_named(gateway: Gateway) -> None:
    disable(gateway, "anthropic")
    refused = gateway.door().analyze()
    assert (refused.status_code, refused.json["error"]["type"]) == (529, "overloaded_error")
    assert "switched off" in refused.json["error"]["message"]
    assert gateway.door().generate().status_code == 200


def test_a_worker_that_has_not_heard_of_it_is_refused_by_the_ledger(gateway: Gateway) -> None:
    gateway.services.vendors.disable(doors.BOB, "openai", "wrong pictures", wait=0)
    answer = gateway.door().generate()
    assert answer.status_code == 503
    assert "switched off" in answer.json["error"]["message"]
    assert (gateway.holds(), gateway.vendor.calls) == ([], [])


@pytest.mark.parametrize(("in_flight", "status"), [("finish", 200), ("withhold", 403)])
def test_what_the_vendor_already_has_is_charged_and_delivered_or_not(
    gateway: Gateway, in_flight: str, status: int
) -> None:
    meanwhile: Callable[[], None] = lambda: disable(gateway, in_flight=in_flight)  # noqa: E731
    gateway.vendor.answers = [meanwhile]
    assert gateway.door().generate().status_code == status
    assert gateway.the_hold().state == "settled"
    assert gateway.the_hold().cost_usd_micro > 0


def test_it_goes_on_as_soon_as_it_is_switched_on(gateway: Gateway) -> None:
    disable(gateway)
    gateway.services.vendors.enable(doors.ALICE, "openai", "mended", wait=0)
    gateway.services.state.refresh()
    assert IMAGE_MODEL in models(gateway)
    assert gateway.door().generate().status_code == 200
