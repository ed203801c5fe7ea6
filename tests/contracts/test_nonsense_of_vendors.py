"""Answers that no vendor should give, over real sockets: each wire makes of them one error with one meaning for the hold, of one
call, and nothing else gets out. A wire joins with a line of WIRES."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from lines import line
from sandboxes import model

from rollout.core.catalogue import Usage
from rollout.core.images import ImageRequest
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import (
    BadCredential,
    ChatCall,
    Fault,
    ImageCall,
    MessageCall,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Throttled,
)
from rollout.providers.gemini import GeminiImages
from rollout.providers.midjourney import MidjourneyTasks
from rollout.providers.moderations import OpenAIModerations
from rollout.providers.nova import NovaImages
from rollout.providers.openai_chat import OpenAIChats
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.transport import Line
from rollout.providers.xai import XaiImages

ASKED = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}).encode()
VERSION = {"anthropic-version": "2023-06-01"}


def paint(name: str) -> ImageCall:
    return ImageCall(model(name), ImageRequest("generate", "a fox", name))


def streamed(port: Any, call: Any) -> list[Any]:
    with port.stream(call) as events:
        return list(events)


@dataclass(frozen=True)
class Wire:
    """`send` makes one call at the URL by the line; `stream`, where there is one, the same as a stream."""

    send: Callable[[str, Line], Any]
    stream: Callable[[str, Line], Any] | None = None


READER, TALKER = model("claude-sonnet-5-5"), model("llama-3.2-90b-vision")
WIRES = {
    "openai_images": Wire(
        lambda url, via: OpenAIImages("k", url, via).generate(paint("gpt-image-2")),
        lambda url, via: streamed(
            OpenAIImages("k", url, via),
            ImageCall(model("gpt-image-2"), ImageRequest("generate", "a fox", "gpt-image-2", stream=True)),
        ),
    ),
    "gemini": Wire(lambda url, via: GeminiImages("k", url, via).generate(paint("gemini-nano-banana-2.1"))),
    "nova": Wire(lambda url, via: NovaImages("A:b", url, via).generate(paint("nova-canvas"))),
    "xai": Wire(lambda url, via: XaiImages("k", url, via).generate(paint("grok-imagine-image-2.0"))),
    "midjourney": Wire(lambda url, via: MidjourneyTasks("k", url, via).submit(paint("midjourney"), "gen_1")),
    "anthropic": Wire(
        lambda url, via: AnthropicMessages("k", url, via).create(MessageCall(READER, ASKED, False, VERSION)),
        lambda url, via: streamed(
            AnthropicMessages("k", url, via), MessageCall(READER, ASKED, True, VERSION)
        ),
    ),
    "openai_chat": Wire(
        lambda url, via: OpenAIChats("k", url, via).create(ChatCall(TALKER, ASKED)),
        lambda url, via: streamed(OpenAIChats("k", url, via), ChatCall(TALKER, ASKED, True)),
    ),
    "moderations": Wire(lambda url, via: OpenAIModerations("k", url, via).create(b'{"input":"x"}')),
}
STREAMS = [name for name, wire in WIRES.items() if wire.stream]
EVENTS = "text/event-stream"


@dataclass
class Answers:
    """What the vendor answers everything with; None: nothing, ever."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes | None = b""
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            told: Answers = self.server.told  # type: ignore[attr-defined]
            self.rfile.read(int(self.headers.get("content-length", 0)))
            told.calls += 1
            if told.body is None:
                self.server.go_on.wait(30)  # type: ignore[attr-defined]
                self.close_connection = True
                return
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", told.content_type)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *args: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.go_on = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.go_on.set()  # type: ignore[attr-defined]
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(scope="module")
def via() -> Iterator[Line]:
    made = line(upstream_read_seconds=1)
    yield made
    made.client.close()


@pytest.fixture
def told(server: ThreadingHTTPServer) -> Answers:
    server.told = Answers()  # type: ignore[attr-defined]
    return server.told  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def raised(send: Callable[..., Any] | None, *arguments: Any) -> PortError:
    assert send
    with pytest.raises(PortError) as error:
        send(*arguments)
    return error.value


every_wire = pytest.mark.parametrize("name", WIRES)


