"""The port to AI vendors: what a wire must offer, what may come back, what can go wrong.

Every wire is one file with the same five parts in the same order: docstring (route, auth, failures),
`CAPABILITIES` where it has any, pure `encode`, `send` (the only I/O), pure `decode`, `ERRORS`. Wires never
import each other, and no SDK class leaves this floor.

What an error means for the hold stands on its class:

    PortError
    ├── NotSent           void      connect, DNS, TLS: nothing left this machine
    ├── Throttled         void      429, 529
    ├── OutOfCredit       void      our account with the vendor is empty
    ├── BadCredential     void      our key is refused
    ├── Rejected          void      the vendor finds the request invalid
    ├── Retired           void      the vendor no longer has the model
    ├── NotBilled         void      a complete 5xx of a vendor that documents that it bills none
    ├── Refused           settled   refused for its content; `usage` if it was billed
    ├── NoPicture         settled   the work was done and billed, and no picture came of it
    ├── Fault             unknown   5xx, 408, an answer that is not one
    └── OutcomeUnknown    unknown   time-out while reading, connection cut

Where a vendor tells by id what became of a work (`LookUp`), an unknown outcome is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import msgspec
import pybase64

from rollout.core.catalogue import Model, Usage
from rollout.core.catalogue_checks import Listed
from rollout.core.guardrails import Category, Point
from rollout.core.images import Finished, ImageRequest, Partial, Picture
from rollout.core.pictures import media_type_of
from rollout.core.wire import refusal_category

HoldOutcome = Literal["void", "settled", "unknown"]

Fetch = Callable[[str], bytes]
"""The picture at an address that a vendor answered with. Raises OSError: it is none, or we do not go there."""
_HEAD_CHARACTERS = 64


class PortError(Exception):
    """A vendor call that did not end well; `detail` is for our logs, never for the caller."""

    hold: ClassVar[HoldOutcome] = "unknown"

    def __init__(self, detail: str = "", *, vendor_request_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail, self.vendor_request_id = detail, vendor_request_id


class NotSent(PortError):
    hold = "void"


class Throttled(PortError):
    """`retry_after` in whole seconds as the vendor asked, if it did."""

    hold = "void"

    def __init__(
        self, detail: str = "", *, retry_after: int | None = None, vendor_request_id: str | None = None
    ) -> None:
        super().__init__(detail, vendor_request_id=vendor_request_id)
        self.retry_after = retry_after


class OutOfCredit(PortError):
    hold = "void"


class BadCredential(PortError):
    hold = "void"


class Rejected(PortError):
    """`message` and `param` are the vendor's words about the caller's request, fit to be passed on; `status`
    400, 413 or 422."""

    hold = "void"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        vendor_request_id: str | None = None,
    ) -> None:
        super().__init__(message, vendor_request_id=vendor_request_id)
        self.message, self.param, self.status = message, param, status


class Retired(PortError):
    hold = "void"


class Refused(PortError):
    """`category` in our words (`core.guardrails`), `vendor_code` in the vendor's; `point`: what was refused."""

    hold = "settled"

    def __init__(
        self,
        category: Category,
        detail: str = "",
        *,
        point: Point = "prompt",
        vendor_code: str | None = None,
        usage: Usage | None = None,
        vendor_request_id: str | None = None,
    ) -> None:
        super().__init__(detail, vendor_request_id=vendor_request_id)
        self.category, self.point, self.vendor_code, self.usage = category, point, vendor_code, usage


class NoPicture(PortError):
    """`usage` is what the vendor says it bills for the work that led to nothing."""

    hold = "settled"

    def __init__(self, usage: Usage, detail: str = "", *, vendor_request_id: str | None = None) -> None:
        super().__init__(detail, vendor_request_id=vendor_request_id)
        self.usage = usage


class NotBilled(PortError):
    hold = "void"


class Fault(PortError):
    """`status` of a complete answer that says 5xx."""

    hold = "unknown"

    def __init__(
        self, detail: str = "", *, status: int | None = None, vendor_request_id: str | None = None
    ) -> None:
        super().__init__(detail, vendor_request_id=vendor_request_id)
        self.status = status


class OutcomeUnknown(PortError):
    hold = "unknown"


