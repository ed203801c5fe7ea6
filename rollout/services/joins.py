"""A retry that brings no Idempotency-Key gets the answer of the work that its first try began.

The SDKs try again by themselves and send no key; it shows only in a header that counts their retries. Such a call
looks for the same request by the same API key: while that runs it waits, and what ended is replayed if its caller
had hung up before the answer came (`hold.unsent`). An answer that arrived belongs to its caller and is nobody
else's: identical calls side by side, of which some are retries, get a picture each.

Failure behaviour: closed. What cannot be looked for is not generated; a mark that cannot be written is logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from rollout.core.holds import StoredResult
from rollout.db import joins
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable, OutcomeUnknown, RequestInProgress, ResultPurged
from rollout.services.calls import Call, Delivery
from rollout.services.ids import first_id

log = structlog.get_logger()

RECENT_SECONDS = 600
"""How old the first try may be: the SDKs' own time-out."""

LONGEST_WAIT = 300.0
"""Seconds for which a retry waits; then it is asked to come back."""


@dataclass(frozen=True)
class Joined:
    """The answer of an earlier try, and its way to this caller."""

    result: StoredResult
    delivery: Delivery


class Joins:
    def __init__(self, database: Database, sleep: Callable[[float], None] = time.sleep) -> None:
        self._database, self._sleep = database, sleep

    def find(self, call: Call) -> Joined | None:
        """The answer that this retry lacks, once it is there; None when the call is to be carried out.

        Raises OutcomeUnknown, ResultPurged, LedgerUnavailable, and RequestInProgress after LONGEST_WAIT or when the
        caller has hung up.
        """
        if not call.is_retry or call.idem_key is not None:
            return None
        ids = self._candidates(call)
        for pause in _pauses():
            found = self._read(call.tenant_id, ids)
            if call.gone():  # else it would take the answer from a later retry that waits beside it
                break
            for one in found:
                if one.state == "unknown":
                    raise OutcomeUnknown(hold_id=one.id)
                if one.state == "settled" and one.unsent and self._mark(call.tenant_id, one.id, unsent=False):
                    return Joined(_result(one), self.delivery(call, one.id))
            ids = [one.id for one in found if one.state in joins.RUNNING]
            if not ids:
                return None
            self._sleep(pause)
        raise RequestInProgress("The first try of this request is still running.", retry_after=1)

    def delivery(self, call: Call, hold_id: str) -> Delivery:
        """The way of the hold's answer to this caller."""

        def lost() -> None:
            try:
                self._mark(call.tenant_id, hold_id, unsent=True)
            except LedgerUnavailable:
                log.warning("lost_answer_not_marked", hold=hold_id, tenant=call.tenant_id)

        return Delivery(call.gone, lost)

    def _candidates(self, call: Call) -> list[str]:
        with self._database.read() as tx:
            since = first_id("hold", self._database.now(tx) - RECENT_SECONDS)
            return joins.of_retry(tx, call.tenant_id, call.identity.key.id, call.fingerprint, since)

    def _read(self, tenant_id: str, ids: list[str]) -> list[joins.Found]:
        if not ids:
            return []
        with self._database.read() as tx:
            return joins.read(tx, tenant_id, ids)

    def _mark(self, tenant_id: str, hold_id: str, *, unsent: bool) -> bool:
        with self._database.write() as tx:
            return joins.mark(tx, tenant_id, hold_id, unsent=unsent)


def _result(found: joins.Found) -> StoredResult:
    if found.result is None:
        raise ResultPurged("This request was charged, but its result is not kept.", hold_id=found.id)
    return found.result


def _pauses() -> Iterator[float]:
    """Seconds between looks, growing from 50 ms to one second, LONGEST_WAIT in all."""
    waited, pause = 0.0, 0.05
    while waited < LONGEST_WAIT:
        yield pause
        waited, pause = waited + pause, min(pause * 1.5, 1.0)
