"""Every key that steers the sandbox, at its door over HTTP, for every wire: a wire joins with a line of WIRES."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sandboxes import Served, seed, serve_sandbox

from rollout.core.catalogue import Catalogue

BEARER = {"authorization": "Bearer any", "content-type": "application/json"}
VERSIONED = {**BEARER, "anthropic-version": "2023-06-01"}
FAILED = (http.client.HTTPException, ConnectionError)


def asked(model: str, **members: Any) -> Callable[[str], Any]:
    return lambda prompt: (
        {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": prompt}]} | members
    )


@dataclass(frozen=True)
class Wire:
    """`body` of a prompt; `stream` is what asks for events; `usage` and `pictures` read what an answer tells, where it does."""

    path: str
    body: Callable[[str], Any]
    headers: dict[str, str]
    stream: dict[str, Any] | None = None
    usage: str | None = "usage"
    pictures: Callable[[Any], int] | None = None
    refuses: Callable[[int, Any], bool] = lambda status, answer: status == 400


def openai_like(path: str, model: str, size: dict[str, Any], **more: Any) -> Wire:
    return Wire(
        path,
        lambda prompt: {"model": model, "prompt": prompt, "n": 2, **size},
        BEARER,
        pictures=lambda answer: len(answer["data"]),
        **more,
    )


WIRES = {
    "openai_images": openai_like(
        "/v1/images/generations", "gpt-image-2", {"size": "64x64"}, stream={"stream": True}
    ),
    "xai": openai_like(
        "/xai/v1/images/generations",
        "grok-imagine-image-2.0",
        {"response_format": "b64_json"},
        refuses=lambda status, answer: "SAFETY_CHECK" in str(answer) or "content moderation" in str(answer),
    ),
    "gemini": Wire(
        "/v1beta/models/gemini-nano-banana-2.1:generateContent",
        lambda prompt: {"contents": [{"role": "user", "parts": [{"text": prompt}]}]},
        BEARER,
        usage="usageMetadata",
        refuses=lambda status, answer: status == 200 and "SAFETY" in str(answer),
    ),
    "nova": Wire(
        "/model/amazon.nova-canvas-v1:0/invoke",
        lambda prompt: {
            "taskType": "TEXT_IMAGE",
            "textToImageParams": {"text": prompt},
            "imageGenerationConfig": {"numberOfImages": 2, "width": 512, "height": 512},
        },
        BEARER,
        usage=None,
        pictures=lambda answer: len(answer["images"]),
        refuses=lambda status, answer: "blocked by our content filters" in str(answer),
    ),
    "midjourney": Wire(
        "/mj-fast/mj/submit/imagine",
        lambda prompt: {"prompt": f"{prompt} --v 7"},
        BEARER,
        usage=None,
        refuses=lambda status, answer: answer["code"] == 24,
    ),
    "anthropic": Wire(
        "/v1/messages",
        asked("claude-sonnet-5-5"),
        VERSIONED,
        stream={"stream": True},
        refuses=lambda status, answer: answer["stop_reason"] == "refusal",
    ),
    "openai_chat": Wire(
        "/v1/chat/completions",
        asked("meta/llama-3.2-90b"),
        BEARER,
        stream={"stream": True},
        refuses=lambda status, answer: "told to refuse" in str(answer) or "content_filter" in str(answer),
    ),
    "moderations": Wire(
        "/v1/moderations",
        lambda prompt: {"model": "omni-moderation-latest", "input": prompt},
        BEARER,
        usage=None,
        refuses=lambda status, answer: answer["results"][0]["flagged"],
    ),
}
FILES = [name for name in WIRES if name not in ("moderations", "midjourney")]
"""Those whose works can be looked up."""


@dataclass
class At:
    wire: Wire
    served: Served
    slept: list[float]

    def post(self, prompt: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection(self.served.url.removeprefix("http://"), timeout=10)
        try:
            line.request("POST", self.wire.path, json.dumps(self.wire.body(prompt) | more), self.wire.headers)
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            line.close()

    def said(self, prompt: str, **more: Any) -> Any:
        return json.loads(self.post(prompt, **more)[2])

    def work(self) -> dict[str, Any]:
        """What became of the latest request's work."""
        line = http.client.HTTPConnection(self.served.url.removeprefix("http://"), timeout=10)
        try:
            line.request("GET", f"/sandbox/works/{self.served.journal()[-1]['id']}")
            found: dict[str, Any] = json.loads(line.getresponse().read())
            return found
        finally:
            line.close()


@pytest.fixture(scope="module")
def slept() -> list[float]:
    return []


@pytest.fixture(scope="module")
def served(slept: list[float]) -> Iterator[Served]:
    living = Catalogue(replace(row, lifecycle="active") for row in seed().models)
    with serve_sandbox(living, sleep=slept.append) as running:
        yield running


