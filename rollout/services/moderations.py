"""Say what content is of, as OpenAI's moderations do: what the caller sent goes to the vendor as it came.

The vendor asks no money for it, so nothing is held, counted or charged, and what failed may be tried again; what bounds it are the places
for analyses.
Generally available, as analysis is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rollout.core import rehearsal
from rollout.core.decisions import ANALYSIS
from rollout.core.moderations import VENDOR, parse_moderation_request
from rollout.providers.base import Fault, NotBilled, OutcomeUnknown, Providers
from rollout.services import calls, upstream
from rollout.services.calls import Call, Told
from rollout.services.features import Features
from rollout.services.pass_through import Answered
from rollout.services.routing import Routing


class Moderations:
    def __init__(self, features: Features, routing: Routing, providers: Providers) -> None:
        self._features, self._routing, self._providers = features, routing, providers

    def run(self, call: Call, members: Mapping[str, msgspec.Raw]) -> Answered:
        """The vendor's answer. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, ANALYSIS)
        with upstream.outcome(decision) as outcome:
            request = parse_moderation_request(members)
            self._routing.check(call, VENDOR)
            if call.is_test:
                rehearsal.check(request.inputs[0].text, decision.id)
            vendor, port = self._providers.moderations(test=call.is_test)
            outcome.headers = calls.answered_by(call, decision, request.model, vendor)
            try:
                body = port.create(msgspec.json.encode(members))
            except (Fault, OutcomeUnknown) as error:
                raise NotBilled(error.detail, vendor_request_id=error.vendor_request_id) from error
            return Answered(body, Told(outcome.headers, (), 0))
