"""Named tasks of analysis: a question that we put to Claude in our words, and an answer in a shape that programs can
rely on.

A task is a Messages request like any other: held, sent, settled once, generally available. A picture that is compared
with a stored table is looked at twice. The first call reads what tells the product from others, and has a hold of its
own; the rows that may be meant go with the second. The second's hold is made first: it is the idempotency record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.core.catalogue import Cost
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.guardrails import category_of
from rollout.core.holds import Actual, StoredResult
from rollout.core.prices import actual_message_cost
from rollout.core.products import MAX_CANDIDATE_BYTES, Product
from rollout.core.tasks import (
    READING,
    Picture,
    Task,
    TaskRequest,
    Unusable,
    message_of,
    read_answer,
    result_of,
    schema_of,
    texts_of,
)
from rollout.errors import (
    InvalidRequest,
    PayloadTooLarge,
    RolloutError,
    UpstreamFailed,
)
from rollout.providers.base import Providers, Refused
from rollout.services import calls, upstream
from rollout.services.analysis_results import AnalysisResults
from rollout.services.analyze import OUR_HEADERS, Analyze
from rollout.services.calls import Call, Told
from rollout.services.features import Features
from rollout.services.ids import NewId
from rollout.services.ledger import Held, Ledger
from rollout.services.pass_through import (
    Answer,
    Asked,
    Unbooked,
    Work,
    charge,
    point_of,
    refusals_settled,
    shown,
)
from rollout.services.product_tables import ProductTables
from rollout.services.routing import Routing
from rollout.services.task_pictures import TaskPictures
from rollout.services.upstream import Outcome


@functools.cache
def load(name: str) -> Task:
    """The task as the package carries it: `prompts/NAME.toml`, and its schema in `NAME.json`."""
    folder = files("rollout.services") / "prompts"
    told = tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
    schema = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return Task(name, told["version"], told["prompt"], schema, told["max_tokens"])


@dataclass(frozen=True)
class Performed:
    """`answer` as callers get it."""

    answer: Mapping[str, Any]
    told: Told


@dataclass(frozen=True)
class _Job:
    """A task with its pictures in hand, and the id that its answer will have."""

    id: str
    call: Call
    decision: Decision
    request: TaskRequest
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class _Step:
    """One call to the vendor."""

    task: Task
    work: Work
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class _Spent:
    """What calls to the vendor came to."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd_micro: int = 0

    def plus(self, other: _Spent) -> _Spent:
        return _Spent(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd_micro + other.usd_micro,
        )


class Tasks(Analyze):
    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        routing: Routing,
        providers: Providers,
        new_id: NewId,
        *,
        secret: bytes,
        pictures: TaskPictures,
        tables: ProductTables,
        results: AnalysisResults,
    ) -> None:
        super().__init__(features, ledger, routing, providers, new_id, secret=secret)
        self._pictures, self._tables, self._results = pictures, tables, results

    def perform(self, call: Call, request: TaskRequest) -> Performed:
        """The answer, now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            pictures = self._pictures.read(call.tenant_id, request)
            job = _Job(self._new_id("anl"), call, decision, request, pictures)
            table_id = request.product_table
            to_come = 0 if table_id is None else 2 * MAX_CANDIDATE_BYTES
            step = self._step(job, load(request.task), request.products or (), to_come)
            with self._booking(step.work, analysis_id=job.id, dispatch=table_id is None) as held:
                if held.replay is not None:
                    return _told(held.replay, calls.told_again(held.replay, held.limits, held.now))
                if table_id is None:
                    outcome.dispatched(held.id, step.work.headers)
                    result = self._answered(job, step, held, _Spent())
                else:
                    result = self._compared(job, step, held, outcome, table_id)
            self._check_not_withheld(step.work)
            return _told(result, Told(step.work.headers, held.limits, held.now))

    def _compared(
        self, job: _Job, step: _Step, held: Held | Unbooked, outcome: Outcome, table_id: str
    ) -> StoredResult:
        """The two calls of a comparison with a stored table; one, where no row has a word of what was read."""
        self._tables.get(job.call.tenant_id, table_id)
        reading, spent = self._reading(job, outcome)
        products = self._tables.likely(job.call.tenant_id, table_id, texts_of(reading))
        if not products:
            held.dispatch()
            unasked = Actual(Cost(0, "price_list", step.work.maximum.price_id), 0)
            return self._kept(job, step, held, unasked, {**reading, "matches": [], "best": None}, spent)
        step = self._step(job, step.task, products)
        held.dispatch()
        outcome.dispatched(held.id, step.work.headers)
        return self._answered(job, step, held, spent)

    def _reading(self, job: _Job, outcome: Outcome) -> tuple[dict[str, Any], _Spent]:
        """What tells the product from others. It counts as money, not as another request."""
        without_key = dataclasses.replace(job, call=dataclasses.replace(job.call, idem_key=None))
        step = self._step(without_key, load(READING))
        with self._booking(step.work, amounts={"request": 0, "slot": 0}) as held:
            outcome.dispatched(held.id, step.work.headers)
            answer, actual, spent = _sent(step, held)
            charge(step.work, held, actual, None, None)
        try:
            return read_answer(answer.body, step.schema), spent
        except Unusable as why:
            raise _unusable(str(why), step.work.headers) from why

    def _answered(self, job: _Job, step: _Step, held: Held | Unbooked, before: _Spent) -> StoredResult:
        """The task's own call. An answer that cannot be used is charged, and said to be so."""
        answer, actual, spent = _sent(step, held)
        try:
            value = result_of(step.task, read_answer(answer.body, step.schema), job.pictures)
        except Unusable as why:
            result = StoredResult(502, step.work.headers, {"why": str(why)})
            charge(step.work, held, actual, result, None)
            return result
        return self._kept(job, step, held, actual, value, before.plus(spent))

    def _kept(
        self,
        job: _Job,
        step: _Step,
        held: Held | Unbooked,
        actual: Actual,
        value: Mapping[str, Any],
        spent: _Spent,
    ) -> StoredResult:
        """Charge the work, and write down its answer in the same transaction."""
        answer = {
            "id": job.id,
            "task": step.task.name,
            "version": step.task.version,
            "model": step.work.resolved.model.name,
            "result": value,
            "usage": {"input_tokens": spent.input_tokens, "output_tokens": spent.output_tokens},
            "cost_usd_micro": spent.usd_micro,
        }
        result = StoredResult(200, step.work.headers, {"answer": answer})
        charge(step.work, held, actual, result, self._results.kept(job.call.tenant_id, answer))
        return result

    def _step(self, job: _Job, task: Task, products: Sequence[Product] = (), to_come: int = 0) -> _Step:
        """The task's request, checked against the model; `to_come`: bytes that it will grow by, which its worst cost
        counts."""
        members = message_of(task, job.request, job.pictures, products)
        size = sum(len(memoryview(value)) for value in members.values())
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"The pictures together have more than {MAX_BODY_BYTES:,} bytes.", param="images"
            )
        with _as_options():
            work = self._prepare(job.call, job.decision, Asked(members, size + to_come, OUR_HEADERS))
            _check_model(work, job.request, task)
        return _Step(task, work, schema_of(task, len(job.pictures), [product.id for product in products]))


