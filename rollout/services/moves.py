"""Moves: a name of the catalogue goes over to another model, tenant by tenant, as a plan of its own says.

The row names the next model (`moves_to`); the plan of the feature `model.<name>` lets tenants in as any plan does, and whoever is in is
answered by the next model. So a step back, a kill or a halt brings tenants back to the one before, as fast as any change spreads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from rollout.core.audit import Actor
from rollout.core.catalogue_rows import Document, Kind
from rollout.core.decisions import move_of
from rollout.core.plans import Everyone, RunningPlan, plan_json
from rollout.core.templates import SHARES, phases_of
from rollout.core.times import rfc3339
from rollout.db import kills, schedules
from rollout.errors import Conflict, InvalidRequest
from rollout.services.catalogue import under_rows
from rollout.services.catalogue_rows import checked, keep
from rollout.services.change_requests import ChangeRequests, require_plan
from rollout.services.changes import Change, Changes
from rollout.services.plans import Plans
from rollout.services.schedules import end


class Moves:
    def __init__(self, changes: Changes, plans: Plans, change_requests: ChangeRequests) -> None:
        self._changes, self._plans, self._change_requests = changes, plans, change_requests

    def begin(
        self,
        actor: Actor,
        kind: Kind,
        name: str,
        to: str,
        reason: str | None,
        *,
        template: str = SHARES,
        phase: str | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The name's `row`, and the `plan` by which it moves, standing at `phase`, or at the template's first one.

        Raises NotFound, StaleVersion, InvalidRequest, Conflict for a name that is moving already.
        """
        feature = move_of(name)
        phases = tuple(dataclasses.replace(one, quota=()) for one in phases_of(template, feature))
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            document = checked(change.tx, kind, name, based_on)
            if document["moves_to"] is not None:
                raise Conflict(f"{name} is moving to {document['moves_to']} already.", param="to")
            self._check_target(change, document, to)
            row = keep(change, kind, {**document, "moves_to": to})
            plan = self._plans.begin(change, self._plans.new(feature, phases), phase)
            return {"row": row, "plan": plan_json(plan)}

    def finish(
        self,
        actor: Actor,
        kind: Kind,
        name: str,
        reason: str | None,
        *,
        call_off: bool = False,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The row once the name has moved for good, or (`call_off`) not at all; its plan is gone, and what waited for that is void.

        Raises NotFound, StaleVersion, Conflict for a name that does not move, or has not yet moved for everyone.
        """
        feature = move_of(name)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            document = checked(change.tx, kind, name, based_on)
            if document["moves_to"] is None:
                raise Conflict(f"{name} is not moving.", remedy="There is nothing to finish.")
            if not call_off:
                _check_reached(change, require_plan(change.tx, feature))
            self._change_requests.void(change, feature, "The move is over.")
            for planned in schedules.open_(change.tx, feature):
                end(change, planned, "The move is over.")
            self._plans.end(change, feature)
            kills.remove(change.tx, feature)
            return keep(change, kind, _settled(change, kind, document, call_off))

    def _check_target(self, change: Change, document: Document, to: str) -> None:
        """Raises InvalidRequest for a model that does not answer; what is no model `keep` refuses."""
        found = next((model for model in under_rows(change.tx).models if model.name == to), None)
        if found is not None and not found.is_open:
            raise InvalidRequest(f"{to} answers nobody: it is retired, or not enabled.", param="to")
        if to in (document["name"], document.get("to")):
            raise InvalidRequest(f"{document['name']} leads to {to} already.", param="to")


def _check_reached(change: Change, running: RunningPlan) -> None:
    """Raises Conflict unless all tenants have moved: else to finish would be a step past every gate."""
    everyone = any(isinstance(phase.audience, Everyone) for phase in running.open_phases)
    if not everyone or running.plan.feature in kills.for_everyone(change.tx):
        raise Conflict(
            "The move has not come to everyone yet.",
            remedy=f"Advance the plan of {running.plan.feature} to a phase for everyone first, or call the move off.",
        )


def _settled(change: Change, kind: Kind, document: Document, call_off: bool) -> Document:
    still = {**document, "moves_to": None}
    if call_off:
        return still
    if kind == "alias":
        return {**still, "to": document["moves_to"]}
    now = rfc3339(change.now)
    return {
        **still,
        "lifecycle": "retired",
        "successor": document["moves_to"],
        "deprecated_at": document["deprecated_at"] or now,
        "retires_at": document["retires_at"] or now,
    }
