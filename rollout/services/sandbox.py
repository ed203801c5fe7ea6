"""The sandbox provider as the vendors would answer it over HTTP: bodies, event streams, errors and faults in
their own wire formats.

With it the real adapters, SDKs and sockets can be tried without keys. The journal remembers what arrived, so
that "one upstream call" can be proven. Faults that a prompt asks for happen here on the wire:
`ConnectionDropped` tells the door to close the socket.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, Literal

import msgspec

from rollout.core.analyses import parse_message_request, split_members
from rollout.core.catalogue import Catalogue, Model, Usage
from rollout.core.images import Finished, Member, Operation, Partial, Picture, Upload, parse_image_request
from rollout.core.steering import Steering, parse_steering
from rollout.core.wire import read_message
from rollout.errors import ModelNotFound, PriceUnknown, RolloutError
from rollout.providers.base import ImageCall, MessageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.messages import SandboxMessages, decoded, events_of, last_prompt
from rollout.providers.sandbox.works import Work, Works
from rollout.services.catalogue import load_seed

Surface = Literal["openai", "anthropic"]

JSON = "application/json"
EVENTS = "text/event-stream"
GENERATION, ANALYSIS = "image-generation", "image-analysis"
_JOURNAL_ENTRIES = 10_000
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})
_PAGE = b"<!doctype html><title>502 Bad Gateway</title><h1>SANDBOX: a page where JSON was expected</h1>"
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


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
        return {"data": [{**asdict(entry), "at": _rfc3339(entry.at)} for entry in entries], "total": total}

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._total = 0


class Sandbox:
    """Both vendors in one. `clock` gives UTC epoch seconds; `hang_seconds` bounds what `hang` may take."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        hang_seconds: float = 600.0,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.journal, self.works = Journal(), Works(clock)
        self._clock, self._sleep, self._hang_seconds = clock, sleep, hang_seconds
        self._catalogue = catalogue or load_seed()
        self._images = SandboxImages(self.works, sleep, hang_seconds)
        self._messages = SandboxMessages(self.works, sleep, hang_seconds)
        self._ids = count(1)

    def new_request_id(self) -> str:
        return f"req_sandbox_{next(self._ids)}"

    def arrived(
        self, request_id: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Write a request into the journal."""
        digest = hashlib.sha256(body).hexdigest()
        self.journal.add(Arrived(request_id, self._clock(), method, path, headers, digest, len(body)))

    def make_images(
        self,
        request_id: str,
        operation: Operation,
        members: Mapping[str, Member],
        images: Sequence[Upload],
        mask: Upload | None,
    ) -> Reply:
        """/v1/images/generations and /v1/images/edits. Raises ConnectionDropped."""
        with self.works.begin(request_id) as work:
            return self._make_images(work, operation, members, images, mask)

    def _make_images(
        self,
        work: Work,
        operation: Operation,
        members: Mapping[str, Member],
        images: Sequence[Upload],
        mask: Upload | None,
    ) -> Reply:
        try:
            model = self._model(_text(members.get("model")), GENERATION)
            request = parse_image_request(operation, members, images, mask, model)
            steering = parse_steering(request.prompt)
        except RolloutError as error:
            return openai_error(
                _vendor_status(error), error.message, code=error.code, param=error.members.get("param")
            )
        work.until = self._clock() + steering.takes
        told = self._fault("openai", steering, streaming=request.stream)
        if told:
            return told
        late = request.stream and steering.flagged == "output"
        try:
            finished = self._images.make(
                ImageCall(model, request), replace(steering, flagged=None) if late else steering
            )
        except Rejected as rejected:
            return openai_error(400, rejected.message, code="invalid_image_file", param=rejected.param)
        except Refused as refused:
            return json_reply({"error": _refusal(refused.category)}, 400)
        work.finish(len(finished.pictures), finished.usage)
        if not request.stream:
            return self._json(_images_body(finished), steering)
        kind = "image_generation" if operation == "generate" else "image_edit"
        return self._stream(_image_events(kind, self._images.partials(request), finished, late), steering)

    def message(self, request_id: str, body: bytes) -> Reply:
        """/v1/messages. Raises ConnectionDropped."""
        with self.works.begin(request_id) as work:
            return self._message(work, body)

    def _message(self, work: Work, body: bytes) -> Reply:
        try:
            members = split_members(body)
            asked = parse_message_request(members)
            model = self._model(asked.model, ANALYSIS)
            request = decoded(body)
            steering = parse_steering(last_prompt(request))
            work.until = self._clock() + steering.takes
            told = self._fault("anthropic", steering, streaming=asked.stream)
            if told:
                return told
            message = self._messages.make(MessageCall(model, body, asked.stream), request, steering)
        except (RolloutError, Rejected) as error:
            return _refused_message(error)
        work.finish(0, read_message(msgspec.json.encode(message))[0])
        if asked.stream:
            return self._stream((raw for _, raw in events_of(message)), steering)
        return self._json(message, steering)

    def count_tokens(self, body: bytes) -> Reply:
        """/v1/messages/count_tokens. Raises ConnectionDropped."""
        try:
            asked = parse_message_request(split_members(body), counting=True)
            self._model(asked.model, ANALYSIS)
            request = decoded(body)
            steering = parse_steering(last_prompt(request))
            told = self._fault("anthropic", steering, streaming=False)
            return told or self._json(self._messages.count(request), steering)
        except (RolloutError, Rejected) as error:
            return _refused_message(error)

    def look_up(self, work_id: str) -> Reply:
        """What became of a work, by the request id that it was answered with."""
        found = self.works.look_up(work_id)
        return json_reply(found) if found else openai_error(404, f"There is no work {work_id[:200]!r}.")

    def models(self, surface: Surface, name: str | None = None) -> Reply:
        """/v1/models and /v1/models/{name}, in the shape of either vendor."""
        rows = [
            _model_row(surface, model) for model in self._catalogue.models if model.lifecycle != "retired"
        ]
        if name is None:
            ids = [row["id"] for row in rows]
            anthropic = {"data": rows, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
            return json_reply(anthropic if surface == "anthropic" else {"object": "list", "data": rows})
        found = next((row for row in rows if row["id"] == name), None)
        return json_reply(found) if found else refusal(surface, 404, f"There is no model {name[:200]!r}.")

    def _model(self, name: str, feature: str) -> Model:
        """As at the vendor: no aliases, no retired models."""
        model = self._catalogue.get(name)
        if model.feature != feature or model.lifecycle == "retired":
            raise ModelNotFound(f"The model {name[:200]!r} does not exist.", param="model")
        return model

    def _fault(self, surface: Surface, steering: Steering, *, streaming: bool) -> Reply | None:
        """Wait, drop, or answer wrongly, as told; None when the work is to be done."""
        self._sleep(steering.slow)
        if steering.hang:
            self._sleep(self._hang_seconds)
        if steering.hang or steering.drop:
            raise ConnectionDropped
        if steering.error:
            return refusal(surface, steering.error, "SANDBOX: told to fail", code=steering.code)
        if steering.retired:
            return refusal(surface, 404, "SANDBOX: the model is gone", code="model_not_found")
        if steering.html:
            return Reply(200, "text/html; charset=utf-8", [_PAGE])
        if steering.json and streaming:
            return json_reply({"sandbox": "JSON where a stream was asked for"})
        return None

    def _json(self, value: Any, steering: Steering) -> Reply:
        """The answer; half of it with an honest length and a dropped connection for `cut`, half of it as if
        whole for `malformed`."""
        body = msgspec.json.encode(value)
        half = body[: len(body) // 2]
        if steering.malformed:
            return Reply(200, JSON, [half])
        if steering.cut is not None:
            return Reply(200, JSON, _then_drop([half]), length=len(body))
        return Reply(200, JSON, [body])

    def _stream(self, events: Iterator[bytes], steering: Steering) -> Reply:
        if steering.malformed:
            return Reply(200, EVENTS, [b'event: message_start\ndata: {"type": \n\n'])
        return Reply(
            200, EVENTS, events if steering.cut is None else _then_drop(islice(events, steering.cut))
        )


def refusal(surface: Surface, status: int, message: str, *, code: str | None = None) -> Reply:
    """An error in the vendor's envelope."""
    if surface == "anthropic":
        return anthropic_error(status, message, kind=code)
    return openai_error(status, message, code=code)


def openai_error(
    status: int, message: str, *, code: str | None = None, param: str | None = None, kind: str | None = None
) -> Reply:
    kind = kind or _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return json_reply({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def anthropic_error(status: int, message: str, *, kind: str | None = None) -> Reply:
    kind = kind or _ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status)


def json_reply(value: Any, status: int = 200) -> Reply:
    headers = {"retry-after": "1"} if status in (429, 529) else {}
    return Reply(status, JSON, [msgspec.json.encode(value)], headers=headers)


def _then_drop(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise ConnectionDropped


def _vendor_status(error: RolloutError) -> int:
    """The vendors know no 422 for what they cannot price: to them it is a bad request."""
    return 400 if isinstance(error, PriceUnknown) else error.http_status


def _text(member: Member | None) -> str:
    """A scalar as text whatever its form; what is none becomes a name that no model has."""
    return bytes(member or b"").decode("utf-8", "replace").strip('"')


def _refused_message(error: RolloutError | Rejected) -> Reply:
    """The vendor names the field at the head of its message."""
    if isinstance(error, Rejected):
        status, param = 400, error.param
    else:
        status, param = _vendor_status(error), error.members.get("param")
    return anthropic_error(status, f"{param}: {error.message}" if param else error.message)


def _refusal(category: str) -> dict[str, Any]:
    """OpenAI's error object for content; the category stands in the message."""
    return {
        "message": f"SANDBOX: rejected by the safety system. safety_violations=[{category}].",
        "type": "image_generation_user_error",
        "param": None,
        "code": "moderation_blocked",
    }


def _images_body(finished: Finished) -> dict[str, Any]:
    body: dict[str, Any] = {"created": finished.created, **_about(finished)}
    body["data"] = [{"b64_json": _quoted(picture)} for picture in finished.pictures]
    if finished.usage:
        body["usage"] = _usage_body(finished.usage)
    return body


def _image_events(
    kind: str, partials: Iterator[Partial], finished: Finished, refused: bool
) -> Iterator[bytes]:
    """Partial images, then a completed event for each picture, or the error of a refusal after the work."""
    about = {"created_at": finished.created, **_about(finished)}
    for partial in partials:
        shown = {"b64_json": _quoted(partial.picture), "partial_image_index": partial.index}
        yield _event(f"{kind}.partial_image", **shown, **about)
    if refused:
        yield _event("error", error=_refusal("policy"))
        return
    for index, picture in enumerate(finished.pictures):
        usage = _share(finished.usage, index, len(finished.pictures))
        told = {"usage": _usage_body(usage)} if usage else {}
        yield _event(f"{kind}.completed", b64_json=_quoted(picture), **about, **told)


def _about(finished: Finished) -> dict[str, Any]:
    names = ("background", "output_format", "quality", "size")
    return {name: getattr(finished, name) for name in names}


def _share(usage: Usage | None, index: int, pictures: int) -> Usage | None:
    """What one of several completed events tells: its part of the output, and the input with the first."""
    if usage is None:
        return None
    output = usage.output * (index + 1) // pictures - usage.output * index // pictures
    return replace(usage, output=output) if index == 0 else Usage(output=output)


def _usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"text_tokens": usage.text_in, "image_tokens": usage.image_in},
        "output_tokens": usage.output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": usage.output},
        "total_tokens": usage.input + usage.output,
    }


def _quoted(picture: Picture) -> msgspec.Raw:
    return msgspec.Raw(b'"' + picture.b64 + b'"')


def _event(name: str, **members: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode({"type": name, **members}) + b"\n\n"


def _model_row(surface: Surface, model: Model) -> dict[str, Any]:
    if surface == "openai":
        row = {"id": model.name, "object": "model", "created": model.created_at, "owned_by": model.vendor}
        return row | {"shutdown_date": _rfc3339(model.retires_at)}
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.display_name,
        "created_at": _rfc3339(model.created_at),
        "lifecycle": model.lifecycle,
        "retires_at": _rfc3339(model.retires_at),
    }


def _rfc3339(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
