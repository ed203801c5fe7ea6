"""What a vendor's own list of models says otherwise than the catalogue, and which models end soon: proposals, never changes.

A proposal's `found` is what the vendor says:

    retires     {"retires_at"}                      it names another day than the row, which names none or another one
    gone        {"retires_at"}                      it no longer names the model, or only as retired
    unlisted    {"like"}                            it names a model that is of the same family as the row `like`
    retiring    {"retires_at", "days", "tenants"}   the day that the row names is near; who used the model lately
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.catalogue import Catalogue, Model
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

Kind = Literal["retires", "gone", "unlisted", "retiring"]
State = Literal["open", "applied", "dismissed", "outdated"]

STATES: tuple[State, ...] = get_args(State)
WARN_DAYS = (30, 7, 1)
"""How long before a model ends it is told, each once."""

LATELY_DAYS = 30
"""Who used a model so long ago is named when it ends."""

DAY = 86_400
_NEW: Mapping[str, Any] = {
    "enabled": False,
    "prices": [],
    "display_name": "",
    "lifecycle": "active",
    "successor": None,
    "deprecated_at": None,
    "retires_at": None,
    "moves_to": None,
    "fallbacks": [],
}
_FAMILY = re.compile(r"[^\d]*")


@dataclass(frozen=True)
class Listed:
    """A model as its vendor lists it: `retires_at` in UTC epoch seconds, where that is told; `is_retired`: it is
    named only to say so."""

    upstream_id: str
    retires_at: int | None = None
    is_retired: bool = False


@dataclass(frozen=True)
class Finding:
    """`model`: the row's name; of one that is unlisted, the vendor's."""

    vendor: str
    model: str
    kind: Kind
    found: Mapping[str, Any]


@dataclass(frozen=True)
class Proposal:
    """A finding that somebody applies or dismisses; `outdated`: the vendor says so no longer. Times in UTC epoch seconds."""

    id: str
    vendor: str
    model: str
    kind: Kind
    found: Mapping[str, Any]
    state: State
    created_at: int
    ended_at: int | None = None
    ended_by: str | None = None
    version: int = 1

    def ended(self, state: State, now: int, by: str) -> Proposal:
        return dataclasses.replace(self, state=state, ended_at=now, ended_by=by, version=self.version + 1)


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    return {
        **vars(proposal),
        "found": dict(proposal.found),
        "created_at": rfc3339(proposal.created_at),
        "ended_at": rfc3339(proposal.ended_at),
    }


def check_state(state: str | None) -> None:
    """Raises InvalidRequest."""
    if state is not None and state not in STATES:
        raise InvalidRequest(f"A state is one of {', '.join(STATES)}.", param="state")


def differences(vendor: str, catalogue: Catalogue, listed: Collection[Listed]) -> list[Finding]:
    """What the vendor's list says of its models in the catalogue, and which of their families it has besides. Models that are asked
    for by tasks stand in no list."""
    ours = [model for model in catalogue.models if model.vendor == vendor and not model.is_async]
    told = {one.upstream_id: one for one in listed}
    known = {name for model in ours for name in (model.name, model.upstream_id)}
    known |= {alias.name for alias in catalogue.aliases}
    families = {family(model.upstream_id): model for model in ours if model.lifecycle != "retired"}
    found = [_of(model, told.get(model.upstream_id)) for model in ours if model.lifecycle != "retired"]
    new = [one for one in told.values() if not one.is_retired and one.upstream_id not in known]
    return [
        *filter(None, found),
        *(
            Finding(vendor, one.upstream_id, "unlisted", {"like": families[kin].name})
            for one in new
            if (kin := family(one.upstream_id)) in families
        ),
    ]


def family(upstream_id: str) -> str:
    """What stands before the first figure of a model's name: claude-sonnet- of claude-sonnet-5-5."""
    found = _FAMILY.match(upstream_id)
    return found[0] if found else ""


def ending(models: Sequence[Model], now: int) -> Iterator[tuple[Model, int]]:
    """Those that end within one of WARN_DAYS from now, and the least of these."""
    for model in models:
        if model.lifecycle != "retired" and model.retires_at is not None and now < model.retires_at:
            left = model.retires_at - now
            days = [days for days in WARN_DAYS if left <= days * DAY]
            if days:
                yield model, min(days)


def applied(
    proposal: Proposal, document: Mapping[str, Any], taken: Collection[str], now: int
) -> dict[str, Any]:
    """The catalogue's row, given as its document (of an unlisted model that of the row which it is like), as the proposal has it.

    A model that is new here is disabled and without price, so nobody is charged by another one's; the rest is taken over to begin with.
    Where its name is `taken`, by another vendor's, the vendor's stands before it.
    """
    today = rfc3339(now)
    if proposal.kind == "unlisted":
        name = f"{proposal.vendor}-{proposal.model}" if proposal.model in taken else proposal.model
        new = {"name": name, "upstream_id": proposal.model, "created_at": today}
        return {**document, **_NEW, **new}
    return {
        **document,
        "lifecycle": "retired" if proposal.kind == "gone" else "deprecated",
        "deprecated_at": document["deprecated_at"] or today,
        "retires_at": proposal.found["retires_at"] or document["retires_at"] or today,
    }


def _of(model: Model, told: Listed | None) -> Finding | None:
    if told is None or told.is_retired:
        return Finding(model.vendor, model.name, "gone", _day(told))
    if told.retires_at is not None and told.retires_at != model.retires_at:
        return Finding(model.vendor, model.name, "retires", _day(told))
    return None


def _day(told: Listed | None) -> dict[str, Any]:
    return {"retires_at": rfc3339(told.retires_at) if told else None}