@dataclass(frozen=True)
class ImageCall:
    """`user` is the keyed hash of (tenant, end user) that the vendor may see."""

    model: Model
    request: ImageRequest
    user: str | None = None


@dataclass(frozen=True)
class MessageCall:
    """`body` is the JSON to send, already naming the upstream model; `headers` are the caller's
    anthropic-version and allowed betas."""

    model: Model
    body: bytes
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MessageAnswer:
    """`body` is the vendor's JSON, byte for byte; `stop_reason` and `usage` were read from it."""

    body: bytes
    usage: Usage | None
    stop_reason: str | None
    vendor_request_id: str | None

    @property
    def refusal(self) -> str | None:
        """The vendor's word when it refused the content."""
        return _refusal(self.stop_reason, self.body)


@dataclass(frozen=True)
class MessageEvent:
    """One server-sent event as it came: `raw` with its blank line; `usage` is cumulative and present where
    the event told any."""

    name: str
    raw: bytes
    usage: Usage | None = None
    stop_reason: str | None = None

    @property
    def refusal(self) -> str | None:
        """The vendor's word when it refused the content."""
        return _refusal(self.stop_reason, self.raw.partition(b"data:")[2])

    @property
    def is_last(self) -> bool:
        return self.name == "message_stop"


def _refusal(stop_reason: str | None, data: bytes) -> str | None:
    return (refusal_category(data) or stop_reason) if stop_reason == "refusal" else None


@dataclass(frozen=True)
class ChatCall:
    """`body` is the JSON of a chat completion to send, already naming the upstream model."""

    model: Model
    body: bytes
    stream: bool = False


@dataclass(frozen=True)
class ChatAnswer:
    """`body` is the vendor's JSON, byte for byte; `usage` and `refusal`, its word for a refusal, were read from it."""

    body: bytes
    usage: Usage | None
    refusal: str | None
    vendor_request_id: str | None


@dataclass(frozen=True)
class ChatEvent:
    """One chunk as it came, with its blank line; `is_usage` for the one that tells only usage, `is_last` for `[DONE]`."""

    raw: bytes
    usage: Usage | None = None
    refusal: str | None = None
    is_usage: bool = False
    is_last: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a task has come, in percent."""

    percent: int


class Images(Protocol):
    """A vendor that makes pictures."""

    def generate(self, call: ImageCall) -> Finished:
        """The whole answer. Raises PortError."""
        ...

    def stream(self, call: ImageCall) -> AbstractContextManager[Iterator[Partial | Finished]]:
        """Partials, then exactly one Finished. Entering and iterating raise PortError; a stream that ends
        early raises OutcomeUnknown."""
        ...


class Messages(Protocol):
    """A vendor that analyses."""

    def create(self, call: MessageCall) -> MessageAnswer: ...

    def stream(self, call: MessageCall) -> AbstractContextManager[Iterator[MessageEvent]]:
        """Events in order up to and with `message_stop`. A stream that ends early raises OutcomeUnknown."""
        ...

    def count_tokens(self, call: MessageCall) -> bytes: ...


class Tasks(Protocol):
    """A vendor that makes pictures by tasks: asked for once, looked at until they are done."""

    def submit(self, call: ImageCall, reference: str) -> str:
        """The task's id at the vendor; `reference` is ours, by which a lost answer can be matched. Raises PortError."""
        ...

    def look(self, call: ImageCall, task_id: str, reference: str) -> Progress | Finished:
        """Raises PortError, Fault also for a task that has not our `reference`.

        NotSent, Throttled and OutcomeUnknown say nothing of the task: look again."""
        ...


class Chats(Protocol):
    """A vendor of chat completions."""

    def create(self, call: ChatCall) -> ChatAnswer: ...

    def stream(self, call: ChatCall) -> AbstractContextManager[Iterator[ChatEvent]]:
        """Chunks in order up to and with `[DONE]`. A stream that ends early raises OutcomeUnknown."""
        ...


class Moderations(Protocol):
    """A vendor that says what content is of."""

    def create(self, body: bytes) -> bytes:
        """The vendor's JSON for the JSON of a moderation request. Raises PortError."""
        ...


@dataclass(frozen=True)
class Found:
    """What a vendor says of a work: `done`, with the `images` that came of it and the `usage` if it tells one;
    that it `never_ran`; or that it is `still_running`."""

    state: Literal["done", "never_ran", "still_running"]
    images: int = 0
    usage: Usage | None = None


