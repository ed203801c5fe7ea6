"""Generate pictures: decision, model, request, worst cost, hold, vendor, store, settle, answer.

Failure behaviour: closed. Without a decision, a price or the books nothing is started. Once the
vendor may have the call, every way out leaves a hold that is settled, void by the vendor's own
word, or unknown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import msgspec

from rollout.core import rehearsal
from rollout.core.catalogue import Cost, Resolved
from rollout.core.decisions import GENERATION, Decision
from rollout.core.extensions import NONE, Extensions
from rollout.core.feedback import check_end_user
from rollout.core.generation_jobs import Generated, raised
from rollout.core.holds import HoldRequest, StoredResult
from rollout.core.images import (
    Finished,
    ImageRequest,
    Member,
    Operation,
    Partial,
    parse_image_request,
)
from rollout.core.input_images import Upload
from rollout.core.meters import Unit
from rollout.core.prices import maximum_image_cost
from rollout.core.uses import Generation
from rollout.db import generations
from rollout.db.engine import Tx
from rollout.errors import (
    FeatureKilled,
    InvalidRequest,
    OutcomeUnknown,
    RequestInProgress,
    ResultPurged,
    StillRunning,
)
from rollout.providers.base import Fault, ImageCall, Providers
from rollout.providers.base import Images as ImagesPort
from rollout.services import calls, upstream
from rollout.services.calls import Call, Delivery, Opened, Told
from rollout.services.evaluate import Evaluate
from rollout.services.features import Features
from rollout.services.generation_jobs import GenerationJobs
from rollout.services.generations import Generations
from rollout.services.ids import NewId
from rollout.services.joins import Joins
from rollout.services.ledger import Held, Ledger
from rollout.services.refine import Refine, Rewrite, longest, rewritten
from rollout.services.results import WITHHELD, Delivered, Results, Work
from rollout.services.routing import Routing, Tries

DEFAULT_MODEL = "gpt-image-2.5-flare"
"""Answers a request that names no model."""


@dataclass(frozen=True)
class Asked:
    """A request for pictures as it was sent: `members` but `rollout`, and the files of a form."""

    operation: Operation
    members: Mapping[str, Member]
    images: Sequence[Upload] = ()
    mask: Upload | None = None
    extensions: Extensions = NONE


@dataclass(frozen=True)
class Preview:
    """A picture on its way, and the request that it belongs to; `at` in UTC epoch seconds."""

    partial: Partial
    request: ImageRequest
    at: int


@dataclass(frozen=True)
class _Accepted:
    """A request that has passed every check before the hold."""

    call: Call
    decision: Decision
    resolved: Resolved
    maximum: Cost
    vendor: str
    work: Work
    rewrite: Rewrite


class Generate:
    """`secret` keys what vendors learn of end users; `sync_wait` is for how many seconds a caller waits for a job."""

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        joins: Joins,
        routing: Routing,
        providers: Providers,
        results: Results,
        refine: Refine,
        evaluate: Evaluate,
        jobs: GenerationJobs,
        generations: Generations,
        new_id: NewId,
        *,
        secret: bytes,
        sync_wait: float,
    ) -> None:
        self._features, self._ledger, self._joins, self._routing = features, ledger, joins, routing
        self._providers, self._results, self._new_id, self._secret = providers, results, new_id, secret
        self._refine, self._evaluate = refine, evaluate
        self._jobs, self._generations, self._sync_wait = jobs, generations, sync_wait

    def run(self, call: Call, asked: Asked) -> Delivered:
        """The pictures, made now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, GENERATION)
        with upstream.outcome(decision) as outcome:
            tries = self._tries(call, decision, asked)
            while True:
                with tries.next() as accepted:
                    if accepted.work.model.is_async:
                        return self._awaited(accepted)
                    return self._made(accepted, outcome)

    def _made(self, accepted: _Accepted, outcome: upstream.Outcome) -> Delivered:
        with self._begun(accepted) as held:
            if isinstance(held, Delivered):
                return held
            accepted = self._dispatched(accepted, held)
            work = accepted.work
            outcome.dispatched(held.id, work.headers)
            told, delivery = self._told(accepted, held)
            with self._results.failures_settled(work, held), delivery.watched():
                port = self._port(accepted)
                finished = upstream.send(work.model, lambda: port.generate(work.to_send))
            delivered = self._results.settle(work, held, told, finished)
        self._check_not_withheld(accepted)
        with delivery.watched():
            return self._evaluate.judged(accepted.call, accepted.decision, work, delivered)

    def queue(self, call: Call, asked: Asked) -> tuple[Generated, Told]:
        """The generation that a job makes, or that an earlier try with the same Idempotency-Key began. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, GENERATION)
        with upstream.outcome(decision):
            with self._tries(call, decision, asked).next() as accepted:
                pass  # who makes it is decided now; its job asks nobody else
            if accepted.work.request.stream:
                raise InvalidRequest(
                    "A job has no `stream` of pictures.", param="stream", remedy="Follow its `events`."
                )
            try:
                held = self._left(accepted)
            except (RequestInProgress, OutcomeUnknown, ResultPurged) as earlier:
                told = Told(accepted.work.headers, (), 0)
                return self._generations.of_hold(call.tenant_id, earlier.members["hold_id"]), told
            headers = held.replay.headers if held.replay else accepted.work.headers
            return self._generations.of_hold(call.tenant_id, held.id), Told(headers, held.limits, held.now)

    def stream(self, call: Call, asked: Asked) -> Opened[Preview | Delivered]:
        """Partial pictures, then the Delivered, which comes only once it is settled. Raises
        RolloutError, also while iterating."""
        return Opened(self._parts(call, asked))

    def _parts(self, call: Call, asked: Asked) -> Iterator[Told | Preview | Delivered]:
        decision = calls.decide(self._features, call.identity, GENERATION)
        with upstream.outcome(decision) as outcome:
            tries = self._tries(call, decision, asked)
            while True:
                with tries.next() as accepted:
                    for part in self._parts_of(accepted, outcome):
                        if isinstance(part, Preview):
                            tries.answered()
                        yield part
                    return

    def _parts_of(
        self, accepted: _Accepted, outcome: upstream.Outcome
    ) -> Iterator[Told | Preview | Delivered]:
        with self._begun(accepted) as held:
            if isinstance(held, Delivered):
                yield held.told
                yield held
                return
            accepted = self._dispatched(accepted, held)
            outcome.dispatched(held.id, accepted.work.headers)
            told, delivery = self._told(accepted, held)
            yield told
            finished = yield from self._passed_on(accepted, held, delivery)
            delivered = self._results.settle(accepted.work, held, told, finished)
        self._check_not_withheld(accepted)
        if accepted.work.extensions.evaluate:
            self._evaluate.judge_later(accepted.call, accepted.decision, accepted.work, delivered)
        yield delivered

    def _tries(self, call: Call, decision: Decision, asked: Asked) -> Tries[_Accepted]:
        """Who may answer, in order, each with what it is asked for. Raises RolloutError."""
        wanted = self._routing.resolve(call, decision, _model_name(asked.members))
        rewrite = cache(lambda prompt: self._refine.prompt(call, prompt))  # once, whoever answers
        return self._routing.tries(
            call,
            decision,
            wanted,
            lambda resolved: self._accept(call, decision, asked, resolved, rewrite),
            others=asked.extensions.fallback,
        )

    def _accept(
        self, call: Call, decision: Decision, asked: Asked, resolved: Resolved, rewrite: Rewrite
    ) -> _Accepted:
        """The request after every check that needs no hold. Raises RolloutError."""
        request = parse_image_request(
            asked.operation, asked.members, asked.images, asked.mask, resolved.model
        )
        if call.is_test:
            rehearsal.check(request.prompt, decision.id)
        end_user = call.end_user or request.end_user
        ports = self._providers.tasks if resolved.model.is_async else self._providers.images
        vendor, _ = ports(resolved.model, test=call.is_test)
        work = Work(
            tenant_id=call.tenant_id,
            generation_id=self._new_id("gen"),
            end_user=check_end_user(end_user) if end_user else None,
            to_send=ImageCall(resolved.model, request, call.upstream_user(self._secret, end_user)),
            headers=calls.headers(call, decision, resolved, vendor, request.warnings),
            asked_for=request.prompt,
            extensions=asked.extensions,
        )
        dearest = longest(request) if asked.extensions.refine_prompt else request
        maximum = maximum_image_cost(resolved.model, dearest)
        return _Accepted(call, decision, resolved, maximum, vendor, work, rewrite)

    @contextlib.contextmanager
    def _begun(self, accepted: _Accepted) -> Iterator[Held | Delivered]:
        """The work's hold, or the answer that an earlier try of the same call has brought."""
        if (joined := self._joined(accepted.call)) is not None:
            yield joined
            return
        with self._ledger.hold(_hold_request(accepted), also=_recorded(accepted)) as held:
            yield self._replayed(accepted.call, held) or held

    def _awaited(self, accepted: _Accepted) -> Delivered:
        """The pictures of a vendor that works by tasks: made by a job, and waited for as long as callers have patience."""
        if (joined := self._joined(accepted.call)) is not None:
            return joined
        held = self._left(accepted)
        if (replayed := self._replayed(accepted.call, held)) is not None:
            return replayed
        told, delivery = self._told(accepted, held)
        with delivery.watched():
            found = self._generations.wait(accepted.work.generation_id, self._sync_wait)
        if found.is_going_on:
            delivery.lost()
            raise StillRunning(generation=found.generation.id, headers=told.headers)
        if found.status != "succeeded" or found.hold.result is None:
            raise raised(found, told.headers)
        return self._evaluate.once_judged(
            self._results.replayed(accepted.call.tenant_id, found.hold.result, told)
        )

    def _joined(self, call: Call) -> Delivered | None:
        """The answer that this retry lacks."""
        if (joined := self._joins.find(call)) is None:
            return None
        return self._again(call, joined.result, calls.told_again(joined.result, (), 0, joined.delivery))

    def _replayed(self, call: Call, held: Held) -> Delivered | None:
        """The answer to the first call with this Idempotency-Key."""
        if held.replay is None:
            return None
        return self._again(call, held.replay, calls.told_again(held.replay, held.limits, held.now))

    def _again(self, call: Call, result: StoredResult, told: Told) -> Delivered:
        return self._evaluate.again(self._results.replayed(call.tenant_id, result, told))

    def _left(self, accepted: _Accepted) -> Held:
        """The work's hold, left to a job with all that it takes; or that of an earlier try."""
        recorded = _recorded(accepted)
        left = self._jobs.left(accepted.work, accepted.vendor)

        def write(tx: Tx, hold_id: str, now: int) -> None:
            recorded(tx, hold_id, now)
            left(tx, hold_id, now)

        return self._ledger.reserve(_hold_request(accepted), also=write)

    def _dispatched(self, accepted: _Accepted, held: Held) -> _Accepted:
        """What is sent, from now on: with the prompt that was refined, if that was asked for."""
        work = rewritten(accepted.work, accepted.rewrite)
        held.dispatch()
        return replace(accepted, work=work)

    def _passed_on(
        self, accepted: _Accepted, held: Held, delivery: Delivery
    ) -> Generator[Preview, None, Finished]:
        """Partial pictures to the caller; the finished ones are returned, to be settled before anybody
        sees them."""
        work, port, finished = accepted.work, self._port(accepted), None
        with self._results.failures_settled(work, held), delivery.watched(), contextlib.ExitStack() as stack:
            events = upstream.send(work.model, lambda: stack.enter_context(port.stream(work.to_send)))
            for event in events:
                if isinstance(event, Finished):
                    finished = event
                else:
                    yield Preview(event, work.request, held.now)
        if finished is None:
            raise Fault("the stream ended without a finished picture")
        return finished

    def _port(self, accepted: _Accepted) -> ImagesPort:
        return self._providers.images(accepted.work.model, test=accepted.call.is_test)[1]

    def _told(self, accepted: _Accepted, held: Held) -> tuple[Told, Delivery]:
        delivery = self._joins.delivery(accepted.call, held.id)
        headers = self._results.headers(accepted.work, held)
        return Told(headers, held.limits, held.now, delivery), delivery

    def _check_not_withheld(self, accepted: _Accepted) -> None:
        """Raises FeatureKilled when a kill since the decision says that running work is charged but
        not delivered."""
        vendor = accepted.work.model.vendor
        if self._features.withheld(accepted.call.identity.facts, accepted.decision, vendor):
            raise FeatureKilled(WITHHELD)


