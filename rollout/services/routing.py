"""Who answers a call: the model that was asked for, or one that its catalogue row names to answer in its place.

A tenant and a phase may be held to a set of vendors: a model of another is refused, and never answers in the place of one. Another
model is tried only while nothing was sent, or after an answer that the vendor bills nobody for: its breaker is open, it is switched
off, it cannot be reached, is overloaded, refuses our account, or no longer has the model. Each try has its own hold; that of one who
did not answer is void. After an outcome that nobody knows, and after a refusal of the content, which is an answer, nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import structlog

from rollout.core.catalogue import Model, Resolved
from rollout.core.decisions import Decision
from rollout.errors import RolloutError, UpstreamUnavailable
from rollout.providers.base import NotSent, PortError, Rejected
from rollout.services import calls
from rollout.services.breakers import Breakers
from rollout.services.calls import Call
from rollout.services.catalogue import InForce
from rollout.services.features import Features

A = TypeVar("A")

log = structlog.get_logger()


class Routing:
    def __init__(self, catalogue: InForce, features: Features, breakers: Breakers) -> None:
        self._catalogue, self._features, self._breakers = catalogue, features, breakers

    def resolve(self, call: Call, decision: Decision, name: str) -> Resolved:
        """The model that the caller means by `name`. Raises ModelNotFound, ModelRetired, and FeatureNotEnabled where the tenant or
        the phase may not use its vendor."""
        resolved = calls.resolve(self._catalogue, self._features, call.identity, name, decision.feature)
        calls.check_vendor(call.identity, decision, resolved.model)
        return resolved

    def check(self, call: Call, vendor: str) -> None:
        """Raises UpstreamUnavailable while the vendor is switched off or, for a call that is no test, left alone."""
        self._features.check_vendor(vendor)
        if not call.is_test:
            self._breakers.check(vendor)

    def tries(
        self,
        call: Call,
        decision: Decision,
        wanted: Resolved,
        accept: Callable[[Resolved], A],
        *,
        others: bool,
    ) -> Tries[A]:
        """Args: `accept` makes of a model what it is asked for, and raises RolloutError for what it cannot do; `others`: whether the
        caller lets other models answer."""

        def accepted(model: Resolved) -> A:
            self.check(call, model.model.vendor)
            return accept(model)

        names = wanted.model.fallbacks if others else ()
        instead = (self._instead(call, decision, wanted, name) for name in names)
        return Tries(accepted, wanted, (model for model in instead if model is not None))

    def _instead(self, call: Call, decision: Decision, wanted: Resolved, name: str) -> Resolved | None:
        model: Model = self._catalogue().get(name)
        is_there = model.is_open and model.feature == decision.feature
        if not is_there or not calls.uses(call.identity, decision, model):
            return None
        told = f"{wanted.model.name} does not answer at the moment; {name} answered in its place"
        return replace(wanted, model=model, warnings=(*wanted.warnings, told))


class Tries(Generic[A]):
    """The models of one call, one after the other; used as `while True: with tries.next() as accepted: return ...`."""

    def __init__(self, accept: Callable[[Resolved], A], wanted: Resolved, others: Iterator[Resolved]) -> None:
        self._accept, self._wanted, self._others = accept, wanted, others
        self._first: RolloutError | PortError | None = None

    @contextmanager
    def next(self) -> Iterator[A]:
        """A block whose errors, where they let another model answer, do not leave it. Raises the first one when there is no other."""
        accepted = self._accepted()
        try:
            yield accepted
        except PortError as error:
            if error.hold != "void" or isinstance(error, Rejected):
                raise
            self._failed(error)

    def answered(self) -> None:
        """From here on nobody else is asked."""
        self._others = iter(())

    def _accepted(self) -> A:
        if self._first is None:
            try:
                return self._accept(self._wanted)
            except (UpstreamUnavailable, NotSent) as error:
                self._failed(error)
        for other in self._others:
            try:
                return self._accept(other)
            except (RolloutError, PortError) as error:
                log.info("fallback_passed_over", model=other.model.name, error=repr(error))
        assert self._first is not None
        raise self._first

    def _failed(self, error: RolloutError | PortError) -> None:
        if self._first is None:
            self._first = error
            log.info("model_did_not_answer", model=self._wanted.model.name, error=repr(error))
