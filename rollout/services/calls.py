"""A call for work as it comes in, its answer as it goes out: what generating and analysing share."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Generic, TypeVar

import structlog

from rollout.core.catalogue import Cost, Model, Resolved
from rollout.core.decisions import Decision
from rollout.core.holds import HoldRequest, StoredResult
from rollout.core.kills import vendor_switch
from rollout.core.meters import Limit, Unit
from rollout.core.uses import Mode
from rollout.errors import FeatureNotEnabled
from rollout.services.catalogue import InForce
from rollout.services.features import Features
from rollout.services.providers import SANDBOX
from rollout.services.state import Identity

E = TypeVar("E")

log = structlog.get_logger()

NOT_FOR_REHEARSALS = ("killed", "tenant_halted")
"""Denials that hold for test keys too; all others are about who is in yet, and a test key is always
in."""


@dataclass(frozen=True)
class Call:
    """Who calls, by which request. `fingerprint` says what makes another request the same;
    `end_user` is whom the caller serves. `is_retry`: an SDK sends it again by itself. `gone` tells
    whether the caller has hung up."""

    identity: Identity
    request_id: str
    fingerprint: str
    idem_key: str | None = None
    end_user: str | None = None
    is_retry: bool = False
    gone: Callable[[], bool] = lambda: False

    @property
    def tenant_id(self) -> str:
        return self.identity.facts.tenant.id

    @property
    def mode(self) -> Mode:
        return self.identity.key.mode

    @property
    def is_test(self) -> bool:
        return self.mode == "test"

    def upstream_user(self, secret: bytes, end_user: str | None) -> str | None:
        """The end user as the vendor may know him: a keyed hash, so that no vendor can join tenants
        or names."""
        if end_user is None:
            return None
        text = f"end-user\n{self.tenant_id}\n{end_user}".encode()
        return hmac.new(secret, text, hashlib.sha256).hexdigest()[:40]


class Delivery:
    """The way of an answer to its caller; `lost` says that it did not arrive, and is heard once."""

    def __init__(self, gone: Callable[[], bool], lost: Callable[[], None]) -> None:
        self._gone, self._lost, self._is_lost = gone, lost, False

    def lost(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._lost()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look, at the end of the block, whether there still is somebody to answer."""
        try:
            yield
        finally:
            if self._gone():
                self.lost()


@dataclass(frozen=True)
class Told:
    """What the headers of an answer tell: `headers` as stored with the result, `limits` as they
    stood at `now`. `delivery` where somebody wants to know whether it arrived."""

    headers: Mapping[str, str]
    limits: tuple[Limit, ...]
    now: int
    delivery: Delivery | None = None


class Opened(Generic[E]):
    """An answer in parts: `told` is known, the first event is there, the others follow.

    The work behind it never stops half-way. `close()`, which a server calls when the caller hangs
    up, reads on to the end: the vendor has billed, so the work is settled and stored.
    """

    def __init__(self, parts: Iterator[Told | E]) -> None:
        """Args: `parts` gives a Told, then events; of several Tolds the last before the first event holds. Waits for that event;
        what goes wrong until then is raised."""
        first = next(parts)
        while isinstance(first, Told):
            self.told, first = first, next(parts)
        self._parts = parts
        self._events: Iterator[Any] = itertools.chain([first], parts)

    def __iter__(self) -> Iterator[E]:
        return self

    def __next__(self) -> E:
        event: E = next(self._events)
        return event

    def close(self) -> None:
        try:
            for _ in self._parts:
                pass
        except Exception as error:
            log.warning("work_failed_after_the_caller_left", error=repr(error))


def decide(features: Features, identity: Identity, feature: str) -> Decision:
    """The decision that lets this caller in, before anything of a request is looked at. Raises
    FeatureNotEnabled, FeatureKilled."""
    decision = features.decide(identity.facts, feature)
    return decision if admits(identity, decision) else features.require(identity.facts, feature)


def resolve(catalogue: InForce, features: Features, identity: Identity, name: str, feature: str) -> Resolved:
    """The model that answers this caller for `name`. Raises ModelNotFound, ModelRetired."""
    facts = identity.facts
    return catalogue().resolve(
        name,
        feature,
        strict=facts.tenant.retired_models == "strict",
        moved=lambda moving: features.has_moved(facts, moving),
    )


def admits(identity: Identity, decision: Decision) -> bool:
    """Whether the caller gets in: a test key does before the grant."""
    return decision.allowed or (identity.key.mode == "test" and decision.reason not in NOT_FOR_REHEARSALS)


def uses(identity: Identity, decision: Decision, model: Model) -> bool:
    """Whether the tenant, and the phase that let it in, may use the model's vendor."""
    allowed = (identity.facts.tenant.vendors, decision.vendors)
    return all(vendors is None or model.vendor in vendors for vendors in allowed)


