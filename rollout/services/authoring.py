"""What a flag or segment is saved into, and who would lose by it: what the checks of `core/authoring.py` need to know.

Tenants are counted by the engine that will decide, outside of the change's locks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rollout.core.constraints import Doubt, Fault, Surroundings
from rollout.core.decisions import GATED, GENERATION, TenantFacts, context_properties
from rollout.core.flags import PRODUCTION
from rollout.core.plans import RunningPlan, compile_flag
from rollout.core.segments import parents_of, values_of
from rollout.db import facts, flags, plans, segments, tenants
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest
from rollout.sync import embedded

EXAMINED = 10_000
"""How many answers are asked for to count the tenants that would leave: about a quarter of a second of work."""

PAGE = 500
MAX_IDS = 500

Document = Mapping[str, Any]


def surroundings(tx: Tx, environment: str, draft: Document, now: int) -> Surroundings:
    """What is around `draft`, a flag of this environment or a segment."""
    others = [one for one in flags.live(tx, environment) if one.name != draft.get("name")]
    shared = [one for one in segments.all_(tx) if one.id != draft.get("id")]
    values = values_of([*(one.document for one in others), *(one.document for one in shared)])
    values.setdefault("tenantId", set()).update(_tenants_in_other_case(tx, draft))
    planned: Collection[str] = GATED if environment == PRODUCTION else ()
    parents: dict[str, list[str]] = {name: [] for name in planned} | {
        one.name: parents_of(one.document) for one in others
    }
    return Surroundings(now, embedded.understands, {one.id for one in shared}, parents, values)


def settle(findings: Iterable[Fault | Doubt], accepted: bool) -> list[Doubt]:
    """The doubts, which the person has `accepted`. Raises InvalidRequest with all faults in `errors`, or all doubts in `warnings`."""
    found = list(findings)
    if faults := [vars(one) for one in found if isinstance(one, Fault)]:
        raise InvalidRequest(**faults[0], errors=faults)
    doubts = [one for one in found if isinstance(one, Doubt)]
    if doubts and not accepted:
        raise InvalidRequest(
            "This may do other than you mean; nothing was saved.",
            param="accept_warnings",
            remedy="Read `warnings`; if it is what you mean, send it again with accept_warnings.",
            warnings=[vars(one) for one in doubts],
        )
    return doubts


def load_aside(document: Document, shared: Iterable[Document]) -> None:
    """Load the flag where nobody asks for it. Raises InvalidRequest when the engine does not take it."""
    try:
        embedded.load({"version": 2, "features": [document], "segments": list(shared)}, 0)
    except embedded.FlagsRefused:
        raise InvalidRequest("The engine does not take this flag.", param="document") from None


def document_of(tx: Tx, environment: str) -> dict[str, Any]:
    """The client-features document of the environment as it is stored, the plans' flags in it."""
    found = flags.documents(tx).get(environment, {"version": 2, "features": [], "segments": []})
    return {**found, "features": [*gates(tx, environment), *found["features"]]}


def gates(tx: Tx, environment: str) -> list[dict[str, Any]]:
    """The plans' flags in the environment."""
    running = plans.all_(tx).values() if environment == PRODUCTION else ()
    return [compile_flag(plan, killed=False) for plan in running]


def leaving(database: Database, before: Document, after: Document, names: Collection[str]) -> int:
    """How many tenants have one of the flags `names` in `before` that they have no more in `after`, two client-features documents.

    A tenant is asked for by its attributes and id, as whose user it counts. Flags that draw lots are not counted, and of very many
    tenants only the first.
    """
    asked = [name for name in names if not any(_draws_lots(document, name) for document in (before, after))]
    if not asked:
        return 0
    was, will = embedded.load(before, 0), embedded.load(after, 0)
    lost = 0
    for number, context in enumerate(_contexts(database)):
        if number * len(asked) >= EXAMINED:
            break
        lost += any(
            _is_on(was.answer(name, context)) and not _is_on(will.answer(name, context)) for name in asked
        )
    return lost


def with_dependants(document: Document, names: Collection[str]) -> set[str]:
    """`names`, and all flags of the document that depend on one of them, however far."""
    found, size = set(names), 0
    while size < len(found):
        size = len(found)
        found |= {one["name"] for one in document["features"] if found.intersection(parents_of(one))}
    return found


def departures(count: int) -> list[Doubt]:
    if not count:
        return []
    return [Doubt(f"Tenants that have it now, and would not have it any more: {count}.", "strategies")]


def _contexts(database: Database) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        with database.read() as tx:
            now, plan = database.now(tx), plans.get(tx, GENERATION)
            page = facts.page(tx, GENERATION, after=after, limit=PAGE)
        yield from (_context(one, plan, now) for one in page)
        if len(page) < PAGE:
            return
        after = page[-1].tenant.id


def _context(known: TenantFacts, plan: RunningPlan | None, now: int) -> dict[str, Any]:
    tenant = known.tenant
    own = context_properties(known, plan, now) if plan else {**tenant.attributes, "tenantId": tenant.id}
    return {"userId": tenant.id, "sessionId": tenant.id, "properties": own}


def _is_on(answer: Mapping[str, Any] | None) -> bool:
    return answer is not None and bool(answer["feature_enabled"])


def _draws_lots(document: Document, name: str) -> bool:
    """Whether the flag may answer the same question differently."""
    strategies = [
        strategy
        for one in document["features"]
        if one["name"] == name
        for strategy in one.get("strategies") or ()
    ]
    return any(
        strategy["name"] == "gradualRolloutRandom"
        or (strategy.get("parameters") or {}).get("stickiness") == "random"
        for strategy in strategies
    )


def _tenants_in_other_case(tx: Tx, draft: Document) -> set[str]:
    """Tenants that the draft names in capital letters, which no id has."""
    named = values_of([draft]).get("tenantId", set())
    lowered = sorted({value.lower() for value in named if value != value.lower()})[:MAX_IDS]
    return tenants.among(tx, lowered) if lowered else set()