@every_wire
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"5",
        b'"x"',
        b"[" * 100_000,
        b"\xff\xfe{}",
        b'{"data": null}',
        b'{"error": {}}',
    ],
)
def test_a_success_that_is_none_is_a_fault(
    name: str, told: Answers, url: str, via: Line, body: bytes
) -> None:
    told.body = body
    assert type(raised(WIRES[name].send, url, via)) is Fault
    assert told.calls == 1


@every_wire
@pytest.mark.parametrize("content_type", ["text/html", "text/event-stream", "image/png", ""])
def test_a_success_of_another_type_is_a_fault(
    name: str, told: Answers, url: str, via: Line, content_type: str
) -> None:
    told.content_type, told.body = (
        content_type,
        b"<!doctype html><title>Welcome to the hotel's network</title>",
    )
    assert type(raised(WIRES[name].send, url, via)) is Fault
    assert told.calls == 1


@every_wire
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Fault),
        (307, Fault),
        (401, BadCredential),
        (402, OutOfCredit),
        (408, Fault),
        (429, Throttled),
        (500, Fault),
        (502, Fault),
        (599, Fault),
    ],
)
def test_a_status_has_its_meaning_whatever_stands_in_the_body(
    name: str, told: Answers, url: str, via: Line, status: int, error: type[PortError]
) -> None:
    for body in (b"<html>", b"[]", b'{"error": "a sentence"}'):
        told.status, told.body, told.calls = status, body, 0
        told.headers = {"location": f"{url}/elsewhere", "retry-after": "soon"}
        assert type(raised(WIRES[name].send, url, via)) is error, body
        assert told.calls == 1


@every_wire
def test_silence_is_an_unknown_outcome_and_nobody_there_is_not_sent(
    name: str, told: Answers, url: str, via: Line
) -> None:
    told.body = None
    assert type(raised(WIRES[name].send, url, via)) is OutcomeUnknown
    assert told.calls == 1
    assert type(raised(WIRES[name].send, "http://127.0.0.1:9", via)) is NotSent


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("application/json", b'{"data": []}', Fault),
        ("text/html", b"<html>", Fault),
        (EVENTS, b"", OutcomeUnknown),
        (EVENTS, b": a comment\n\n", OutcomeUnknown),
        (EVENTS, b'event: message_start\ndata: {"type": \n\n', Fault),
        (EVENTS, b"event: error\ndata: nonsense\n\n", Fault),
    ],
)
def test_a_stream_that_is_none_is_told_apart_from_one_that_was_cut(
    name: str, told: Answers, url: str, via: Line, content_type: str, body: bytes, error: type[PortError]
) -> None:
    told.content_type, told.body = content_type, body
    assert type(raised(WIRES[name].stream, url, via)) is error
    assert told.calls == 1


ABSURD: dict[str, list[Any]] = {
    "openai_images": [
        {"input_tokens": -5, "output_tokens": 1},
        {"output_tokens": 10**30},
        {"output_tokens": "many"},
        7,
    ],
    "anthropic": [
        {"input_tokens": -5, "output_tokens": 1},
        {"output_tokens": 10**30},
        {"output_tokens": "many"},
        7,
    ],
    "openai_chat": [{"prompt_tokens": -5, "completion_tokens": 1}, {"completion_tokens": 10**30}, 7],
}
ANSWERS: dict[str, Any] = {
    "openai_images": {
        "created": 1,
        "data": [
            {
                "b64_json": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
            }
        ],
    },
    "anthropic": {"type": "message", "content": [], "stop_reason": "end_turn"},
    "openai_chat": {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
}


@pytest.mark.parametrize(
    ("name", "usage"), [(name, usage) for name, usages in ABSURD.items() for usage in usages]
)
def test_an_absurd_usage_is_read_as_none_or_a_fault_and_never_as_a_credit(
    name: str, told: Answers, url: str, via: Line, usage: Any
) -> None:
    told.body = json.dumps({**ANSWERS[name], "usage": usage}).encode()
    try:
        found = WIRES[name].send(url, via).usage
    except Fault:
        found = None
    assert found is None or min(vars_of(found)) >= 0
    assert told.calls == 1


def vars_of(usage: Usage) -> list[int]:
    return [usage.input, usage.output, usage.text_in, usage.image_in, usage.cache_write, usage.cache_read]
