"""A process that works on the ledger up to a point, says so, and waits to be killed: `python ledger_worker.py URL POINT`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import replace

import structlog
from ledgers import RESULT, actual, ledger_on, request

from rollout.core.holds import HoldRequest
from rollout.db.engine import Database
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

LEASE = GRACE = 1
POINTS = ("held", "dispatched", "done", "settling")
UNTOLD: HoldRequest = request(money=10, meter_rev=-1)
"""Built on no meters at all, so that the ledger takes those that there are."""


def stop(ledger: Ledger, point: str) -> None:
    with ledger.hold(replace(UNTOLD, dispatch=point != "held")) as held:
        if point in ("done", "settling"):
            print(f"done {held.id}", flush=True)
        if point == "settling":
            held.settle(actual(money=10), RESULT, also=lambda tx, now: wait_for_death(held.id))
        wait_for_death(held.id)


def wait_for_death(hold_id: str) -> None:
    print(hold_id, flush=True)
    threading.Event().wait()


def main(url: str, point: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    stop(ledger_on(Database(url), lease=LEASE, grace=GRACE, new_id=new_id, sleep=time.sleep), point)


if __name__ == "__main__":
    main(*sys.argv[1:])
