"""A vendor's refusal leaves one guardrail event, whatever was refused, however often the call is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from gateway import RETENTION_DAYS, Gateway, on_sqlite

from rollout.core.catalogue import Usage
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.guardrails import GuardrailEvent, Wanted
from rollout.db import generations
from rollout.db.engine import Database
from rollout.errors import InvalidRequest
from rollout.providers.base import Fault, Refused
from rollout.services import guardrails

REFUSAL = (
    b'{"type":"message","content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber"},'
    b'"usage":{"input_tokens":30,"output_tokens":1}}'
)


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def page(gateway: Gateway, **wanted: Any) -> list[GuardrailEvent]:
    found: list[GuardrailEvent] = gateway.services.guardrails.page(Wanted(**wanted), cursor=None, limit=100)
    return found


def test_a_refused_generation_leaves_one_event_and_its_replay_none(gateway: Gateway) -> None:
    gateway.vendor.answers = [Refused("violence", vendor_code="violence/graphic")]
    door = gateway.door()
    for _ in range(2):
        assert door.generate(idem_key="k", user="ann").json["error"]["category"] == "violence"

    (event,) = page(gateway)
    hold = gateway.the_hold()
    with gateway.database.read() as tx:
        made = generations.of_hold(tx, "acme", hold.id)
    assert made is not None
    assert event == GuardrailEvent(
        tenant_id="acme",
        id=f"grd_{hold.id.removeprefix('hold_')}",
        hold_id=hold.id,
        use_id=made.id,
        end_user="ann",
        feature=GENERATION,
        phase="private_beta",
        run=made.run,
        point="prompt",
        source="openai",
        category="violence",
        action="refuse",
        score=None,
        vendor_code="violence/graphic",
        at=int(gateway.clock()),
    )


@on_sqlite
def test_a_refused_picture_is_charged_and_not_delivered(gateway: Gateway) -> None:
    usage = Usage(input=12, output=1056, text_in=12)
    gateway.vendor.answers = [Refused("sexual", usage=usage, point="output_image")]

    answer = gateway.door().generate(stream=True)

    assert b"content_refused" in answer.data
    (event,) = page(gateway)
    assert (event.point, event.category) == ("output_image", "sexual")
    assert gateway.the_hold().cost_usd_micro > 0


def test_a_message_that_is_a_refusal_stays_an_answer_and_leaves_one_event(gateway: Gateway) -> None:
    gateway.vendor.answers = [REFUSAL]
    door = gateway.door()
    first, again = door.analyze(idem_key="k"), door.analyze(idem_key="k")

    assert (first.status_code, first.data) == (200, REFUSAL)
    assert again.data == REFUSAL
    (event,) = page(gateway)
    assert (event.feature, event.category, event.vendor_code) == (ANALYSIS, "cyber", "cyber")
    assert (event.point, event.source) == ("prompt", "anthropic")


@on_sqlite
def test_a_stream_that_ends_as_a_refusal_leaves_one_event(gateway: Gateway) -> None:
    gateway.vendor.events = [
        b'event: message_start\ndata: {"type":"message_start","message":{"type":"message","usage":{"input_tokens":30}}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"First, "}}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":'
        b'{"type":"refusal","category":"general_harms"}},"usage":{"output_tokens":9}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ]
    assert gateway.door().analyze(stream=True).status_code == 200

    (event,) = page(gateway)
    assert (event.category, event.point, event.vendor_code) == ("policy", "output_text", "general_harms")


@on_sqlite
def test_what_ends_well_or_fails_leaves_no_event(gateway: Gateway) -> None:
    gateway.vendor.answers = [None, Fault("500")]
    door = gateway.door()
    door.generate()
    door.generate()
    door.analyze()

    assert page(gateway) == []


def test_events_are_listed_by_what_they_say_and_page_by_page(gateway: Gateway) -> None:
    gateway.vendor.answers = [Refused("violence"), Refused("hate"), REFUSAL]
    door = gateway.door()
    door.generate()
    gateway.wait(10)
    door.generate()
    gateway.wait(10)
    door.analyze()

    def categories(**wanted: Any) -> list[str]:
        return [event.category for event in page(gateway, **wanted)]

    assert categories() == ["cyber", "hate", "violence"]
    assert categories(source="openai") == ["hate", "violence"]
    assert categories(feature=ANALYSIS) == ["cyber"]
    assert categories(category="hate") == ["hate"]
    assert categories(tenant="globex") == []
    assert categories(since=int(gateway.clock()) - 10) == ["cyber", "hate"]
    first, second = gateway.services.guardrails.page(Wanted(), cursor=None, limit=2)
    (third,) = gateway.services.guardrails.page(Wanted(), cursor=second.id, limit=2)
    assert [first.category, second.category, third.category] == ["cyber", "hate", "violence"]
    with pytest.raises(InvalidRequest) as refused:
        Wanted(category="spam")
    assert refused.value.members["param"] == "category"


def test_events_are_kept_as_long_as_pictures(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardrails, "FORGOTTEN_AT_ONCE", 1)
    gateway.vendor.answers = [Refused("violence"), Refused("hate"), Refused("bio")]
    door = gateway.door()
    door.generate()
    door.generate()
    gateway.clock.advance(RETENTION_DAYS * 86_400)
    gateway.services.state.refresh()
    door.generate()
    gateway.services.guardrails.forget()
    assert [event.category for event in page(gateway)] == ["bio", "hate", "violence"]
    gateway.clock.advance(1)
    gateway.services.guardrails.forget()

    assert [event.category for event in page(gateway)] == ["bio"]
