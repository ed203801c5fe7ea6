"""Analyse pictures: what the caller sent goes to the vendor as it came, and the answer comes back
as it came.

Generally available: only a kill or a halt stops it, never generation's plan or quota. Failure
behaviour: open. While the books are away, tenants that are known to this worker go on; what could
not be booked is logged as `analysis_unbooked`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from rollout.core import rehearsal
from rollout.core.analyses import MessageRequest, encode_message, parse_message_request
from rollout.core.catalogue import Cost, Resolved, Usage
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.feedback import check_end_user
from rollout.core.guardrails import Point, category_of
from rollout.core.holds import Actual, StoredResult
from rollout.core.meters import Limit
from rollout.core.prices import actual_message_cost, maximum_message_cost
from rollout.core.uses import Analysis
from rollout.core.wire import refusal_category, split_events
from rollout.db import analyses
from rollout.db.engine import Tx
from rollout.errors import FeatureKilled, LedgerUnavailable
from rollout.providers.base import MessageCall, Messages, Providers
from rollout.services import calls, upstream
from rollout.services.calls import Call, Opened, Told
from rollout.services.catalogue import InForce
from rollout.services.features import Features
from rollout.services.guardrails import noted
from rollout.services.ids import NewId
from rollout.services.ledger import Held, Ledger
from rollout.services.writer import Also

log = structlog.get_logger()

LAST = "message_stop"
"""The event that waits for the settle."""

REFUSAL = "refusal"
"""The stop reason of an answer that the vendor refused; it stays an answer."""


@dataclass(frozen=True)
class Asked:
    """A Messages request as it was sent: the body's members, its size, and the headers that go on
    to the vendor."""

    members: Mapping[str, msgspec.Raw]
    body_bytes: int
    headers: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """The vendor's answer, byte for byte."""

    body: bytes
    told: Told


@dataclass(frozen=True)
class _Work:
    """A request that has passed every check before the hold."""

    call: Call
    decision: Decision
    resolved: Resolved
    request: MessageRequest
    maximum: Cost
    end_user: str | None
    vendor: str
    port: Messages
    to_send: MessageCall
    headers: Mapping[str, str]


