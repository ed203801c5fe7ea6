"""Who does the jobs: several at once, on in spite of errors, to the end of what is in hand; and killed at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from job_worker import KIND
from processes import base_environ, wait_until
from structlog.testing import capture_logs

from rollout.core.jobs import Job, JobFailed, JobWaits
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.jobs import Runner
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.jobs import JobQueue

TESTS = Path(__file__).parent


def queue_on(database: Database, **settings: Any) -> JobQueue:
    return JobQueue(database, Changes(database), new_id, **settings)


def add(queue: JobQueue, database: Database, count: int, **fields: Any) -> list[str]:
    with database.write() as tx:
        wanted = {"tenant_id": "acme", "kind": KIND, "payload": {}, "max_attempts": 99, **fields}
        return [str(queue.add(tx, now=database.now(tx), **wanted)) for _ in range(count)]


@contextmanager
def running(runner: Runner) -> Iterator[None]:
    thread = threading.Thread(target=runner.run)
    thread.start()
    yield
    runner.stop()
    thread.join(20)
    assert not thread.is_alive()


def states(queue: JobQueue) -> list[str]:
    return [job.state for job in queue.page(cursor=None, limit=500)]


def test_jobs_are_done_several_at_once(database: Database) -> None:
    queue = queue_on(database)
    add(queue, database, 4)
    together = threading.Barrier(4)

    def work(_job: Job) -> dict[str, int]:
        together.wait(20)
        return {"status": 200}

    with running(Runner(queue, {KIND: work}, threads=4)):
        wait_until(lambda: states(queue) == ["done"] * 4, "four jobs to be done")
    assert queue.page(cursor=None, limit=1)[0].outcome == {"status": 200}


def test_a_job_that_raises_is_failed_and_the_others_go_on(database: Database) -> None:
    queue = queue_on(database)
    (poison,) = add(queue, database, 1, max_attempts=1)
    add(queue, database, 3)

    def work(job: Job) -> None:
        if job.id == poison:
            raise ValueError("poison")

    with capture_logs() as logs, running(Runner(queue, {KIND: work})):
        wait_until(lambda: sorted(states(queue)) == ["dead", "done", "done", "done"], "all to end")
    assert {"job_attempt_failed", "job_dead"} <= {line["event"] for line in logs}
    assert queue.get(poison).last_error == "ValueError('poison')"


def test_a_job_that_waits_comes_again_and_has_lost_no_attempt(database: Database) -> None:
    queue, seen = queue_on(database), list[int]()
    add(queue, database, 1, max_attempts=1)

    def work(job: Job) -> None:
        seen.append(job.attempt)
        if len(seen) < 4:
            raise JobWaits(0)

    with running(Runner(queue, {KIND: work})):
        wait_until(lambda: states(queue) == ["done"], "the job to be done")
    assert seen == [1] * 4


def test_no_subject_gets_more_than_its_share_of_threads(database: Database) -> None:
    queue, go_on, taken = queue_on(database), threading.Event(), list[str]()
    add(queue, database, 4, subject="hangs")
    add(queue, database, 1, subject="answers")

    def work(job: Job) -> None:
        taken.append(str(job.subject))
        if job.subject == "hangs":
            go_on.wait(20)

    with running(Runner(queue, {KIND: work}, threads=4, share=2)):
        wait_until(lambda: "answers" in taken, "the one behind those that hang")
        assert taken.count("hangs") == 2
        go_on.set()
        wait_until(lambda: states(queue) == ["done"] * 5, "all to be done")


def test_stopping_ends_what_is_in_hand_and_takes_nothing_more(database: Database) -> None:
    queue, started, go_on = queue_on(database), threading.Event(), threading.Event()
    (first,) = add(queue, database, 1)

    def work(_job: Job) -> None:
        started.set()
        go_on.wait(20)

    runner = Runner(queue, {KIND: work}, threads=1)
    with running(runner):
        assert started.wait(20)
        (second,) = add(queue, database, 1)
        runner.stop()
        go_on.set()
    assert (queue.get(first).state, queue.get(second).state) == ("done", "ready")


def test_the_lease_of_a_long_job_is_renewed_while_it_runs_and_while_it_stops(database: Database) -> None:
    queue, go_on, renewals = queue_on(database), threading.Event(), threading.Semaphore(0)
    renew = queue.renew

    def count(in_hand: Any) -> None:
        renew(in_hand)
        if in_hand:
            renewals.release()

    queue.renew = count  # type: ignore[method-assign]
    queue.lease_seconds = 0  # a third of it has always passed
    add(queue, database, 1)
    runner = Runner(queue, {KIND: lambda _job: go_on.wait(20) and None})
    with running(runner):
        assert renewals.acquire(timeout=20)
        runner.stop()
        assert renewals.acquire(timeout=20)
        go_on.set()


def test_with_the_database_away_the_runner_goes_on() -> None:
    class Away:
        lease_seconds = 60
        claims = threading.Semaphore(0)

        def claim(self, *_: object) -> list[Job]:
            self.claims.release()
            raise LedgerUnavailable

    away = Away()
    with capture_logs() as logs, running(Runner(away, {KIND: lambda _: None})):  # type: ignore[arg-type]
        assert away.claims.acquire(timeout=20)
        assert away.claims.acquire(timeout=20)
    assert {line["event"] for line in logs} == {"job_failed"}


def test_what_could_not_be_written_down_is_done_again_by_another(database: Database) -> None:
    queue, done = queue_on(database), threading.Semaphore(0)
    finish = queue.finish

    def fail_once(job: Job, outcome: Any = None) -> bool:
        if job.attempt == 1:
            raise LedgerUnavailable
        return finish(job, outcome)

    queue.finish = fail_once  # type: ignore[method-assign]
    queue.lease_seconds = 0
    add(queue, database, 1)
    with capture_logs(), running(Runner(queue, {KIND: lambda _job: done.release()})):
        wait_until(lambda: states(queue) == ["done"], "the second attempt")
    assert queue.page(cursor=None, limit=1)[0].attempt >= 2


# -- kill -9 ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a process that does jobs; all are dead at the end."""
    begun: list[subprocess.Popen[bytes]] = []
    folder = tmp_path / "done"
    folder.mkdir()

    def begin() -> subprocess.Popen[bytes]:
        command = [sys.executable, str(TESTS / "job_worker.py"), database_url, str(folder)]
        environ = base_environ()
        environ["PYTHONPATH"] += f":{TESTS}"
        begun.append(subprocess.Popen(command, env=environ, cwd=TESTS.parent))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.wait(20)


