"""The console's first page: each question is one indexed query, and what takes longer is kept for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rollout.core.decisions import FEATURES
from rollout.core.overview import Calls, LastDay, Needs, Spike
from rollout.db import (
    catalogue_proposals,
    change_requests,
    jobs,
    kills,
    overview,
    plans,
    revision,
    schedules,
    verifications,
)
from rollout.db.engine import Database, Tx
from rollout.services.ids import first_id
from rollout.services.ledger import Ledger
from rollout.services.plans import Count, Plans
from rollout.services.workers import Workers

V = TypeVar("V")

DAY, HOUR = 86_400, 3600
BEFORE_DAYS = 7
SHOWN = 5
"""Full limits, and halts of a feature."""

KEPT_SECONDS = 10
"""How old the figures of the last 24 hours may be: adding up 33,000 calls takes 25 ms."""


@dataclass(frozen=True)
class Standing:
    """A feature now. `state` is its run's, `on` without a plan, `stopped` while it is killed for everyone; `inside` None: no plan."""

    feature: str
    state: str
    phase: str | None
    inside: Count | None
    running: int
    halts: int


class Overview:
    def __init__(self, database: Database, plans: Plans, ledger: Ledger, workers: Workers) -> None:
        self._database, self._plans, self._ledger, self._workers = database, plans, ledger, workers
        self._kept: dict[str, tuple[int, int, Any]] = {}
        self._keeping = threading.Lock()

    def features(self) -> list[Standing]:
        """Each feature; how many are in is counted anew when something was changed, and every KEPT_SECONDS."""
        with self._database.read() as tx:
            now, number = self._database.now(tx), revision.current(tx)
            running, killed = plans.all_(tx), kills.for_everyone(tx)
            return [
                Standing(
                    feature,
                    "stopped" if feature in killed else plan.run.state if plan else "on",
                    plan.phase.title if plan else None,
                    self._keep(feature, number, now, self._counter(feature)) if plan else None,
                    self._ledger.running(tx, feature, None),
                    len(kills.halts(tx, feature, limit=SHOWN)),
                )
                for feature in FEATURES
                for plan in (running.get(feature),)
            ]

    def needs_you(self) -> Needs:
        """What waits for somebody; nothing of it is a number only."""
        ratings = self.last_day().ratings
        gone = sum(worker["state"] != "running" for worker in self._workers.list())
        with self._database.read() as tx:
            killed = kills.for_everyone(tx)
            stopped = [
                *killed.values(),
                *(halt for feature in FEATURES for halt in kills.halts(tx, feature, limit=SHOWN)),
            ]
            return Needs(
                asked=overview.asked(tx),
                full=overview.fullest(tx, self._database.now(tx), SHOWN),
                doubt=overview.doubt(tx, but=self._ledger.reviewed()),
                review=overview.doubt(tx, of=self._ledger.reviewed()),
                bad=overview.open_and_bad(tx),
                spike=ratings if ratings.is_one else None,
                stopped=stopped,
                gone=gone,
                wrong=next((one for one in verifications.page(tx, limit=1) if not one.is_clean), None),
                dead=jobs.count_dead(tx, self._database.now(tx) - BEFORE_DAYS * DAY, overview.COUNTED_OPEN),
                changes=[
                    one for feature in sorted(plans.all_(tx)) for one in change_requests.waiting(tx, feature)
                ],
                conflicts=[one for one in schedules.open_(tx) if one.state == "conflict"],
                proposals=catalogue_proposals.count_open(tx),
            )

    def last_day(self) -> LastDay:
        """The last 24 hours, at most KEPT_SECONDS old."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            return self._keep("last_day", 0, now, lambda: _last_day(tx, now))

    def _counter(self, feature: str) -> Callable[[], Count]:
        return lambda: self._plans.count(feature)

    def _keep(self, name: str, number: int, now: int, make: Callable[[], V]) -> V:
        """What `make` gives, or gave for the same number within KEPT_SECONDS."""
        with self._keeping:
            kept_number, made_at, value = self._kept.get(name, (-1, 0, None))
            if kept_number != number or not made_at <= now < made_at + KEPT_SECONDS:
                value = make()
                self._kept[name] = (number, now, value)
            found: V = value
            return found


def _last_day(tx: Tx, now: int) -> LastDay:
    began = now - DAY
    since, rows = overview.calls(tx, began)
    by_feature = {feature: Calls() for feature in FEATURES}
    hours = [0] * (DAY // HOUR)
    for hour, feature, calls in rows:
        by_feature[feature] = by_feature.get(feature, Calls()) + calls
        hours[min(hour, len(hours) - 1)] += calls.calls
    lately = overview.ratings(tx, first_id("fb", began), first_id("fb", now + DAY))
    before = overview.ratings(tx, first_id("fb", began - BEFORE_DAYS * DAY), first_id("fb", began))
    by_hour = [(began + hour * HOUR, calls) for hour, calls in enumerate(hours)]
    return LastDay(since, now, by_feature, by_hour, overview.refused(tx, began), Spike(lately, before))