class Analyze:
    """`secret` keys what vendors learn of end users."""

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        catalogue: InForce,
        providers: Providers,
        new_id: NewId,
        *,
        secret: bytes,
    ) -> None:
        self._features, self._ledger, self._catalogue = features, ledger, catalogue
        self._providers, self._new_id, self._secret = providers, new_id, secret

    def run(self, call: Call, asked: Asked) -> Answered:
        """The vendor's answer, now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked)
            with self._booking(work) as held:
                if held.replay is not None:
                    told = calls.told_again(held.replay, held.limits, held.now)
                    return Answered(_stored_text(held.replay), told)
                outcome.dispatched(held.id, work.headers)
                answer = upstream.send(work.resolved.model, lambda: work.port.create(work.to_send))
                refused = answer.body if answer.stop_reason == REFUSAL else None
                _settle(work, held, answer.usage, answer.vendor_request_id, answer.body, refused)
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
                    yield calls.told_again(held.replay, held.limits, held.now)
                    yield _stored_text(held.replay)
                    return
                outcome.dispatched(held.id, work.headers)
                yield Told(work.headers, held.limits, held.now)
                passed, usage, refused = [], None, None
                with contextlib.ExitStack() as stack:
                    events = upstream.send(
                        work.resolved.model, lambda: stack.enter_context(work.port.stream(work.to_send))
                    )
                    for event in events:
                        passed.append(event.raw)
                        usage = event.usage or usage
                        if event.stop_reason == REFUSAL:
                            refused = next(split_events([event.raw])).data
                        if event.name != LAST:
                            yield event.raw
                _settle(work, held, usage, None, b"".join(passed), refused)
            self._check_not_withheld(work)
            yield passed[-1]

    def count_tokens(self, call: Call, asked: Asked) -> Answered:
        """The vendor's count of the input; nothing is held or charged. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked, counting=True)
            outcome.headers = work.headers
            body = upstream.send(work.resolved.model, lambda: work.port.count_tokens(work.to_send))
            return Answered(body, Told(work.headers, (), 0))

    def _prepare(self, call: Call, decision: Decision, asked: Asked, *, counting: bool = False) -> _Work:
        request = parse_message_request(asked.members, counting=counting)
        resolved = self._catalogue().resolve(request.model, ANALYSIS)
        self._features.check_vendor(resolved.model.vendor)
        if call.is_test:
            rehearsal.check(rehearsal.message_prompt(asked.members), decision.id)
        model = resolved.model
        vendor, port = self._providers.messages(model, test=call.is_test)
        body = encode_message(self._with_user(call, asked.members), model.upstream_id)
        return _Work(
            call=call,
            decision=decision,
            resolved=resolved,
            request=request,
            maximum=maximum_message_cost(
                model,
                asked.body_bytes - request.picture_bytes,
                request.max_tokens,
                request.has_cache_control,
                request.images,
            ),
            end_user=check_end_user(call.end_user) if call.end_user else None,
            vendor=vendor,
            port=port,
            to_send=MessageCall(model, body, stream=request.stream, headers=asked.headers),
            headers=calls.headers(call, decision, resolved, vendor, asked.warnings),
        )

    def _with_user(self, call: Call, members: Mapping[str, msgspec.Raw]) -> Mapping[str, msgspec.Raw]:
        """The end user of the header, hashed, where the caller has not said `metadata` himself."""
        user = call.upstream_user(self._secret, call.end_user)
        if user is None or "metadata" in members:
            return members
        return {**members, "metadata": msgspec.Raw(msgspec.json.encode({"user_id": user}))}

    @contextlib.contextmanager
    def _booking(self, work: _Work) -> Iterator[Held | _Unbooked]:
        """The hold; a stand-in that books nothing while the books are away."""
        request = calls.hold_request(
            work.call, work.decision, work.resolved.model, work.vendor, work.maximum, {}, work.end_user
        )
        with contextlib.ExitStack() as stack:
            held: Held | _Unbooked
            try:
                held = stack.enter_context(self._ledger.hold(request, also=self._recorded(work)))
            except LedgerUnavailable:
                held = _Unbooked()
                _log_unbooked(work)
            yield held

    def _recorded(self, work: _Work) -> Callable[[Tx, str, int], None]:
        """The analysis' row, to be written with the hold."""

        def write(tx: Tx, hold_id: str, now: int) -> None:
            facts = calls.use(work.call, work.decision, work.resolved, work.vendor, hold_id, now)
            analyses.add(tx, Analysis(id=self._new_id("anl"), end_user=work.end_user, **facts))

        return write

    def _check_not_withheld(self, work: _Work) -> None:
        """Raises FeatureKilled when a kill since the decision says that running work is charged but
        not delivered."""
        if self._features.withheld(work.call.identity.facts, work.decision, work.resolved.model.vendor):
            raise FeatureKilled(
                "The feature was switched off while this ran; it is charged but not delivered."
            )


@dataclass(frozen=True)
class _Unbooked:
    """A hold that nobody wrote down."""

    id: str | None = None
    now: int = 0
    limits: tuple[Limit, ...] = ()
    replay: StoredResult | None = None

    def settle(self, actual: Actual, result: StoredResult | None, *, also: Also | None) -> None:
        """Nothing: it was logged when the hold could not be written."""


def _settle(
    work: _Work,
    held: Held | _Unbooked,
    usage: Usage | None,
    upstream_id: str | None,
    answer: bytes,
    refused: bytes | None,
) -> None:
    """Charge the analysis; keep the answer where a key may ask for it again. `refused`: where a refusal says why.

    When the books went away meanwhile the answer is given all the same, and the sweeper ends the hold.
    """
    cost = actual_message_cost(work.resolved.model, usage, work.maximum)
    told = None if usage is None else dataclasses.asdict(usage)
    result = StoredResult(200, work.headers, {"text": answer.decode("utf-8", "replace")})
    also = _noted(work, held, usage, refused) if refused is not None else None
    try:
        held.settle(Actual(cost, 0, told, upstream_id), result if work.call.idem_key else None, also=also)
    except LedgerUnavailable:
        _log_unbooked(work)


def _noted(work: _Work, held: Held | _Unbooked, usage: Usage | None, refused: bytes) -> Also | None:
    """The refusal's event. What was refused before anything was written was the prompt."""
    code = refusal_category(refused)
    point: Point = "output_text" if usage is not None and usage.output > 1 else "prompt"
    return noted(work.call.tenant_id, held.id, category_of(code), point, code) if held.id else None


def _stored_text(result: StoredResult) -> bytes:
    text: str = result.body["text"]
    return text.encode()


def _log_unbooked(work: _Work) -> None:
    log.warning(
        "analysis_unbooked",
        tenant=work.call.tenant_id,
        request=work.call.request_id,
        model=work.resolved.model.name,
        maximum_usd_micro=work.maximum.usd_micro,
    )
