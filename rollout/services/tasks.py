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

from rollout.blobs.base import Blobs
from rollout.core.analyses import MAX_BODY_BYTES
from rollout.core.catalogue import Cost
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.guardrails import category_of
from rollout.core.holds import Actual, StoredResult
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.prices import actual_message_cost
from rollout.core.products import MAX_CANDIDATE_BYTES, Product
from rollout.core.tasks import (
    READING,
    AnalysisResult,
    Given,
    Picture,
    Task,
    TaskRequest,
    Unusable,
    in_base64,
    message_of,
    picture_at,
    read_answer,
    read_picture,
    result_of,
    schema_of,
    texts_of,
)
from rollout.core.uses import StoredImage
from rollout.db import analyses, analysis_results, generations, images
from rollout.db.engine import Database, Tx
from rollout.errors import (
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    ResultPurged,
    RolloutError,
    UpstreamFailed,
)
from rollout.providers.base import Providers, Refused
from rollout.services import calls, upstream
from rollout.services.analyze import Analyze
from rollout.services.calls import Call, Told
from rollout.services.features import Features
from rollout.services.ids import NewId
from rollout.services.ledger import Held, Ledger
from rollout.services.pass_through import Answer, Asked, Unbooked, Work, charge, refusals_settled, shown
from rollout.services.product_tables import ProductTables
from rollout.services.routing import Routing
from rollout.services.shrinking import shrunk
from rollout.services.upstream import Outcome

FORGOTTEN_AT_ONCE = 500
_HEADERS = {"anthropic-version": "2026-10-21"}


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

    def and_(self, other: _Spent) -> _Spent:
        return _Spent(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd_micro + other.usd_micro,
        )


class Tasks(Analyze):
    """`retention_days` is how long answers are kept."""

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        routing: Routing,
        providers: Providers,
        new_id: NewId,
        *,
        secret: bytes,
        database: Database,
        blobs: Blobs,
        tables: ProductTables,
        retention_days: int,
    ) -> None:
        super().__init__(features, ledger, routing, providers, new_id, secret=secret)
        self._database, self._blobs, self._tables = database, blobs, tables
        self._retention = retention_days * 86_400

    # -- asking --------------------------------------------------------------------------------------------------------

    def perform(self, call: Call, request: TaskRequest) -> Performed:
        """The answer, now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            job = _Job(self._new_id("anl"), call, decision, request, self._pictures(call.tenant_id, request))
            table_id = request.product_table
            step = self._step(job, load(request.task), request.products or ())
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
        held.dispatch()
        if not products:
            value = {**reading, "matches": [], "best": None}
            return self._kept(job, step, held, Actual(_nothing(step.work), 0), value, spent)
        step = self._step(job, step.task, products)
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
        return self._kept(job, step, held, actual, value, before.and_(spent))

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

        def keep(tx: Tx, now: int) -> None:
            kept = AnalysisResult(
                job.call.tenant_id, job.id, step.task.name, answer, now, now + self._retention
            )
            analysis_results.add(tx, kept)

        result = StoredResult(200, step.work.headers, {"answer": answer})
        charge(step.work, held, actual, result, keep)
        return result

    def _step(self, job: _Job, task: Task, products: Sequence[Product] = ()) -> _Step:
        """The task's request, checked against the model. What rows of a stored table will add is in its worst cost."""
        members = message_of(task, job.request, job.pictures, products)
        size = sum(len(memoryview(value)) for value in members.values())
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"The pictures together have more than {MAX_BODY_BYTES:,} bytes.", param="images"
            )
        to_come = 0 if job.request.product_table is None else 2 * MAX_CANDIDATE_BYTES
        with _as_options():
            work = self._prepare(job.call, job.decision, Asked(members, size + to_come, _HEADERS))
            _check_model(work, job.request, task)
        return _Step(task, work, schema_of(task, len(job.pictures), [product.id for product in products]))

    # -- pictures ------------------------------------------------------------------------------------------------------

    def _pictures(self, tenant_id: str, request: TaskRequest) -> list[Picture]:
        exact = request.task == "detect_objects"
        return [
            self._picture(tenant_id, given, f"images.{index}", exact=exact)
            for index, given in enumerate(request.images)
        ]

    def _picture(self, tenant_id: str, given: Given, param: str, *, exact: bool) -> Picture:
        """`exact`: positions in it will be told, so the vendor must see the very pixels that it is sent."""
        if given.url is not None:
            return picture_at(given.url, f"{param}.url")
        own = given.generation
        image = (
            read_picture(given, param) if own is None else self._own(tenant_id, own, f"{param}.generation")
        )
        sent = shrunk(image, param) if exact else image
        source = in_base64(sent.data, sent.media_type)
        return Picture(source, (image.width, image.height), (sent.width, sent.height))

    def _own(self, tenant_id: str, name: str, param: str) -> InputImage:
        """The tenant's picture of that id, or the first one of its generation. Raises NotFound, ResultPurged."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = _find(tx, tenant_id, name)
            if found is None and not _was_made(tx, tenant_id, name):
                raise NotFound(f"You have no picture {name[:100]!r}.", param=param)
        data = self._blobs.get(found.sha256) if found is not None and found.expires_at > now else None
        if data is None:
            raise ResultPurged("This picture is no longer kept.", param=param)
        return InputImage(data, *media_type_and_size(data, param))

    # -- what was answered ---------------------------------------------------------------------------------------------

    def get(self, tenant_id: str, analysis_id: str) -> AnalysisResult:
        """Raises NotFound, ResultPurged."""
        with self._database.read() as tx:
            found = analysis_results.get(tx, tenant_id, analysis_id)
            known = found is not None or analyses.is_of(tx, tenant_id, analysis_id)
            now = self._database.now(tx)
        if not known:
            raise _not_found(analysis_id)
        if found is None or found.expires_at <= now:
            raise ResultPurged(
                "This answer is no longer kept.", remedy="Ask again; answers are kept for a time."
            )
        return found

    def find(self, analysis_id: str) -> AnalysisResult:
        """Of any tenant, for admins. Raises NotFound."""
        with self._database.read() as tx:
            found = analysis_results.find(tx, analysis_id)
        if found is None:
            raise _not_found(analysis_id)
        return found

    def page(
        self, *, tenant: str, task: str | None = None, cursor: str | None, limit: int
    ) -> list[AnalysisResult]:
        """Newest first, from before the id `cursor`."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            return analysis_results.page(tx, tenant, task=task, before=cursor, now=now, limit=limit)

    def purge(self) -> None:
        """Forget answers whose time is over."""
        gone = FORGOTTEN_AT_ONCE
        while gone >= FORGOTTEN_AT_ONCE:
            with self._database.write() as tx:
                gone = analysis_results.forget(tx, self._database.now(tx), FORGOTTEN_AT_ONCE)


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


def _nothing(work: Work) -> Cost:
    return Cost(0, "price_list", work.maximum.price_id)


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


def _find(tx: Tx, tenant_id: str, name: str) -> StoredImage | None:
    if name.startswith("img_"):
        return images.get(tx, tenant_id, name)
    return next(iter(images.of_generation(tx, tenant_id, name)), None)


def _was_made(tx: Tx, tenant_id: str, name: str) -> bool:
    generation = generations.find(tx, name)
    return generation is not None and generation.tenant_id == tenant_id


def _not_found(analysis_id: str) -> NotFound:
    return NotFound(f"There is no analysis {analysis_id[:100]!r}.", param="id")
