"""Whom a plan lets in: tenants page by page, and the evaluator that decides on them, asked no more often than it must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollout.core.decisions import Evaluate, TenantFacts
from rollout.core.plans import RunningPlan, compile_flag, document, what_counts
from rollout.db import facts
from rollout.db.engine import Database
from rollout.sync import embedded

EXAMINED_TENANTS = 10_000
"""How many tenants are asked who is in, or would come or go: about a quarter of a second of work. Beyond that
the counts say `complete: false`."""

PAGE = 500


def active_tenants(database: Database, feature: str, after: str = "") -> Iterator[TenantFacts]:
    """In order of id, from behind `after`, with what decides on the feature."""
    while True:
        with database.read() as tx:
            page = facts.page(tx, feature, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].tenant.id


def evaluator(running: RunningPlan) -> Evaluate:
    """The one that will decide, asked once for all tenants that the flag cannot tell apart."""
    evaluate = embedded.load(document([compile_flag(running, killed=False)]), 0).evaluate
    look, answers = what_counts(running), dict[object, str | None]()

    def ask(flag: str, properties: Mapping[str, str]) -> str | None:
        seen = look(properties)
        if seen not in answers:
            answers[seen] = evaluate(flag, properties)
        return answers[seen]

    return ask
