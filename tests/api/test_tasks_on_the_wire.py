"""Named tasks through the adapter and real sockets: each body as the vendor's published contract has it, and its failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from clocks import Clock
from gateway import MESSAGE_MODEL, OneVendor, Vendor
from lines import line
from sandboxes import Served, serve_sandbox
from tasking import Tasking, ask, encoded, label_png

from rollout.core.catalogue import Model
from rollout.core.tasks import TASKS
from rollout.db.engine import Database
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import Messages
from rollout.services.tasks import load

PICTURE = encoded(label_png("Brand: Northlight", "Oat drink"))
MORE: dict[str, dict[str, Any]] = {
    "answer_chart": {"question": "Which year was best?"},
    "match_product": {"products": [{"id": "A", "name": "Oat drink"}]},
}


class OneWire(OneVendor):
    """Messages go to this address, whoever asks."""

    def __init__(self, port: Messages, clock: Clock) -> None:
        super().__init__(Vendor(), clock)
        self._port = port

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]:
        return model.vendor, self._port


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path, served: Served) -> Iterator[Tasking]:
    port = AnthropicMessages("any", served.url, line())
    served.sandbox.requests.clear()
    yield Tasking(database, clock, tmp_path, OneWire(port, clock))
    port.close()


def arrived(served: Served) -> list[tuple[str, dict[str, str], Any]]:
    return [(path, headers, orjson.loads(body)) for path, headers, body in served.sandbox.requests]


@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_one_request_of_the_published_shape(gateway: Tasking, served: Served, task: str) -> None:
    answer = ask(gateway.door(), task, images=[{"data": PICTURE}], **MORE.get(task, {}))

    assert answer.status_code == 200, answer.data
    ((path, headers, body),) = arrived(served)
    assert path == "/v1/messages"
    assert headers["authorization"] == "Bearer any"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["content-type"] == "application/json"
    assert set(body) == {"model", "max_tokens", "system", "messages", "output_config"}
    assert (body["model"], body["max_tokens"]) == (MESSAGE_MODEL, load(task).max_tokens)
    (message,) = body["messages"]
    image, *texts = message["content"]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": PICTURE}
    assert {text["type"] for text in texts} <= {"text"}
    assert set(body["output_config"]) == {"format"}
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert "$" not in str(body["output_config"]["format"]["schema"])


@pytest.mark.parametrize(
    ("steering", "status", "code", "state"),
    [
        ("error=429", 503, "upstream_unavailable", "void"),
        ("error=529", 503, "upstream_unavailable", "void"),
        ("error=500", 502, "upstream_unavailable", "unknown"),
        ("error=401", 503, "upstream_unavailable", "void"),
        ("retired", 400, "model_retired", "void"),
        ("drop", 504, "outcome_unknown", "unknown"),
        ("cut=1", 504, "outcome_unknown", "unknown"),
        ("malformed", 502, "upstream_unavailable", "unknown"),
        ("html", 502, "upstream_unavailable", "unknown"),
        ("refuse=bio", 400, "content_refused", "settled"),
        ("nousage", 200, None, "settled"),
    ],
)
def test_what_goes_wrong_there_is_told_here_and_asked_once(
    gateway: Tasking, served: Served, steering: str, status: int, code: str | None, state: str
) -> None:
    answer = ask(gateway.door(), question=f"sandbox:{steering} what is it?")

    assert (answer.status_code, answer.json.get("code")) == (status, code), answer.data
    assert gateway.the_hold().state == state
    assert len(served.sandbox.requests) == 1


def test_a_budget_arrives_as_an_effort(gateway: Tasking, served: Served) -> None:
    thinking = {"type": "enabled", "budget_tokens": 30_000}

    answer = ask(gateway.door(), images=[{"data": PICTURE}], options={"thinking": thinking})

    ((_, _, body),) = arrived(served)
    assert answer.status_code == 200, answer.data
    assert (body["thinking"], body["output_config"]["effort"]) == ({"type": "adaptive"}, "xhigh")
    assert body["max_tokens"] == load("describe").max_tokens + 30_000


def test_a_stored_table_is_asked_for_in_two_requests(gateway: Tasking, served: Served) -> None:
    door = gateway.door()
    door.send(
        "PUT", "/api/v1/product-tables/shelf", b"id,name\nA,Oat drink\nB,Milk\n", content_type="text/csv"
    )

    answer = ask(door, "match_product", images=[{"data": PICTURE}], product_table="shelf")

    assert answer.json["result"]["best"] == "A"
    reading, matching = (body for _, _, body in arrived(served))
    assert "read" in reading["system"].lower()
    assert [block["type"] for block in reading["messages"][0]["content"]] == ["image"]
    assert matching["messages"][0]["content"][1]["text"] == 'Products:\n[{"id":"A","name":"Oat drink"}]'


@pytest.mark.parametrize("schema", ["object", {"type": "thing"}, {"type": "object", "properties": ["a"]}])
def test_in_messages_a_schema_that_is_none_is_the_vendors_to_refuse(gateway: Tasking, schema: Any) -> None:
    answer = gateway.door().analyze(output_config={"format": {"type": "json_schema", "schema": schema}})

    assert answer.status_code == 400
    assert answer.json["error"]["details"]["param"] == "output_config.format.schema"
    assert gateway.the_hold().state == "void"


def test_a_stream_tells_what_became_of_a_budget(gateway: Tasking, served: Served) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2_000}

    answer = gateway.door().analyze(stream=True, max_tokens=4_000, thinking=thinking)

    assert answer.headers["x-rollout-thinking"] == "adaptive; effort=medium; cap=2000"
    assert b"thinking_delta" in answer.data
    ((_, _, body),) = arrived(served)
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "medium"})
