"""Claude is asked something beside a generation, answers by a schema, and within a time.

Each question has its own hold on the tenant's analysis meters and a place of the analysis bulkhead. Failure behaviour: open.
Whatever goes wrong is a reason to go on without the answer (`Skipped`); a call that is late goes on by itself, so that it is
charged what it cost, once.
"""

from __future__ import annotations

import contextvars
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.core.tasks import Task, Unusable, read_answer
from rollout.core.wire import read_message
from rollout.errors import ContentRefused, PayloadTooLarge, PermissionDenied, RolloutError
from rollout.services.admission import Admission
from rollout.services.analyze import OUR_HEADERS, Analyze
from rollout.services.calls import Call
from rollout.services.pass_through import Asked

T = TypeVar("T")

log = structlog.get_logger()

MODEL = "claude-sonnet-5-5"
"""Who is asked: a name of the catalogue, which says who answers to it."""


@dataclass(frozen=True)
class Question:
    """A task of our own; `seconds` is how long its answer is waited for."""

    task: Task
    seconds: float


class Skipped(Exception):
    """There is no answer; `reason` is a word for the caller: an error's code, late, unreadable, too_long or failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Asking:
    def __init__(self, analyze: Analyze, admission: Admission) -> None:
        self._analyze, self._admission = analyze, admission

    def ask(self, call: Call, question: Question, content: Sequence[Mapping[str, Any]], answer: type[T]) -> T:
        """Claude's answer to the question about `content`, blocks of a message. Raises Skipped."""
        if "analyze" not in call.identity.key.scopes:
            raise Skipped(PermissionDenied.code)
        own, asked = _asked(call, question, content)
        if asked.body_bytes > MAX_BODY_BYTES:
            raise Skipped(PayloadTooLarge.code)
        try:
            place = self._admission.take("analysis")
            pending = _begun(lambda: self._analyze.run(own, asked).body, place.leave)
            return _read(pending.result(question.seconds), question.task, answer)
        except Skipped:
            raise
        except TimeoutError:
            raise Skipped("late") from None
        except RolloutError as error:
            raise Skipped(error.code) from error
        except Exception as error:
            log.exception("question_failed", question=question.task.name, error=repr(error))
            raise Skipped("failed") from error


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
    task = question.task
    members = {
        "model": MODEL,
        "max_tokens": task.max_tokens,
        "system": task.prompt,
        "messages": [{"role": "user", "content": content}],
        "output_config": {"format": {"type": "json_schema", "schema": task.schema}},
    }
    encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}
    size = sum(len(memoryview(value)) for value in encoded.values())
    own = dataclasses.replace(
        call, request_id=request_id(call.request_id, task.name), idem_key=None, is_retry=False
    )
    return own, Asked(encoded, size, OUR_HEADERS)


def request_id(of: str, question: str) -> str:
    """By which request the question about another one was asked."""
    return f"{of}.{question}"


def _read(body: bytes, task: Task, answer: type[T]) -> T:
    """Raises Skipped for an answer that is none."""
    if read_message(body)[1] == "refusal":
        raise Skipped(ContentRefused.code)
    try:
        return msgspec.convert(read_answer(body, task.schema), answer)
    except (Unusable, msgspec.ValidationError) as error:
        raise Skipped("unreadable") from error
