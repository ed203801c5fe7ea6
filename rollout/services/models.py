"""Which models a caller may use now."""

from __future__ import annotations

from rollout.core.catalogue import Catalogue, Model, Resolved
from rollout.core.decisions import FEATURES
from rollout.errors import ModelNotFound
from rollout.providers.base import Providers
from rollout.services import calls
from rollout.services.features import Features
from rollout.services.state import Identity


class Models:
    def __init__(self, features: Features, catalogue: Catalogue, providers: Providers) -> None:
        self._features, self._catalogue, self._providers = features, catalogue, providers

    def offered(self, identity: Identity) -> list[Model]:
        """What somebody answers for, of the features that let this caller in; newest first."""
        features = self._features_of(identity)
        found = [
            model
            for model in self._catalogue.models
            if model.feature in features and model.lifecycle != "retired" and self._answers(identity, model)
        ]
        return sorted(found, key=lambda model: (-model.created_at, model.name))

    def get(self, identity: Identity, name: str) -> Resolved:
        """The model that answers for `name`. Raises ModelNotFound, ModelRetired."""
        for feature in self._features_of(identity):
            try:
                resolved = self._catalogue.resolve(name, feature)
            except ModelNotFound:
                continue
            if self._answers(identity, resolved.model):
                return resolved
        raise ModelNotFound(f"There is no model {name[:200]!r} for you now.", param="model")

    def _features_of(self, identity: Identity) -> list[str]:
        decisions = [self._features.decide(identity.facts, feature) for feature in FEATURES]
        return [decision.feature for decision in decisions if calls.admits(identity, decision)]

    def _answers(self, identity: Identity, model: Model) -> bool:
        return identity.key.mode == "test" or self._providers.answers(model)
