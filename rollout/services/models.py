"""Which models a caller may use now."""

from __future__ import annotations

from rollout.core.catalogue import Model, Resolved
from rollout.core.decisions import FEATURES, Decision
from rollout.errors import ModelNotFound, ModelRetired
from rollout.providers.base import Providers
from rollout.services import calls
from rollout.services.catalogue import InForce
from rollout.services.features import Features
from rollout.services.state import Identity


class Models:
    def __init__(self, features: Features, catalogue: InForce, providers: Providers) -> None:
        self._features, self._catalogue, self._providers = features, catalogue, providers

    def offered(self, identity: Identity) -> list[Model]:
        """What somebody answers for, of the features that let this caller in; newest first."""
        decisions = self._decisions(identity)
        found = [
            model
            for model in self._catalogue().models
            if model.feature in decisions
            and self._is_open(identity, model)
            and self._answers(identity, decisions[model.feature], model)
        ]
        return sorted(found, key=lambda model: (-model.created_at, model.name))

    def get(self, identity: Identity, name: str) -> Resolved:
        """The model that answers for `name`. Raises ModelNotFound, ModelRetired."""
        for feature, decision in self._decisions(identity).items():
            try:
                resolved = calls.resolve(self._catalogue, self._features, identity, name, feature)
            except ModelNotFound:
                continue
            if self._answers(identity, decision, resolved.model):
                return resolved
        raise ModelNotFound(f"There is no model {name[:200]!r} for you now.", param="model")

    def _is_open(self, identity: Identity, model: Model) -> bool:
        """Whether a call by the model's own name is answered by a model; a retired one's name, by another."""
        try:
            calls.resolve(self._catalogue, self._features, identity, model.name, model.feature)
        except (ModelNotFound, ModelRetired):
            return False
        return model.is_open

    def _decisions(self, identity: Identity) -> dict[str, Decision]:
        """By feature, those that let this caller in."""
        decisions = [self._features.decide(identity.facts, feature) for feature in FEATURES]
        return {decision.feature: decision for decision in decisions if calls.admits(identity, decision)}

    def _answers(self, identity: Identity, decision: Decision, model: Model) -> bool:
        """Whether there is somebody to answer, and the caller may ask him."""
        is_there = identity.key.mode == "test" or self._providers.answers(model)
        return (
            is_there
            and calls.uses(identity, decision, model)
            and not self._features.is_switched_off(model.vendor)
        )
