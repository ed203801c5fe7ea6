"""A process that does jobs and may be killed at any moment; run as `python job_worker.py URL FOLDER`.

A job leaves the file FOLDER/ID, with a line for each time that it was done. Ends on SIGTERM, after what it has in hand.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from rollout.core.jobs import Job
from rollout.db.engine import Database
from rollout.jobs import Runner
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.jobs import JobQueue

KIND = "write"
LEASE = 2
WORK_SECONDS = 0.02
"""How long a job takes: without it, nobody would be killed in the middle of one."""


def runner(url: str, folder: Path) -> Runner:
    database = Database(url)

    def write(job: Job) -> None:
        time.sleep(WORK_SECONDS)
        with (folder / job.id).open("a") as out:
            out.write(f"{job.attempt}\n")

    return Runner(
        JobQueue(database, Changes(database), new_id, lease_seconds=LEASE), {KIND: write}, threads=4
    )


if __name__ == "__main__":
    one = runner(sys.argv[1], Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: one.stop())
    one.run()
