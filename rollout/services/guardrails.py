"""What vendors refused for its content: one event for each refusal, written with what settles the refused work."""

from __future__ import annotations

from rollout.core.guardrails import Category, GuardrailEvent, Point, Wanted
from rollout.db import analyses, generations, guardrail_events
from rollout.db.engine import Database, Tx
from rollout.services.writer import Also

FORGOTTEN_AT_ONCE = 1_000


class Guardrails:
    """`retention_days` is how long events are kept."""

    def __init__(self, database: Database, *, retention_days: int) -> None:
        self._database, self._retention = database, retention_days * 86_400

    def page(self, wanted: Wanted, *, cursor: str | None, limit: int) -> list[GuardrailEvent]:
        """Newest first, from before the id `cursor`."""
        with self._database.read() as tx:
            return guardrail_events.page(tx, wanted, before=cursor, limit=limit)

    def forget(self) -> None:
        """Remove events whose time is over."""
        with self._database.read() as tx:
            made_before = self._database.now(tx) - self._retention
        gone = FORGOTTEN_AT_ONCE
        while gone >= FORGOTTEN_AT_ONCE:
            with self._database.write() as tx:
                gone = guardrail_events.forget(tx, made_before, FORGOTTEN_AT_ONCE)


def noted(tenant_id: str, hold_id: str, category: Category, point: Point, vendor_code: str | None) -> Also:
    """The event of a refusal, to be written with its settle: `held.settle(.., also=noted(..))`.

    Its id follows from the hold's, so that no refusal has two.
    """

    def write(tx: Tx, now: int) -> None:
        use = generations.of_hold(tx, tenant_id, hold_id) or analyses.of_hold(tx, tenant_id, hold_id)
        if use is None:
            return
        event = GuardrailEvent(
            tenant_id=tenant_id,
            id=f"grd_{hold_id.partition('_')[2]}",
            hold_id=hold_id,
            use_id=use.id,
            end_user=use.end_user,
            feature=use.feature,
            phase=use.phase,
            run=use.run,
            point=point,
            source=use.vendor,
            category=category,
            action="refuse",
            score=None,
            vendor_code=vendor_code[:200] if vendor_code else None,
            at=now,
        )
        guardrail_events.add(tx, event)

    return write
