"""What all wires of the served sandbox share: the journal of what arrived, the models, faults, and what is sent.

The sandbox answers over HTTP as the vendors would: bodies, event streams, errors and faults in their own wire formats. With it the
real adapters, SDKs and sockets can be tried without keys. The journal remembers what arrived, so that "one upstream call" can be
proven. Faults that a prompt asks for happen here on the wire: `ConnectionDropped` tells the door to close the socket.

A new wire joins with two files and a line, `openai_images` being the pattern:

1. `rollout/services/sandbox/<wire>.py`: `class <Wire>Sandbox` over one `Bench`, a method for each route that takes what was
   parsed of HTTP and returns a `Reply`; and `refusal(status, message, *, code=None) -> Reply`, the vendor's error envelope. A method
   that does work opens `bench.works.begin(request_id)`, finds the model by `bench.model`, parses the steering, returns
   `bench.fault(..)` if that is a reply, does the work (`rollout/providers/sandbox/`), calls `work.finish`, and answers by `bench.json`
   or `bench.stream`, which spoil, cut and drop what is told: such work was done, and is billed.
2. `rollout/api/sandbox/<wire>.py`: `PREFIXES`, the paths whose errors are in the vendor's envelope; `refusal`, that envelope; and
   `routes(blueprint, bench)`. Views of all wires share one blueprint: their names differ.
3. Its line in `WIRES` of `rollout/api/sandbox/mount.py`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, Protocol

import msgspec

from rollout.core.catalogue import Catalogue, Model
from rollout.core.steering import Steering
from rollout.errors import ModelNotFound, PriceUnknown, RolloutError
from rollout.providers.sandbox.works import Works
from rollout.services.catalogue import load_seed

JSON = "application/json"
EVENTS = "text/event-stream"
_JOURNAL_ENTRIES = 10_000
_SECRET_HEADERS = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "x-amz-security-token", "cookie", "proxy-authorization"}
)
_PAGE = b"<!doctype html><title>502 Bad Gateway</title><h1>SANDBOX: a page where JSON was expected</h1>"


class ConnectionDropped(Exception):
    """The connection is to be closed now, without an end."""


@dataclass(frozen=True)
class Reply:
    """What the door sends. Iterating over `chunks` may raise ConnectionDropped; `length` is declared where it
    is not what comes."""

    status: int
    content_type: str
    chunks: Iterable[bytes]
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Protocol):
    """An error in a vendor's envelope."""

    def __call__(self, status: int, message: str, *, code: str | None = None) -> Reply: ...


@dataclass(frozen=True)
class Arrived:
    """A request as the journal keeps it; `at` in UTC epoch seconds, `body_sha256` in hex. Credentials are
    left out."""

    id: str
    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body_sha256: str
    body_bytes: int


class Journal:
    """The latest requests; older ones fall out, `total` counts all since the last clearing."""

    def __init__(self, most: int = _JOURNAL_ENTRIES) -> None:
        self._entries: deque[Arrived] = deque(maxlen=most)
        self._total = 0
        self._lock = threading.Lock()

    def add(self, arrived: Arrived) -> None:
        shown = {
            name: value for name, value in arrived.headers.items() if name.lower() not in _SECRET_HEADERS
        }
        with self._lock:
            self._entries.append(replace(arrived, headers=shown))
            self._total += 1

    def read(self) -> dict[str, Any]:
        """`{"data": [...], "total": n}`, oldest first."""
        with self._lock:
            entries, total = list(self._entries), self._total
        return {"data": [{**asdict(entry), "at": rfc3339(entry.at)} for entry in entries], "total": total}

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._total = 0


class Bench:
    """All vendors in one. `clock` gives UTC epoch seconds; `hang_seconds` bounds what `hang` may take."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        hang_seconds: float = 600.0,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.journal, self.works = Journal(), Works(clock)
        self.clock, self.sleep, self.hang_seconds = clock, sleep, hang_seconds
        self.catalogue = catalogue or load_seed()
        self._ids = count(1)

    def new_request_id(self) -> str:
        return f"req_sandbox_{next(self._ids)}"

    def arrived(
        self, request_id: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Write a request into the journal."""
        digest = hashlib.sha256(body).hexdigest()
        self.journal.add(Arrived(request_id, self.clock(), method, path, headers, digest, len(body)))

    def look_up(self, work_id: str) -> Reply | None:
        """What became of a work, by the request id that it was answered with."""
        found = self.works.look_up(work_id)
        return json_reply(found) if found else None

    def model(self, upstream_id: str, wire: str) -> Model:
        """As at the vendor: by its own name, no aliases, no retired models. Raises ModelNotFound."""
        for model in self.catalogue.models:
            if (model.upstream_id, model.wire) == (upstream_id, wire) and model.lifecycle != "retired":
                return model
        raise ModelNotFound(f"The model {upstream_id[:200]!r} does not exist.", param="model")

    def fault(self, refusal: Refusal, steering: Steering, *, streaming: bool) -> Reply | None:
        """Wait, or answer wrongly, as told; None when the work is to be done. Raises ConnectionDropped."""
        self.sleep(steering.slow)
        if steering.hang:
            self.sleep(self.hang_seconds)
            raise ConnectionDropped
        if steering.error:
            return refusal(steering.error, "SANDBOX: told to fail", code=steering.code)
        if steering.retired:
            return refusal(404, "SANDBOX: the model is gone", code="model_not_found")
        if steering.html:
            return Reply(200, "text/html; charset=utf-8", [_PAGE])
        if steering.json and streaming:
            return json_reply({"sandbox": "JSON where a stream was asked for"})
        return None

    def json(self, value: Any, steering: Steering) -> Reply:
        """The answer to work that was done; half of it with an honest length and a dropped connection for `cut`, half of it as if
        whole for `malformed`. Raises ConnectionDropped for `drop`."""
        if steering.drop:
            raise ConnectionDropped
        body = msgspec.json.encode(value)
        half = body[: len(body) // 2]
        if steering.malformed:
            return Reply(200, JSON, [half])
        if steering.cut is not None:
            return Reply(200, JSON, _then_drop([half]), length=len(body))
        return Reply(200, JSON, [body])

    def stream(self, events: Iterator[bytes], steering: Steering) -> Reply:
        """The events, or the first `cut` of them, or one that is none for `malformed`. Raises ConnectionDropped for `drop`."""
        if steering.drop:
            raise ConnectionDropped
        if steering.malformed:
            return Reply(200, EVENTS, [b'event: message_start\ndata: {"type": \n\n'])
        return Reply(
            200, EVENTS, events if steering.cut is None else _then_drop(islice(events, steering.cut))
        )


def json_reply(value: Any, status: int = 200) -> Reply:
    headers = {"retry-after": "1"} if status in (429, 529) else {}
    return Reply(status, JSON, [msgspec.json.encode(value)], headers=headers)


def vendor_status(error: RolloutError) -> int:
    """The vendors know no 422 for what they cannot price: to them it is a bad request."""
    return 400 if isinstance(error, PriceUnknown) else error.http_status


def rfc3339(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _then_drop(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise ConnectionDropped