def check_vendor(identity: Identity, decision: Decision, model: Model) -> None:
    """Raises FeatureNotEnabled for a model that the caller may not use, or not yet."""
    own = identity.facts.tenant.vendors
    if own is not None and model.vendor not in own:
        raise FeatureNotEnabled(
            f"The model {model.name} is not open to {decision.tenant_id}: it may use models of {', '.join(own)}.",
            param="model",
            remedy="Choose a model from GET /v1/models.",
            feature=decision.feature,
            reason="vendor_not_allowed",
            detail="Models of this vendor are not open to you.",
            decision_id=decision.id,
        )
    if not uses(identity, decision, model):
        raise FeatureNotEnabled(
            f"The model {model.name} is not open to {decision.tenant_id} in this phase of {decision.feature}.",
            param="model",
            remedy="Choose a model from GET /v1/models.",
            feature=decision.feature,
            reason="not_in_phase",
            detail="This model is not open to you in this phase.",
            decision_id=decision.id,
        )


def headers(
    call: Call, decision: Decision, resolved: Resolved, vendor: str, warnings: Sequence[str]
) -> dict[str, str]:
    """The headers that are stored with a result and told again on a replay."""
    found = model_headers(resolved, warnings) | answered_by(call, decision, resolved.model.name, vendor)
    if call.idem_key is not None:
        found["Idempotency-Key"] = call.idem_key
    return found


def answered_by(call: Call, decision: Decision, model: str, vendor: str) -> dict[str, str]:
    """What let the call in, and who answers it."""
    found = {
        "x-rollout-decision": decision.id,
        "x-rollout-model": f"{SANDBOX}/{model}" if vendor == SANDBOX else model,
    }
    return found | {"x-rollout-mode": "test"} if call.is_test else found


def model_headers(resolved: Resolved, more_warnings: Sequence[str] = ()) -> dict[str, str]:
    """What there is to know of the name that was asked for: warnings, and when it ends."""
    found = {}
    if warnings := (*resolved.warnings, *more_warnings):
        found["x-rollout-warnings"] = "; ".join(warnings)
    if resolved.deprecated_at is not None:
        found["Deprecation"] = f"@{resolved.deprecated_at}"  # RFC 9745
    if resolved.sunset_at is not None:
        found["Sunset"] = formatdate(resolved.sunset_at, usegmt=True)  # RFC 8594
    return found


def hold_request(
    call: Call,
    decision: Decision,
    model: Model,
    vendor: str,
    maximum: Cost,
    amounts: Mapping[Unit, int],
    end_user: str | None,
) -> HoldRequest:
    """What to reserve: `amounts` beside the money, one request and one slot. A test key reserves
    nothing."""
    facts = call.identity.facts
    return HoldRequest(
        tenant_id=facts.tenant.id,
        feature=decision.feature,
        decision_id=decision.id,
        request_id=call.request_id,
        api_key_id=call.identity.key.id,
        meters=() if call.is_test else facts.meters,
        meter_rev=facts.meter_rev,
        amounts={"usd_micro": maximum.usd_micro, "request": 1, "slot": 1, **amounts},
        fingerprint=call.fingerprint,
        idem_key=_scoped_key(call),
        vendor=vendor,
        model=model.name,
        price_id=maximum.price_id,
        metered=not call.is_test,
        end_user=end_user,
        phase=decision.phase,
        switches=(vendor_switch(model.vendor),),
    )


def _scoped_key(call: Call) -> str | None:
    """A rehearsal's Idempotency-Key is another than the same one in earnest: else a live call could be answered with the sandbox's
    picture. No key as sent has a space in it."""
    return f"test {call.idem_key}" if call.is_test and call.idem_key is not None else call.idem_key


def use(
    call: Call, decision: Decision, resolved: Resolved, vendor: str, hold_id: str, now: int
) -> dict[str, Any]:
    """The facts of a Use that generations and analyses share."""
    return {
        "tenant_id": call.tenant_id,
        "hold_id": hold_id,
        "request_id": call.request_id,
        "decision_id": decision.id,
        "api_key_id": call.identity.key.id,
        "feature": decision.feature,
        "phase": decision.phase,
        "run": decision.run,
        "vendor": vendor,
        "model": resolved.model.name,
        "requested_model": resolved.requested,
        "mode": call.mode,
        "created_at": now,
    }


def told_again(
    result: StoredResult, limits: tuple[Limit, ...], now: int, delivery: Delivery | None = None
) -> Told:
    """What a replay tells: the headers of the first answer, the limits of now."""
    return Told({**result.headers, "Idempotent-Replayed": "true"}, limits, now, delivery)
