"""Many reserve, dispatch and settle while something is stopped: what the stop saw is all that there ever is of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from ledgers import NOON, RESULT, actual, ledger_on, request

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.holds import HoldRequest
from rollout.core.kills import EVERYONE, Kill, vendor_switch
from rollout.db import kills, meters
from rollout.db.engine import Database, Tx
from rollout.db.tables import hold
from rollout.errors import FeatureKilled, FeatureNotEnabled, RolloutError, UpstreamUnavailable
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

OPENAI, OTHER = vendor_switch("openai"), vendor_switch("other")
THREADS, BEFORE, AFTER = 6, 12, 12
PATIENCE = 60


@dataclass
class Storm:
    """Threads of two workers that go on until they are refused, or everything has been seen; `sold` counts what they did."""

    database: Database
    wanted: list[HoldRequest]
    sold: Counter[int] = field(default_factory=Counter)
    refused: list[RolloutError] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        workers = [ledger_on(self.database, new_id=new_id) for _ in range(2)]
        self.threads = [
            threading.Thread(target=self._buy, args=(workers[number % 2], number % len(self.wanted)))
            for number in range(THREADS)
        ]

    def _buy(self, ledger: Ledger, which: int) -> None:
        """Every other one is held first, and dispatched on its own."""
        while not self.over.is_set():
            for dispatch in (True, False):
                try:
                    with ledger.hold(ledger_request(self.wanted[which], dispatch)) as held:
                        held.dispatch()
                        held.settle(actual(), RESULT)
                except RolloutError as error:
                    self.refused.append(error)
                    return
                self.sold[which] += 1

    def wait_for(self, which: int, count: int) -> None:
        patience = threading.Event()
        for _ in range(PATIENCE * 100):
            if self.sold[which] >= count:
                return
            patience.wait(0.01)
        raise AssertionError(f"only {self.sold} was sold")


def ledger_request(wanted: HoldRequest, dispatch: bool) -> HoldRequest:
    return request(
        tenant_id=wanted.tenant_id, feature=wanted.feature, vendor=wanted.vendor, switches=wanted.switches,
        dispatch=dispatch,
    )  # fmt: skip


@pytest.fixture
def storm(database_url: str) -> Iterator[Storm]:
    opened = Database(database_url)
    yield_to = Storm(
        opened,
        [
            request(switches=(OPENAI,)),
            request(tenant_id="globex", feature=ANALYSIS, vendor="other", switches=(OTHER,)),
        ],
    )
    yield yield_to
    yield_to.over.set()
    for thread in yield_to.threads:
        thread.join(PATIENCE)
    opened.close()


@pytest.mark.parametrize(
    ("switch", "tenant", "error"),
    [
        (GENERATION, EVERYONE, FeatureKilled),
        (GENERATION, "acme", FeatureNotEnabled),
        (OPENAI, EVERYONE, UpstreamUnavailable),
    ],
)
def test_no_hold_commits_after_a_stop_and_others_go_on(
    storm: Storm, switch: str, tenant: str, error: type[RolloutError]
) -> None:
    for thread in storm.threads:
        thread.start()
    storm.wait_for(0, BEFORE)
    seen = stop(storm.database, switch, tenant)
    storm.wait_for(1, storm.sold[1] + AFTER)
    storm.over.set()
    for thread in storm.threads:
        thread.join(PATIENCE)

    with storm.database.read() as tx:
        left = states(tx)
    assert sum(left.values()) == sum(seen.values())
    assert left["held"] == left["dispatched"] == left["unknown"] == 0
    assert left["settled"] == seen["dispatched"] + seen["settled"]
    assert len(storm.refused) == THREADS // 2
    assert {type(refusal) for refusal in storm.refused} <= {error}


def stop(database: Database, switch: str, tenant: str) -> Counter[str]:
    """As the switch does it; the states of acme's holds before anything was voided, in the stop's own transaction."""
    with database.write() as tx:
        meters.lock_gate(tx, switch, exclusive=True)
        seen = states(tx)
        kills.put(tx, Kill(switch, tenant, True, "finish", "drill", "token:alice", NOON, 1))
        ledger_on(database, new_id=new_id).void_held(tx, switch, None if tenant == EVERYONE else tenant, NOON)
    return seen


def states(tx: Tx) -> Counter[str]:
    found = sa.select(hold.c.state, sa.func.count()).where(hold.c.tenant_id == "acme").group_by(hold.c.state)
    return Counter({row[0]: row[1] for row in tx.execute(found)})
