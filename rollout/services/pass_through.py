"""An analysis by pass-through: what the caller sent goes to the vendor as it came, and the answer comes back as it
came. What all surfaces of it share; a surface says how its requests are read (`_prepare`).

Generally available: only a kill or a halt stops it, never generation's plan or quota. Failure
behaviour: open. While the books are away, tenants that are known to this worker go on; what could
not be booked is logged as `analysis_unbooked`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec
import structlog

from rollout.core.catalogue import Cost, Resolved, Usage
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.feedback import check_end_user
from rollout.core.guardrails import Category, Point, category_of
from rollout.core.holds import Actual, StoredResult
from rollout.core.meters import Limit, Unit
from rollout.core.prices import actual_message_cost
from rollout.core.uses import Analysis
from rollout.db import analyses
from rollout.db.engine import Tx
from rollout.errors import FeatureKilled, LedgerUnavailable, ModelNotFound
from rollout.providers.base import Providers, Refused
from rollout.services import calls, upstream
from rollout.services.calls import Call, Opened, Told
from rollout.services.features import Features
from rollout.services.guardrails import noted
from rollout.services.ids import NewId
from rollout.services.ledger import Held, Ledger
from rollout.services.routing import Routing
from rollout.services.writer import Also

log = structlog.get_logger()

ROUTES = {"anthropic": "POST /v1/messages", "openai_chat": "POST /v1/chat/completions"}
"""By wire, the route by which models that analyse are asked."""


@dataclass(frozen=True)
class Asked:
    """A request as it was sent: the body's members, its size, and the headers that go on to the vendor."""

    members: Mapping[str, msgspec.Raw]
    body_bytes: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """The vendor's answer, byte for byte."""

    body: bytes
    told: Told


class Answer(Protocol):
    """A vendor's whole answer; `refusal` is its word when it refused the content, which stays an answer."""

    @property
    def body(self) -> bytes: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def refusal(self) -> str | None: ...
    @property
    def vendor_request_id(self) -> str | None: ...


class Event(Protocol):
    """A part of a stream; `usage` is cumulative. An empty `raw` is not for the caller; the one that `is_last` waits
    for the settle."""

    @property
    def raw(self) -> bytes: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def refusal(self) -> str | None: ...
    @property
    def is_last(self) -> bool: ...


@dataclass(frozen=True)
class Work:
    """A request that has passed every check before the hold; `create` and `stream` call the vendor with it."""

    call: Call
    decision: Decision
    resolved: Resolved
    vendor: str
    maximum: Cost
    create: Callable[[], Answer]
    stream: Callable[[], AbstractContextManager[Iterator[Event]]]
    warnings: tuple[str, ...] = ()
    thinking: str | None = None

    @cached_property
    def headers(self) -> dict[str, str]:
        found = calls.headers(self.call, self.decision, self.resolved, self.vendor, self.warnings)
        return found if self.thinking is None else {**found, "x-rollout-thinking": self.thinking}

    @cached_property
    def end_user(self) -> str | None:
        """Whom the caller serves. Raises InvalidRequest."""
        return check_end_user(self.call.end_user) if self.call.end_user else None


class PassThrough(ABC):
    """`secret` keys what vendors learn of end users."""

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        routing: Routing,
        providers: Providers,
        new_id: NewId,
        *,
        secret: bytes,
    ) -> None:
        self._features, self._ledger, self._routing = features, ledger, routing
        self._providers, self._new_id, self._secret = providers, new_id, secret

    @abstractmethod
    def _prepare(self, call: Call, decision: Decision, asked: Asked) -> Work:
        """Read and check the request. Raises RolloutError, PortError."""

    def run(self, call: Call, asked: Asked) -> Answered:
        """The vendor's answer, now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked)
            with self._booking(work) as held:
                if held.replay is not None:
                    told = calls.told_again(held.replay, held.limits, held.now)
                    return Answered(_stored_text(held.replay, told), told)
                outcome.dispatched(held.id, work.headers)
                with refusals_settled(work, held):
                    answer = upstream.send(work.resolved.model, work.create)
                _settle(work, held, answer.usage, answer.vendor_request_id, answer.body, answer.refusal)
            self._check_not_withheld(work)
            return Answered(answer.body, Told(work.headers, held.limits, held.now))

    def stream(self, call: Call, asked: Asked) -> Opened[bytes]:
        """The vendor's events as they come; the last only once the analysis is settled. Raises
        RolloutError, also while iterating."""
        return Opened(self._parts(call, asked))

    def _parts(self, call: Call, asked: Asked) -> Iterator[Told | bytes]:
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked)
            with self._booking(work) as held:
                if held.replay is not None:
                    told = calls.told_again(held.replay, held.limits, held.now)
                    yield told
                    yield _stored_text(held.replay, told)
                    return
                outcome.dispatched(held.id, work.headers)
                yield Told(work.headers, held.limits, held.now)
                passed, usage, refusal = [], None, None
                with refusals_settled(work, held), contextlib.ExitStack() as stack:
                    for event in upstream.send(
                        work.resolved.model, lambda: stack.enter_context(work.stream())
                    ):
                        passed.append(event.raw)
                        usage, refusal = event.usage or usage, event.refusal or refusal
                        if event.raw and not event.is_last:
                            yield event.raw
                _settle(work, held, usage, None, b"".join(passed), refusal)
            self._check_not_withheld(work)
            yield passed[-1]

    def _resolve(self, call: Call, decision: Decision, name: str, wire: str) -> Resolved:
        """The model that answers the caller for that name. Raises ModelNotFound also for one that is asked by another route, and
        what a vendor that is switched off raises."""
        resolved = self._routing.resolve(call, decision, name)
        if resolved.model.wire != wire:
            raise ModelNotFound(
                f"The model {resolved.model.name} is not reached by this route.",
                param="model",
                remedy=f"Call {ROUTES.get(resolved.model.wire, 'the route of its vendor')}.",
            )
        self._routing.check(call, resolved.model.vendor)
        return resolved

    @contextlib.contextmanager
    def _booking(
        self,
        work: Work,
        *,
        analysis_id: str | None = None,
        amounts: Mapping[Unit, int] | None = None,
        dispatch: bool = True,
    ) -> Iterator[Held | Unbooked]:
        """The hold; a stand-in that books nothing while the books are away."""
        request = calls.hold_request(
            work.call,
            work.decision,
            work.resolved.model,
            work.vendor,
            work.maximum,
            amounts or {},
            work.end_user,
        )
        request = dataclasses.replace(request, dispatch=dispatch)
        recorded = self._recorded(work, analysis_id or self._new_id("anl"))
        with contextlib.ExitStack() as stack:
            held: Held | Unbooked
            try:
                held = stack.enter_context(self._ledger.hold(request, also=recorded))
            except LedgerUnavailable:
                held = Unbooked()
                _log_unbooked(work)
            yield held

    def _recorded(self, work: Work, analysis_id: str) -> Callable[[Tx, str, int], None]:
        """The analysis' row, to be written with the hold."""

        def write(tx: Tx, hold_id: str, now: int) -> None:
            facts = calls.use(work.call, work.decision, work.resolved, work.vendor, hold_id, now)
            analyses.add(tx, Analysis(id=analysis_id, end_user=work.end_user, **facts))

        return write

    def _check_not_withheld(self, work: Work) -> None:
        """Raises FeatureKilled when a kill since the decision says that running work is charged but
        not delivered."""
        if self._features.withheld(work.call.identity.facts, work.decision, work.resolved.model.vendor):
            raise FeatureKilled(
                "The feature was switched off while this ran; it is charged but not delivered."
            )


