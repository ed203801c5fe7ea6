"""What lies between a vendor and a caller: `python -m benchmarks.streams [--only first pool ...]`.

    first     from a vendor's first event until the caller has it, by route
    bytes     our CPU for a 1.5 MB picture passed through, and for a request with a 200 kB picture
    pool      CPU of a quick call to a vendor beside others that wait there, by our pool and by the library's

The vendor stands in this process, speaks the vendors' wires word for word, and notes when it sent what; the service is a process of its
own, over SQLite. Nothing is asserted: this is for people who read it.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rollout import log
from rollout.db import migrate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose modules call each other by bare names
from lines import line
from processes import Service, Starter
from sandboxes import picture

CALLS, WARM_UP = 100, 10
PAUSE_SECONDS = 0.02
"""Between a vendor's first event and the next."""

WAITING = (0, 100, 1_000)
QUICK = 300
PICTURE_BYTES, QUESTION_BYTES = 1_500_000, 200_000
READER, TALKER, PAINTER = "claude-sonnet-5-5", "llama-3.2-90b-vision", "gpt-image-2"


@dataclass(frozen=True)
class Route:
    """How a caller asks for a stream; `events` is how the vendor answers: the first, and the rest."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    events: tuple[bytes, bytes]


def _event(name: str | None, **members: Any) -> bytes:
    named = {"type": name, **members} if name else members
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + json.dumps(named).encode() + b"\n\n"


B64 = base64.b64encode(picture()).decode()
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": READER,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
HELLO = [{"role": "user", "content": "hello"}]
ROUTES = {
    "/v1/messages": Route(
        "/v1/messages",
        {"model": READER, "max_tokens": 50, "messages": HELLO, "stream": True},
        {"anthropic-version": "2023-06-01"},
        (
            _event("message_start", message=MESSAGE),
            _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
            + _event("message_stop"),
        ),
    ),
    "/v1/chat/completions": Route(
        "/v1/chat/completions",
        {"model": TALKER, "max_tokens": 50, "messages": HELLO, "stream": True},
        {},
        (
            _event(None, id="c", choices=[{"index": 0, "delta": {"content": "hi"}}]),
            _event(None, id="c", choices=[], usage={"prompt_tokens": 3, "completion_tokens": 1})
            + b"data: [DONE]\n\n",
        ),
    ),
    "/v1/images/generations": Route(
        "/v1/images/generations",
        {"model": PAINTER, "prompt": "a fox", "stream": True, "partial_images": 1},
        {},
        (
            _event("image_generation.partial_image", b64_json=B64, partial_image_index=0, created_at=1),
            _event(
                "image_generation.completed",
                b64_json=B64,
                created_at=1,
                usage={"input_tokens": 3, "output_tokens": 9},
            ),
        ),
    ),
}
WHOLE = {
    "/v1/messages": json.dumps({**MESSAGE, "stop_reason": "end_turn"}).encode(),
    "/v1/images/generations": json.dumps(
        {"created": 1, "data": [{"b64_json": B64}], "usage": {"input_tokens": 3, "output_tokens": 9}}
    ).encode(),
}


class Vendor(ThreadingHTTPServer):
    """Answers whole, or in two parts; `sent_at` is when the first part of the latest stream left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.sent_at = 0.0
        self.whole = dict(WHOLE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True
    server: Vendor

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        if b'"stream":true' in asked or b'"stream": true' in asked:
            self._stream(*ROUTES[self.path].events)
            return
        body = self.server.whole[self.path]
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )

    def _stream(self, first: bytes, rest: bytes) -> None:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.server.sent_at = time.monotonic()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(first), first))
        time.sleep(PAUSE_SECONDS)
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="only these")
    asked.add_argument("--pool", nargs=2, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.pool:
        print(_quick(int(options.pool[0]), ours=options.pool[1] == "ours"))
        return
    log.configure("critical", "text")
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load} before we came"
    )
    for name in options.only:
        print(f"\n{name}\n")
        MEASURES[name]()


def _first() -> None:
    print("| route | p50 ms | p99 | most |\n|---|--:|--:|--:|")
    with _served() as (vendor, service):
        for path, route in ROUTES.items():
            took = sorted(_until_first(vendor, service, route) for _ in range(WARM_UP + CALLS))
            cells = (statistics.median(took), took[int(len(took) * 0.99) - 1], took[-1])
            print(f"| {path} |", " | ".join(f"{cell * 1_000:.1f}" for cell in cells), "|")


def _until_first(vendor: Vendor, service: Service, route: Route) -> float:
    with closing(_asked(service, route.path, route.body, route.headers)) as answer:
        while not answer.readline().startswith(b"data:"):
            pass
        arrived = time.monotonic()
        answer.read()
    return arrived - vendor.sent_at