def _hold_request(accepted: _Accepted) -> HoldRequest:
    work = accepted.work
    amounts: dict[Unit, int] = {"image": work.request.n}
    request = calls.hold_request(
        accepted.call,
        accepted.decision,
        work.model,
        accepted.vendor,
        accepted.maximum,
        amounts,
        work.end_user,
    )
    return replace(request, dispatch=not work.extensions.refine_prompt)


def _recorded(accepted: _Accepted) -> Callable[[Tx, str, int], None]:
    """The generation's row, to be written with the hold."""
    work = accepted.work

    def write(tx: Tx, hold_id: str, now: int) -> None:
        facts = calls.use(accepted.call, accepted.decision, accepted.resolved, accepted.vendor, hold_id, now)
        generations.add(
            tx,
            Generation(
                id=work.generation_id,
                end_user=work.end_user,
                operation=work.request.operation,
                prompt=work.request.prompt,
                images_asked=work.request.n,
                **facts,
            ),
        )

    return write


def _model_name(members: Mapping[str, Member]) -> str:
    member = members.get("model")
    if member is None or bytes(member) == b"null":
        return DEFAULT_MODEL
    try:
        return msgspec.json.decode(member, type=str) if isinstance(member, msgspec.Raw) else member.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("`model` must be a string.", param="model") from None