@runtime_checkable
class Lists(Protocol):
    """A vendor that says which models it has."""

    def models(self) -> list[Listed]:
        """All of them. Raises PortError."""
        ...


class LookUp(Protocol):
    """A vendor that can be asked what became of a work."""

    def look_up(self, upstream_id: str) -> Found | None:
        """None: it does not know the id, which proves nothing. Raises PortError."""
        ...


class Providers(Protocol):
    """Who answers for which model in this process (vendor, or the sandbox in its place)."""

    def images(self, model: Model, *, test: bool) -> tuple[str, Images]:
        """(vendor that answers, its port); `test` asks for the sandbox. Raises NotSent when no credential and
        no sandbox stands in."""
        ...

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]: ...

    def tasks(self, model: Model, *, test: bool) -> tuple[str, Tasks]:
        """For a model that `is_async`."""
        ...

    def chats(self, model: Model, *, test: bool) -> tuple[str, Chats]: ...

    def moderations(self, *, test: bool) -> tuple[str, Moderations]: ...

    def answers(self, model: Model) -> bool:
        """Whether anybody would answer for this model: what is listed in /v1/models."""
        ...

    def lists(self) -> Mapping[str, Lists]:
        """By vendor, of those that are configured and have such a route."""
        ...

    def look_ups(self, vendor: str) -> LookUp | None:
        """Who tells what became of this vendor's works; None where it has no such route."""
        ...


def picture_of(
    text: msgspec.Raw, vendor_request_id: str | None, revised_prompt: str | None = None
) -> Picture:
    """The base64 of a JSON string, if its first bytes are those of a picture; never decoded as a whole. Some encoders
    escape slashes. Raises Fault."""
    quoted = bytes(text)
    b64 = msgspec.json.decode(quoted, type=str).encode() if b"\\" in quoted else quoted[1:-1]
    try:
        media_type = media_type_of(pybase64.b64decode(b64[:_HEAD_CHARACTERS], validate=True))
    except ValueError:
        media_type = None
    if media_type is None or len(b64) % 4:
        raise Fault(
            "an answer whose picture is none, or only a part of one", vendor_request_id=vendor_request_id
        )
    return Picture(b64, media_type, revised_prompt)


def no_picture(usage: Usage | None, vendor_request_id: str | None, reason: str = "") -> PortError:
    """What an answer without pictures means: billed where it tells usage, else nobody knows."""
    detail = f"an answer without pictures: {reason or 'no reason'}"
    if usage:
        return NoPicture(usage, detail, vendor_request_id=vendor_request_id)
    return Fault(detail, vendor_request_id=vendor_request_id)


_Row = TypeVar("_Row")


def read_list(body: bytes, kind: type[_Row]) -> _Row:
    """A vendor's list, decoded. Raises Fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"a list that cannot be read: {error}") from error


def moment(told: str | float | None) -> int | None:
    """What vendors call a time: RFC 3339, a day, or epoch seconds. Raises Fault."""
    if not isinstance(told, str):
        return None if told is None else int(told)
    try:
        at = datetime.fromisoformat(told)
    except ValueError as error:
        raise Fault(f"a list with a time that is none: {told[:50]!r}") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def error_by_status(
    status: int,
    message: str,
    *,
    param: str | None = None,
    retry_after: int | None = None,
    vendor_request_id: str | None = None,
) -> PortError:
    """What a complete answer with an HTTP status means where no vendor says otherwise; a wire's `ERRORS` goes
    first.

    A redirect is a fault: a paid POST is never sent twice.
    """
    if status in (401, 403):
        return BadCredential(message, vendor_request_id=vendor_request_id)
    if status == 402:
        return OutOfCredit(message, vendor_request_id=vendor_request_id)
    if status == 404:
        return Retired(message, vendor_request_id=vendor_request_id)
    if status in (429, 529):
        return Throttled(message, retry_after=retry_after, vendor_request_id=vendor_request_id)
    if 400 <= status < 500 and status != 408:
        fit = status if status in (413, 422) else 400
        return Rejected(message, param=param, status=fit, vendor_request_id=vendor_request_id)
    told = status if status >= 500 else None
    return Fault(f"status {status}: {message}", status=told, vendor_request_id=vendor_request_id)