def _bytes() -> None:
    print("| a call | our CPU ms |\n|---|--:|")
    large = base64.b64encode(picture() + os.urandom(PICTURE_BYTES)).decode()
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(picture() + os.urandom(QUESTION_BYTES)).decode(),
    }
    looked_at = [
        {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "what?"}]}
    ]
    paint, ask = {"model": PAINTER, "prompt": "a fox"}, {"model": READER, "max_tokens": 50}
    version = {"anthropic-version": "2023-06-01"}
    calls: dict[str, tuple[str, dict[str, Any], dict[str, str], bytes | None]] = {
        "a picture of 200 bytes": ("/v1/images/generations", paint, {}, None),
        "a picture of 1.5 MB": (
            "/v1/images/generations",
            paint,
            {},
            json.dumps(
                {
                    "created": 1,
                    "data": [{"b64_json": large}],
                    "usage": {"input_tokens": 3, "output_tokens": 9},
                }
            ).encode(),
        ),
        "a question of a line": ("/v1/messages", {**ask, "messages": HELLO}, version, None),
        "a question with a picture of 200 kB": (
            "/v1/messages",
            {**ask, "messages": looked_at},
            version,
            None,
        ),
    }
    with _served() as (vendor, service):
        for name, (path, body, headers, answer) in calls.items():
            vendor.whole[path] = answer or WHOLE[path]
            print(f"| {name} | {_cpu_of(service, path, body, headers) * 1_000:.1f} |")


def _cpu_of(service: Service, path: str, body: dict[str, Any], headers: dict[str, str]) -> float:
    """Seconds a call, with its hold, its charge and what it stores."""
    began = 0.0
    for number in range(WARM_UP + CALLS):
        if number == WARM_UP:
            began = _cpu(service.popen.pid)
        with closing(_asked(service, path, body, headers)) as answer:
            answer.read()
    return (_cpu(service.popen.pid) - began) / CALLS


def _pool() -> None:
    print("| others that wait | the library's pool, CPU ms | ours |\n|--:|--:|--:|")
    for waiting in WAITING:
        cells = [_run(waiting, kind) for kind in ("library", "ours")]
        print(f"| {waiting:,} |", " | ".join(cells), "|")


def _run(waiting: int, kind: str) -> str:
    """In a process of its own: threads that wait do not end."""
    command = [sys.executable, "-m", "benchmarks.streams", "--pool", str(waiting), kind]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _quick(waiting: int, *, ours: bool) -> str:
    import httpx2

    client = (
        line().client if ours else httpx2.Client(limits=httpx2.Limits(max_connections=None), trust_env=False)
    )
    vendor, arrived = _Waiting(), threading.Semaphore(0)
    vendor.arrived = arrived.release
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    threading.stack_size(512 * 1024)
    for _ in range(waiting):
        threading.Thread(
            target=client.get, args=(f"{vendor.url}/wait",), kwargs={"timeout": 600}, daemon=True
        ).start()
        arrived.acquire()
    for _ in range(WARM_UP):
        client.get(f"{vendor.url}/quick")
    began = time.thread_time()  # of this thread: the vendor stands beside it
    for _ in range(QUICK):
        client.get(f"{vendor.url}/quick")
    took = (time.thread_time() - began) / QUICK
    print(f"{took * 1_000:.2f}", flush=True)
    os._exit(0)


class _Waiting(Vendor):
    """Answers /quick at once and nothing else ever."""

    request_queue_size = 2_000
    arrived: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _Patient  # type: ignore[assignment]


class _Patient(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/quick":
            self.server.arrived()  # type: ignore[attr-defined]
            threading.Event().wait()
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    def log_message(self, *args: object) -> None:
        pass


def _asked(
    service: Service, path: str, body: dict[str, Any], headers: dict[str, str]
) -> http.client.HTTPResponse:
    """The answer to a call, which succeeded; closing it ends the connection."""
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
    sent = {"authorization": f"Bearer {service.key('acme')}", "content-type": "application/json", **headers}
    connection.request("POST", path, json.dumps(body), sent)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {answer.read()[:500]!r}")
    return answer


@contextmanager
def _served() -> Iterator[tuple[Vendor, Service]]:
    vendor = Vendor()
    threading.Thread(target=vendor.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        starter, url = Starter(Path(folder)), f"sqlite:///{Path(folder) / 'streams.db'}"
        migrate.upgrade(url)
        try:
            service = starter.service(
                url,
                openai_base_url=f"{vendor.url}/v1",
                anthropic_base_url=vendor.url,
                llama_base_url=f"{vendor.url}/v1",
                log_level="error",
            )
            _without_limits(service)
            yield vendor, service
        finally:
            starter.stop()
    vendor.shutdown()


def _without_limits(service: Service) -> None:
    """What acme's meters would refuse is not what is measured."""
    for meter in service.admin("GET", "/meters?tenant=acme&limit=100")["data"]:
        service.admin("DELETE", f"/meters/{meter['id']}", {"reason": "benchmark"})


def _cpu(pid: int) -> float:
    """Seconds that the process and its children have worked."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    ticks = [
        int(part)
        for one in pids
        for part in Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]
    ]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


MEASURES: dict[str, Callable[[], None]] = {"first": _first, "bytes": _bytes, "pool": _pool}


if __name__ == "__main__":
    main()
