"""Each vendor of analyses from the official SDK to the vendor's own wire, over real sockets: answers, refusals, and every way to fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from clocks import Clock
from gateway import on_sqlite
from sandboxes import picture, seed
from systems import System, system

from rollout.core.catalogue import Catalogue
from rollout.core.guardrails import Wanted
from rollout.db.engine import Database

pytestmark = on_sqlite

PNG = base64.b64encode(picture()).decode()


@dataclass(frozen=True)
class Row:
    """A system: its model, what its wire is to be asked for, where, and what is set to reach it."""

    model: str
    upstream_id: str
    path: str
    settings: dict[str, Any]

    @property
    def is_claude(self) -> bool:
        return self.path == "/v1/messages"


SYSTEMS = {
    "claude": Row(
        "claude-sonnet-5-5",
        "claude-sonnet-5-5",
        "/v1/messages",
        {"anthropic_base_url": "{url}", "anthropic_api_key": "k"},
    ),
    "llama 3.2 vision": Row(
        "llama-3.2-vision",
        "meta/llama-3.2-90b",
        "/v1/chat/completions",
        {"llama_base_url": "{url}/v1", "llama_api_key": "k"},
    ),
    "grok vision": Row(
        "grok-vision",
        "grok-4",
        "/xai/v1/chat/completions",
        {"xai_base_url": "{url}/xai/v1", "xai_api_key": "k"},
    ),
}
OTHERS = {
    "cometapi": Row(
        "comet-model",
        "comet-model",
        "/v1/chat/completions",
        {"cometapi_base_url": "{url}", "cometapi_api_key": "k"},
    ),
    "an own endpoint": Row(
        "own-model",
        "own-model",
        "/v1/chat/completions",
        {"compatible_base_url": "{url}/v1", "compatible_api_key": "k"},
    ),
}


"""They speak by the adapter of the former."""

every_system = pytest.mark.parametrize("row", (SYSTEMS | OTHERS).values(), ids=SYSTEMS | OTHERS)


@pytest.fixture(params=SYSTEMS)
def row(request: pytest.FixtureRequest) -> Row:
    return SYSTEMS[request.param]


@pytest.fixture
def at(row: Row, database: Database, clock: Clock, tmp_path: Path) -> Iterator[System]:
    with system(database, clock, tmp_path, catalogue(), upstream_stream_seconds=1, **row.settings) as running:
        yield running


def catalogue() -> Catalogue:
    """The seed, and models that an operator would add."""
    llama = seed().get("llama-3.2-90b-vision")
    own, comet = (
        replace(llama, name=f"{name}-model", upstream_id=f"{name}-model", vendor=vendor)
        for name, vendor in (("own", "compatible"), ("comet", "cometapi"))
    )
    return Catalogue([*seed().models, own, comet], seed().aliases)


def ask(at: System, row: Row, prompt: str = "what is it?", *, retries: int = 2, **members: Any) -> Any:
    """The whole answer, or all events of a stream."""
    asked = {"model": row.model, "max_tokens": 300, "messages": question(row, prompt), **members}
    if row.is_claude:
        secret = at.gateway.door().secret
        claude: Any = anthropic.Anthropic(api_key=secret, base_url=at.url, max_retries=retries)
        answer = claude.messages.create(**asked)
    else:
        gpt: Any = at.client(retries)
        answer = gpt.chat.completions.create(**asked)
    return list(answer) if members.get("stream") else answer


def question(row: Row, prompt: str) -> list[dict[str, Any]]:
    if row.is_claude:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        image: dict[str, Any] = {"type": "image", "source": source}
    else:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    return [{"role": "user", "content": [{"type": "text", "text": prompt}, image]}]


def text_of(row: Row, answer: Any) -> str:
    return str(answer.content[0].text if row.is_claude else answer.choices[0].message.content)


@every_system
def test_a_picture_is_analysed_by_one_call_that_says_what_the_caller_said(at: System, row: Row) -> None:
    answer = ask(at, row, temperature=0.5) if not row.is_claude else ask(at, row)

    assert "PNG, 64x48 pixels" in text_of(row, answer)
    ((path, headers, body),) = at.vendor.sandbox.requests
    assert path == row.path
    assert headers["authorization"] == "Bearer k"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "model": row.upstream_id,
        "max_tokens": 300,
        "messages": question(row, "what is it?"),
        **({} if row.is_claude else {"temperature": 0.5}),
    }
    hold = at.the_hold()
    assert (hold.state, hold.settled_from) == ("settled", "usage")
    assert 0 < hold.cost_usd_micro <= at.reserved()


@every_system
def test_a_stream_is_one_call_that_asks_for_its_usage(at: System, row: Row) -> None:
    events = ask(at, row, stream=True)

    assert len(events) > 3
    ((_, _, body),) = at.vendor.sandbox.requests
    asked = json.loads(body)
    assert asked.pop("stream") is True
    assert asked.pop("stream_options", None) == (None if row.is_claude else {"include_usage": True})
    assert asked == {"model": row.upstream_id, "max_tokens": 300, "messages": question(row, "what is it?")}
    hold = at.the_hold()
    assert (hold.state, hold.settled_from) == ("settled", "usage")
    assert 0 < hold.cost_usd_micro <= at.reserved()


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_stays_the_vendors_answer_and_is_kept_as_one_event(
    at: System, row: Row, stream: bool
) -> None:
    ask(at, row, "sandbox:refuse=cyber x", stream=stream)

    (event,) = at.gateway.services.guardrails.page(Wanted(), cursor=None, limit=9)
    assert (event.category, event.action) == ("cyber" if row.is_claude else "policy", "refuse")
    assert event.vendor_code == ("cyber" if row.is_claude else "refusal")
    assert len(at.paths()) == 1
    assert at.the_hold().state == "settled"


@pytest.mark.parametrize(
    ("how", "status", "state"),
    [
        ("error=429", 503, "void"),
        ("error=401", 503, "void"),
        ("error=400", 400, "void"),
        ("retired", 400, "void"),
        ("error=500", 502, "unknown"),
        ("drop", 504, "unknown"),
        ("malformed", 502, "unknown"),
        ("html", 502, "unknown"),
        ("hang", 504, "unknown"),
    ],
)
def test_a_failure_says_what_became_of_the_money_and_is_one_call(
    at: System, row: Row, how: str, status: int, state: str
) -> None:
    """What may have been billed is not even repeated by an SDK that would. Streams: test_sdk_streams.py."""
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as failed:
        ask(at, row, f"sandbox:{how} x", retries=0 if state == "void" else 2)

    overloaded = row.is_claude and status == 503
    assert failed.value.status_code == (529 if overloaded else status)
    assert len(at.paths()) == 1
    assert at.the_hold().state == state


@pytest.mark.parametrize("how", ["nousage", "cost=90000000"])
def test_usage_that_is_missing_or_absurd_breaks_nothing(at: System, row: Row, how: str) -> None:
    ask(at, row, f"sandbox:{how} x")

    assert at.the_hold().state == "settled"