def wires(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", names or WIRES, scope="module")


@pytest.fixture
def at(name: str, served: Served, slept: list[float]) -> At:
    slept.clear()
    return At(WIRES[name], served, slept)


@wires()
def test_error(at: At) -> None:
    for status in (429, 500):
        told, _, body = at.post(f"sandbox:error={status}:some_code x")
        is_code = at.wire is WIRES["midjourney"] and status == 429  # its wire says so in the body
        assert told == (200 if is_code else status)
        assert json.loads(body)


@wires()
def test_slow_and_hang(at: At) -> None:
    assert at.post("sandbox:slow=3s x")[0] == 200
    assert 3 in at.slept
    with pytest.raises(FAILED):
        at.post("sandbox:hang x")
    assert 600 in at.slept


@wires()
def test_retired_and_html(at: At) -> None:
    assert at.post("sandbox:retired x")[0] == 404
    status, headers, body = at.post("sandbox:html x")
    assert (status, headers["Content-Type"], body[:9]) == (200, "text/html; charset=utf-8", b"<!doctype")


@wires()
def test_malformed_and_cut(at: At) -> None:
    status, headers, body = at.post("sandbox:malformed x")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(body)
    with pytest.raises(http.client.IncompleteRead):
        at.post("sandbox:cut=0 x")


@wires(*FILES)
def test_what_is_dropped_cut_or_spoiled_was_done_and_what_failed_or_hung_was_not(at: At) -> None:
    for how in ("drop", "cut=0"):
        with pytest.raises(FAILED):
            at.post(f"sandbox:{how} x")
        assert at.work()["state"] == "done"
    at.post("sandbox:malformed x")
    assert at.work()["state"] == "done"
    with pytest.raises(FAILED):
        at.post("sandbox:hang x")
    assert at.work()["state"] == "never_ran"
    at.post("sandbox:error=500 x")
    assert at.work()["state"] == "never_ran"
    at.post("sandbox:takes=30s x")
    assert at.work()["state"] == "still_running"


@wires()
def test_refuse_and_flagged(at: At) -> None:
    for how in ("refuse=violence", "flagged=input", "flagged=output"):
        if at.wire is WIRES["midjourney"] and how == "flagged=output":
            continue  # its task fails later: test_progress
        status, _, body = at.post(f"sandbox:{how} x")
        assert at.wire.refuses(status, json.loads(body)), body[:300]
    assert not at.wire.refuses(*(at.post("a fox")[0], at.said("a fox")))


@wires(*(name for name, wire in WIRES.items() if wire.usage))
def test_nousage(at: At) -> None:
    assert at.said("a fox").get(at.wire.usage)
    assert not at.said("sandbox:nousage x").get(at.wire.usage)


@wires("openai_images", "gemini")
def test_cost(at: At) -> None:
    few, many = (str(at.said(f"sandbox:cost={cost} x")[at.wire.usage or ""]) for cost in (30, 3_000_000))
    assert few != many
    assert "100000" in many


@wires(*(name for name, wire in WIRES.items() if wire.pictures))
def test_fewer(at: At) -> None:
    assert at.wire.pictures
    assert [at.wire.pictures(at.said(f"sandbox:fewer={fewer} x")) for fewer in (0, 1, 2)] == [2, 1, 0]


@wires(*(name for name, wire in WIRES.items() if wire.stream))
def test_json_and_faults_of_a_stream(at: At) -> None:
    asks = at.wire.stream or {}
    status, headers, whole = at.post("x", **asks)
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert at.post("sandbox:json x", **asks)[1]["Content-Type"] == "application/json"
    events = whole.count(b"\n\n")
    assert at.post("sandbox:malformed x", **asks)[2].count(b"\n\n") == 1
    with pytest.raises(FAILED):
        at.post("sandbox:drop x", **asks)
    with pytest.raises(FAILED):
        at.post(f"sandbox:cut={events - 1} x", **asks)


@wires("midjourney")
def test_progress(at: At) -> None:
    def look(task: str) -> Any:
        line = http.client.HTTPConnection(at.served.url.removeprefix("http://"), timeout=10)
        try:
            line.request("GET", f"/mj/task/{task}/fetch", headers=BEARER)
            return json.loads(line.getresponse().read())
        finally:
            line.close()

    task = at.said("sandbox:progress=2 x")["result"]
    assert [look(task)["status"] for _ in range(3)] == ["IN_PROGRESS", "IN_PROGRESS", "SUCCESS"]
    for how in ("error=500:FAILURE", "flagged=output"):
        task = at.said(f"sandbox:progress=0,{how} x")["result"]
        assert look(task)["status"] == "FAILURE"


@wires()
def test_what_means_nothing_is_a_bad_request(at: At) -> None:
    assert at.post("sandbox:nonsense x")[0] == (200 if at.wire is WIRES["midjourney"] else 400)
    assert at.post("sandbox:deny=insufficient_quota x")[0] == 200


@wires("openai_images", "gemini", "nova", "xai", "anthropic", "openai_chat", "moderations")
def test_the_same_request_gives_the_same_bytes_in_every_process(at: At, name: str) -> None:
    program = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1]);"
        "import test_sandbox_steering as t; from dataclasses import replace\n"
        "living = t.Catalogue(replace(row, lifecycle='active') for row in t.seed().models)\n"
        "with t.serve_sandbox(living) as served:\n"
        "    sys.stdout.buffer.write(t.At(t.WIRES[sys.argv[2]], served, []).post('a fox')[2])"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, json.dumps(sys.path), name], capture_output=True, check=True
    )
    here = at.post("a fox")[2]
    ids = ("id", "responseId")  # a number of the request, not of the work
    assert {**json.loads(other.stdout), **dict.fromkeys(ids)} == {**json.loads(here), **dict.fromkeys(ids)}