def test_killed_again_and_again_nothing_is_lost_and_nothing_is_left(
    start: Callable[[], subprocess.Popen[bytes]], database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    queue = queue_on(database)
    wanted = set(add(queue, database, 120))
    folder = tmp_path / "done"

    def written() -> int:
        return len(list(folder.iterdir()))

    for victim in range(3):
        worker, before = start(), written()
        wait_until(lambda before=before: written() > before, f"worker {victim} to work")  # type: ignore[misc]
        worker.send_signal(signal.SIGKILL)
        worker.wait(20)
    last = start()
    wait_until(lambda: set(states(queue)) == {"done"}, "all jobs to be done")
    last.send_signal(signal.SIGTERM)
    assert last.wait(20) == 0
    jobs = queue.page(cursor=None, limit=500)
    assert {job.id for job in jobs} == {file.name for file in folder.iterdir()} == wanted
    for job in jobs:
        times = (folder / job.id).read_text().split()
        assert len(times) == len(set(times)), "one claim was done twice"
        assert len(times) <= job.attempt
    database.close()


def test_a_worker_that_is_stopped_ends_its_work_and_leaves_nothing_claimed(
    start: Callable[[], subprocess.Popen[bytes]], database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    queue = queue_on(database)
    add(queue, database, 200)
    worker = start()
    wait_until(lambda: len(list((tmp_path / "done").iterdir())) > 4, "the worker to work")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert "running" not in states(queue)
    assert states(queue).count("done") == len(list((tmp_path / "done").iterdir()))
    database.close()


def test_a_job_failing_on_purpose_keeps_its_words(database: Database) -> None:
    queue = queue_on(database)
    add(queue, database, 1)

    def work(_job: Job) -> None:
        raise JobFailed("the vendor has no such task", final=True)

    with capture_logs(), running(Runner(queue, {KIND: work})):
        wait_until(lambda: states(queue) == ["dead"], "it to be dead")
    assert queue.page(cursor=None, limit=1)[0].last_error == "the vendor has no such task"
