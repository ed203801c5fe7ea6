"""Claude is asked something beside a generation, answers by a schema, and within a time.

Each question has its own hold on the tenant's analysis meters and a place of the analysis bulkhead. Failure behaviour: open.
Whatever goes wrong is a reason to go on without the answer (`Skipped`); a call that is late goes on by itself, so that it is
charged what it cost, once.
"""

from __future__ import annotations

import contextvars
import dataclasses
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

import msgspec
import structlog

from rollout.errors import RolloutError
from rollout.services.admission import Admission
from rollout.services.analyze import Analyze
from rollout.services.calls import Call
from rollout.services.pass_through import Asked

T = TypeVar("T")

log = structlog.get_logger()

VENDOR_HEADERS = {"anthropic-version": "2026-10-21"}
QUESTIONS = ("refine", "evaluate")


@dataclass(frozen=True)
class Question:
    """A versioned prompt with the JSON schema of its answer; `seconds` is how long the answer is waited for."""

    name: str
    version: int
    model: str
    max_tokens: int
    seconds: float
    prompt: str
    schema: Mapping[str, Any]


def load(name: str) -> Question:
    """The question in `prompts/<name>.toml`, with the schema beside it."""
    folder = files("rollout.services") / "prompts"
    told = tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
    schema = msgspec.json.decode((folder / f"{name}.json").read_bytes())
    return Question(name=name, schema=schema, **told)


class Skipped(Exception):
    """There is no answer; `reason` is a word for the caller: an error's code, late, cut_short, unreadable, too_long or failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None


class Asking:
    def __init__(self, analyze: Analyze, admission: Admission) -> None:
        self._analyze, self._admission = analyze, admission

    def ask(self, call: Call, question: Question, content: Sequence[Mapping[str, Any]], answer: type[T]) -> T:
        """Claude's answer to the question about `content`, blocks of a message. Raises Skipped."""
        if "analyze" not in call.identity.key.scopes:
            raise Skipped("permission_denied")
        try:
            place = self._admission.take("analysis")
            pending = _begun(lambda: self._analyze.run(*_asked(call, question, content)).body, place.leave)
            body = pending.result(question.seconds)
        except TimeoutError:
            raise Skipped("late") from None
        except RolloutError as error:
            raise Skipped(error.code) from error
        except Exception as error:
            log.exception("question_failed", question=question.name, error=repr(error))
            raise Skipped("failed") from error
        return _read(body, answer)


def _begun(work: Callable[[], bytes], afterwards: Callable[[], None]) -> Future[bytes]:
    """The work in a thread of its own: nobody can stop a call to a vendor, only stop waiting for it."""
    pending: Future[bytes] = Future()

    def run() -> None:
        try:
            pending.set_result(work())
        except BaseException as error:
            pending.set_exception(error)
        finally:
            afterwards()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="question", daemon=True).start()
    return pending


def _asked(call: Call, question: Question, content: Sequence[Mapping[str, Any]]) -> tuple[Call, Asked]:
    """The call as one for an analysis: of the same caller, found by a request id of its own."""
    members = {
        "model": question.model,
        "max_tokens": question.max_tokens,
        "system": question.prompt,
        "messages": [{"role": "user", "content": content}],
        "output_config": {"format": {"type": "json_schema", "schema": question.schema}},
    }
    encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}
    size = sum(len(bytes(value)) for value in encoded.values())
    own = dataclasses.replace(
        call, request_id=request_id(call.request_id, question.name), idem_key=None, is_retry=False
    )
    return own, Asked(encoded, size, VENDOR_HEADERS)


def request_id(request_id: str, question: str) -> str:
    """By which request the question about a request was asked."""
    return f"{request_id}.{question}"


def _read(body: bytes, answer: type[T]) -> T:
    """Raises Skipped for an answer that is none."""
    try:
        message = msgspec.json.decode(body, type=_Message)
        if message.stop_reason == "refusal":
            raise Skipped("content_refused")
        if message.stop_reason == "max_tokens":
            raise Skipped("cut_short")
        text = "".join(block.text for block in message.content if block.type == "text")
        return msgspec.json.decode(text, type=answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Skipped("unreadable") from error