@dataclass(frozen=True)
class Unbooked:
    """A hold that nobody wrote down."""

    id: str | None = None
    now: int = 0
    limits: tuple[Limit, ...] = ()
    replay: StoredResult | None = None

    def dispatch(self) -> None:
        """Nothing was held back."""

    def settle(self, actual: Actual, result: StoredResult | None, *, also: Also | None) -> None:
        """Nothing: it was logged when the hold could not be written."""


def _settle(
    work: Work,
    held: Held | Unbooked,
    usage: Usage | None,
    upstream_id: str | None,
    answer: bytes,
    refusal: str | None,
) -> None:
    """Charge the analysis; keep the answer where a key may ask for it again.

    When the books went away meanwhile the answer is given all the same, and the sweeper ends the hold.
    """
    cost = actual_message_cost(work.resolved.model, usage, work.maximum)
    result = StoredResult(200, work.headers, {"text": answer.decode("utf-8", "replace")})
    also = _noted(work, held, category_of(refusal), point_of(usage), refusal) if refusal else None
    charge(work, held, Actual(cost, 0, shown(usage), upstream_id), result, also)


def point_of(usage: Usage | None) -> Point:
    """What was refused before anything was written was the prompt."""
    return "output_text" if usage is not None and usage.output > 1 else "prompt"


@contextlib.contextmanager
def refusals_settled(work: Work, held: Held | Unbooked) -> Iterator[None]:
    """A refusal that is no answer is charged as far as it was billed, kept, and replayed."""
    try:
        yield
    except Refused as refused:
        unbilled = Cost(0, "price_list", work.maximum.price_id)
        cost = (
            actual_message_cost(work.resolved.model, refused.usage, work.maximum)
            if refused.usage
            else unbilled
        )
        actual = Actual(cost, 0, shown(refused.usage), refused.vendor_request_id)
        result = StoredResult(400, work.headers, {"category": refused.category})
        charge(
            work,
            held,
            actual,
            result,
            _noted(work, held, refused.category, refused.point, refused.vendor_code),
        )
        raise


def charge(
    work: Work, held: Held | Unbooked, actual: Actual, result: StoredResult | None, also: Also | None
) -> None:
    """Settle; `result` is kept where a key may ask for it again."""
    try:
        held.settle(actual, result if work.call.idem_key else None, also=also)
    except LedgerUnavailable:
        _log_unbooked(work)


def _noted(
    work: Work, held: Held | Unbooked, category: Category, point: Point, vendor_code: str | None
) -> Also | None:
    """The refusal's event."""
    return noted(work.call.tenant_id, held.id, category, point, vendor_code) if held.id else None


def shown(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else dataclasses.asdict(usage)


def _stored_text(result: StoredResult, told: Told) -> bytes:
    """Raises ContentRefused if that was the answer."""
    if result.status != 200:
        raise upstream.refusal(result.body["category"], told.headers)
    text: str = result.body["text"]
    return text.encode()


def _log_unbooked(work: Work) -> None:
    log.warning(
        "analysis_unbooked",
        tenant=work.call.tenant_id,
        request=work.call.request_id,
        model=work.resolved.model.name,
        maximum_usd_micro=work.maximum.usd_micro,
    )
