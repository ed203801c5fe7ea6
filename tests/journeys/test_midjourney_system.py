"""Midjourney from the official SDK to the vendor's own wire, over real sockets: a job behind a call that waits."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from clocks import Clock
from gateway import on_sqlite
from sandboxes import picture
from systems import System, system

from rollout.core.guardrails import Wanted
from rollout.core.pictures import media_type_and_size
from rollout.db.engine import Database

pytestmark = on_sqlite

SUBMIT = "/mj-fast/mj/submit/imagine"
FAST = 56_000


@pytest.fixture
def at(database: Database, clock: Clock, tmp_path: Path) -> Iterator[System]:
    settings = {"cometapi_base_url": "{url}", "cometapi_api_key": "k"}
    with system(database, clock, tmp_path, **settings) as running:
        yield running


def submits(at: System) -> list[str]:
    return [path for path in at.paths() if "/submit/" in path]


def test_a_picture_comes_from_one_submit_and_costs_what_its_mode_does(at: System) -> None:
    answer = at.client().images.generate(model="midjourney", prompt="a lighthouse", size="16:9")  # type: ignore[call-overload]
    (made,) = answer.data
    _, width, height = media_type_and_size(base64.b64decode(made.b64_json))
    assert (width, height) == (1456, 816)
    task = at.the_hold().upstream_id
    assert at.paths() == [SUBMIT, *[f"/mj/task/{task}/fetch"] * 3, f"/mj/pictures/{task}"]
    assert (at.the_hold().cost_usd_micro, at.the_hold().settled_from) == (FAST, "price_list")
    assert at.reserved() == FAST


def test_pictures_to_start_from_go_along(at: System) -> None:
    answer = at.client().images.edit(model="midjourney", image=("a.png", picture()), prompt="at night")
    assert len(answer.data or []) == 1
    assert submits(at) == [SUBMIT]


@pytest.mark.parametrize(
    ("how", "point"), [("refuse=violence", "prompt"), ("flagged=output", "output_image")]
)
def test_a_refusal_is_told_once_and_kept_as_an_event(at: System, how: str, point: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        at.client().images.generate(model="midjourney", prompt=f"sandbox:{how} x")
    assert refused.value.code == "content_refused"
    (event,) = at.gateway.services.guardrails.page(Wanted(), cursor=None, limit=9)
    assert (event.point, bool(event.vendor_code)) == (point, True)
    assert submits(at) == [SUBMIT]
    assert (at.the_hold().state, at.the_hold().cost_usd_micro) == ("settled", 0)


@pytest.mark.parametrize(
    ("how", "status", "state"),
    [
        ("error=429", 503, "void"),
        ("error=401", 503, "void"),
        ("error=400", 400, "void"),
        ("error=500", 502, "unknown"),
        ("error=500:FAILURE", 502, "unknown"),
        ("drop", 504, "unknown"),
        ("cut=1", 504, "unknown"),
        ("malformed", 502, "unknown"),
        ("html", 502, "unknown"),
        ("hang", 504, "unknown"),
    ],
)
def test_a_failure_says_what_became_of_the_money_and_is_one_submit(
    at: System, how: str, status: int, state: str
) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        at.client(retries=0 if state == "void" else 2).images.generate(
            model="midjourney", prompt=f"sandbox:{how} x"
        )
    assert failed.value.status_code == status
    assert submits(at) == [SUBMIT]
    assert at.the_hold().state == state


def test_the_sdk_asks_once_for_what_takes_longer_than_a_call_may_wait(at: System) -> None:
    with pytest.raises(openai.InternalServerError) as waited:
        at.client().images.generate(model="midjourney", prompt="sandbox:progress=99 x")
    assert (waited.value.status_code, waited.value.code) == (504, "still_running")
    assert submits(at) == [SUBMIT]
    assert at.the_hold().state == "dispatched"


def test_parameters_in_a_prompt_are_refused_and_nothing_is_sent(at: System) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        at.client().images.generate(model="midjourney", prompt="a fox --turbo")
    assert refused.value.param == "prompt"
    assert at.paths() == []
    assert at.the_hold().state == "void"
