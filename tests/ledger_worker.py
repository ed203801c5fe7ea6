"""A process that works on the ledger and may be killed at any moment; run as `python ledger_worker.py ROLE URL ...`.

storm URL SEED     buys as much as it can with several threads, then prints {"sold", "refused", "wrong"}
stop URL POINT     works up to POINT, says so, and waits to be killed
work URL LOG       works on and on; LOG gets a line `done HOLD` when the vendor has done it, `charged HOLD` when we know it is charged
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import structlog
from ledgers import RESULT, actual, ledger_on, request

from rollout.core.holds import HoldRequest
from rollout.db.engine import Database
from rollout.errors import InsufficientQuota, QuotaExceeded
from rollout.providers.base import NotSent
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

THREADS, REFUSALS = 4, 3
LEASE = GRACE = 1
POINTS = ("held", "dispatched", "done", "settling")
UNTOLD: HoldRequest = request(money=10, meter_rev=-1)
"""Built on no meters at all, so that the ledger takes those that there are."""


def storm(ledger: Ledger, seed: int) -> None:
    counted: Counter[str] = Counter()
    threads = [
        threading.Thread(target=buy, args=(ledger, random.Random(seed + n), counted)) for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counted))


def buy(ledger: Ledger, chance: random.Random, counted: Counter[str]) -> None:
    """Until refused a few times for good; one call in ten does not reach the vendor, and slots are waited for."""
    refusals = 0
    while refusals < REFUSALS:
        try:
            with ledger.hold(UNTOLD) as held:
                if chance.random() < 0.1:
                    raise NotSent
                held.settle(actual(money=10), None)
            counted["sold"] += 1
        except NotSent:
            counted["not_sent"] += 1
        except InsufficientQuota:
            refusals += 1
        except QuotaExceeded:
            counted["waited"] += 1
            time.sleep(
                chance.random() / 100
            )  # as a client that is told to come back: without it all spin on the slot
        except Exception as error:
            print(repr(error), file=sys.stderr)
            counted["wrong"] += 1
            return


def stop(ledger: Ledger, point: str) -> None:
    with ledger.hold(HoldRequest(**{**vars(UNTOLD), "dispatch": point != "held"})) as held:
        if point in ("done", "settling"):
            log(f"done {held.id}")
        if point == "settling":
            held.settle(actual(money=10), RESULT, also=lambda tx, now: wait_for_death(held.id))
        wait_for_death(held.id)


def wait_for_death(hold_id: str) -> None:
    print(hold_id, flush=True)
    threading.Event().wait()


def work(ledger: Ledger, file: Path) -> None:
    """Each line of the log is on the disk before the next thing happens, as a vendor's books would be."""
    with file.open("ab", buffering=0) as out:
        while True:
            with ledger.hold(UNTOLD) as held:
                out.write(f"done {held.id}\n".encode())
                os.fsync(out.fileno())
                held.settle(actual(money=7), RESULT)
            out.write(f"charged {held.id}\n".encode())
            os.fsync(out.fileno())


def log(line: str) -> None:
    print(line, flush=True)


def main(role: str, url: str, argument: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    database = Database(url)
    ledger = ledger_on(
        database, lease=60 if role == "storm" else LEASE, grace=GRACE, new_id=new_id, sleep=time.sleep
    )
    match role:
        case "storm":
            storm(ledger, int(argument))
        case "stop":
            stop(ledger, argument)
        case "work":
            work(ledger, Path(argument))


if __name__ == "__main__":
    main(*sys.argv[1:])
