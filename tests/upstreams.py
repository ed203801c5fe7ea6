"""Services that an Unleash server decides with: acme is granted, the plan of image generation stands at private_beta."""

from __future__ import annotations

from typing import Any

from doors import ACME, ALICE, GLOBEX, SECRET, NoHolds, counting_ids, switches_of
from fake_unleash import FakeAdmin, document

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.flag_push import Standing
from rollout.core.jobs import Job
from rollout.core.steps import Advance, RollBack
from rollout.db.engine import Clock, Database
from rollout.services.catalogue import load_seed
from rollout.services.change_requests import ChangeRequests
from rollout.services.changes import Changes
from rollout.services.features import Features
from rollout.services.flag_push import KIND, FlagPushes, follow
from rollout.services.grants import Grants
from rollout.services.jobs import JobQueue
from rollout.services.plans import Plans
from rollout.services.state import State
from rollout.services.tenants import Tenants
from rollout.services.upstream_flags import Upstream, UpstreamFlags
from rollout.services.workers import Workers

MAX_AGE = 60
SERVER = Upstream("http://unleash.test/api", "*:production.secret", "production")


class Process:
    """One process of a service: what it knows of Unleash, and what it decides."""

    def __init__(self, database: Database, clock: Clock, server: Upstream = SERVER) -> None:
        self.database, self.clock, self.new_id = database, clock, counting_ids()
        self.changes = Changes(database, follow=follow(self.new_id))
        self.upstream = UpstreamFlags(database, self.changes, server, max_age=MAX_AGE, monotonic=clock)
        self.state = State(database, SECRET, self.upstream, clock=clock, monotonic=clock)
        switches = switches_of(database, self.changes, NoHolds(), Workers(database))
        self.features = Features(database, self.state, switches, clock=clock)

    def hears(self, text: str, etag: str = '"1"') -> bool:
        """A poll that brought this; and a look at the revision."""
        kept = self.upstream.take(text, etag)
        if kept:
            self.upstream.confirm(self.clock())
        self.state.refresh()
        return kept

    def decides(self, tenant: str = "acme", feature: str = GENERATION) -> str:
        """The reason for what is decided, `no:` before one that keeps out; the worker goes on looking at the revision."""
        self.state.refresh()
        decision = self.features.decide(self.state.facts(tenant), feature)
        return decision.reason if decision.allowed else f"no: {decision.reason}"

    def analyses(self) -> bool:
        return self.decides(feature=ANALYSIS) == "ga"


class Site(Process):
    """The process that a person works at, and the Unleash server that it writes to."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self.admin = FakeAdmin()
        self.pushes = FlagPushes(
            database, self.changes, self.new_id, self.upstream, self.admin, monotonic=clock
        )
        self.jobs = JobQueue(database, self.changes, self.new_id)
        self.plans = Plans(database, self.changes, load_seed, self.new_id)
        self.requests = ChangeRequests(database, self.changes, self.plans, self.new_id)
        self.grants = Grants(database, self.changes, self.new_id)
        for tenant in (ACME, GLOBEX):
            Tenants(database, self.changes).add(ALICE, tenant, "seed")
        with self.changes.begin(ALICE, "seed") as change:
            self.plans.ensure_plan(change, GENERATION, "private_beta")
        self.grants.add(ALICE, "acme", GENERATION, "seed")

    def advance(self, to: str) -> None:
        self.requests.submit(ALICE, GENERATION, Advance(to), "on")

    def roll_back(self, to: str) -> None:
        self.requests.submit(ALICE, GENERATION, RollBack(to), "back")

    def kill(self, **how: Any) -> None:
        self.features.kill(ALICE, GENERATION, "stop", wait=0, **how)

    def work(self) -> list[Any]:
        """Do the pushes that are due; what became of each."""
        return [self._do(job) for job in self.jobs.claim({KIND}, 16)]

    def polls(self) -> bool:
        """What Unleash has reaches this process."""
        return self.hears(self.text())

    def text(self) -> str:
        return document(*(_feature(name, there) for name, there in self.admin.flags.items()))

    def push(self) -> dict[str, Any]:
        """How far the plan's flag has got."""
        (shown,) = self.pushes.upstream()["pushes"]
        return dict(shown)

    def _do(self, job: Job) -> Any:
        try:
            outcome = self.pushes.carry_out(job)
        except Exception as error:
            self.jobs.fail(job, error)
            return str(error)
        self.jobs.finish(job, outcome)
        return outcome["done"]


def _feature(name: str, there: Standing) -> dict[str, Any]:
    strategies = [
        {key: value for key, value in item.items() if key not in ("title", "disabled", "segments")}
        for _, item in there.strategies
    ]
    return {"name": name, "enabled": there.enabled, "project": "default", "strategies": strategies}