def _sent(step: _Step, held: Held | Unbooked) -> tuple[Answer, Actual, _Spent]:
    """The vendor's answer, and what it comes to. A refusal is settled, and raised."""
    work = step.work
    with refusals_settled(work, held):
        answer = upstream.send(work.resolved.model, work.create)
        usage = answer.usage
        if answer.refusal is not None:
            raise Refused(
                category_of(answer.refusal),
                usage=usage,
                vendor_request_id=answer.vendor_request_id,
                point=point_of(usage),
                vendor_code=answer.refusal,
            )
    cost = actual_message_cost(work.resolved.model, usage, work.maximum)
    spent = _Spent(usd_micro=cost.usd_micro)
    if usage is not None:
        tokens_in = usage.input + usage.cache_write + usage.cache_read
        spent = _Spent(tokens_in, usage.output, cost.usd_micro)
    return answer, Actual(cost, 0, shown(usage), answer.vendor_request_id), spent


def _told(result: StoredResult, told: Told) -> Performed:
    """What is stored, as it is answered: the first time and on every replay. Raises ContentRefused, UpstreamFailed."""
    if result.status == 400:
        raise upstream.refusal(result.body["category"], told.headers)
    if result.status != 200:
        raise _unusable(result.body["why"], told.headers)
    return Performed(result.body["answer"], told)


def _unusable(why: str, headers: Mapping[str, str]) -> UpstreamFailed:
    error = UpstreamFailed(
        f"{why} It is charged.",
        remedy="Ask for less at once: fewer pictures, or a narrower question. Asking again is another analysis.",
        headers=headers,
    )
    error.should_retry = False
    return error


def _check_model(work: Work, request: TaskRequest, task: Task) -> None:
    """Raises InvalidRequest for what this model cannot do."""
    model = work.resolved.model
    if not model.structured_outputs:
        raise InvalidRequest(f"{model.name} does not answer by a schema, as tasks need.", param="model")
    if model.max_tokens and task.max_tokens + request.room > model.max_tokens:
        raise InvalidRequest(
            f"`options.thinking.budget_tokens` is at most {model.max_tokens - task.max_tokens} for this task on {model.name}.",
            param="thinking.budget_tokens",
        )


@contextlib.contextmanager
def _as_options() -> Iterator[None]:
    """What is wrong with a member of the Messages request is wrong with an option of the task."""
    try:
        yield
    except RolloutError as error:
        param = str(error.members.get("param", ""))
        if param.partition(".")[0] in ("model", "thinking"):
            error.members["param"] = f"options.{param}"
        raise
