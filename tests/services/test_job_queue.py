"""The queue: nothing is lost, nothing is done by two, what a dead or stalled owner says does not count."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from clocks import Clock
from structlog.testing import capture_logs

from rollout.core.audit import Actor
from rollout.core.jobs import SHARE, Job, JobFailed
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.audit import AuditLog
from rollout.services.changes import Changes
from rollout.services.ids import ids_by
from rollout.services.jobs import KEEP_SECONDS, LEASE_SECONDS, JobQueue

ANA = Actor("token:ana")
KINDS = {"webhook"}


@pytest.fixture
def queue(database: Database, clock: Clock) -> JobQueue:
    return JobQueue(database, Changes(database), ids_by(clock), random=lambda: 0.5)


def add(queue: JobQueue, database: Database, **fields: Any) -> str | None:
    with database.write() as tx:
        wanted = {"kind": "webhook", "payload": {"a": 1}, "tenant_id": "acme", "max_attempts": 3, **fields}
        return queue.add(tx, now=database.now(tx), **wanted)


def claimed(queue: JobQueue) -> Job:
    (job,) = queue.claim(KINDS, 1)
    return job


# -- added -----------------------------------------------------------------------------------------------------------------------------


def test_a_job_is_there_if_and_only_if_its_transaction_committed(queue: JobQueue, database: Database) -> None:
    def fail() -> None:
        with database.write() as tx:
            queue.add(tx, now=0, tenant_id="acme", kind="webhook", payload={}, max_attempts=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert queue.page(cursor=None, limit=9) == []
    kept = add(queue, database, subject="wh_1")
    (job,) = queue.page(cursor=None, limit=9)
    assert (job.id, job.state, job.attempt, job.subject, job.payload) == (kept, "ready", 0, "wh_1", {"a": 1})


def test_the_same_work_waits_once_and_may_come_again_when_it_is_done(
    queue: JobQueue, database: Database
) -> None:
    first = add(queue, database, dedupe="hold_1")
    assert add(queue, database, dedupe="hold_1") is None
    assert add(queue, database, dedupe="hold_1", kind="reconcile")
    assert add(queue, database, dedupe="hold_1", tenant_id="globex")
    job = next(job for job in queue.claim(KINDS, 9) if job.id == first)
    assert add(queue, database, dedupe="hold_1") is None
    assert queue.finish(job)
    assert add(queue, database, dedupe="hold_1")


# -- claimed ---------------------------------------------------------------------------------------------------------------------------


def test_who_waits_longest_comes_first_and_nobody_before_its_time(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    later = add(queue, database, run_at=int(clock()) + 10)
    second = add(queue, database, run_at=int(clock()) - 5)
    first = add(queue, database, run_at=int(clock()) - 9)
    assert [job.id for job in queue.claim(KINDS, 9)] == [first, second]
    clock.advance(10)
    assert [job.id for job in queue.claim(KINDS, 9)] == [later]


def test_only_kinds_that_somebody_does_are_claimed(queue: JobQueue, database: Database) -> None:
    add(queue, database, kind="reconcile")
    assert queue.claim(KINDS, 9) == []
    assert [job.kind for job in queue.claim({"reconcile"}, 9)] == ["reconcile"]


def test_many_who_claim_at_once_get_each_job_once(queue: JobQueue, database: Database) -> None:
    wanted = {add(queue, database) for _ in range(40)}
    got: list[str] = []
    ready = threading.Barrier(8)

    def take() -> None:
        ready.wait()
        while jobs := queue.claim(KINDS, 3):
            got.extend(job.id for job in jobs)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(job_id for job_id in wanted if job_id)


def test_a_subject_that_has_its_share_in_hand_waits(queue: JobQueue, database: Database) -> None:
    for _ in range(SHARE + 2):
        add(queue, database, subject="wh_slow")
    other = add(queue, database, subject="wh_other")
    in_hand = queue.claim(KINDS, 16)
    assert sorted(str(job.subject) for job in in_hand) == ["wh_other"] + ["wh_slow"] * SHARE
    assert queue.claim(KINDS, 16, in_hand) == []
    assert queue.finish(next(job for job in in_hand if job.id == other))
    rest = [job for job in in_hand if job.id != other][1:]
    assert len(queue.claim(KINDS, 16, rest)) == 1


# -- its owner dies, or stalls ---------------------------------------------------------------------------------------------------------


def test_a_job_whose_owner_died_is_claimed_again_when_its_lease_has_passed(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    add(queue, database)
    dead = claimed(queue)
    clock.advance(LEASE_SECONDS - 1)
    assert queue.claim(KINDS, 9) == []
    clock.advance(1)
    again = claimed(queue)
    assert (again.id, again.attempt) == (dead.id, 2)
    assert again.lease != dead.lease


def test_who_renews_keeps_the_job(queue: JobQueue, database: Database, clock: Clock) -> None:
    add(queue, database)
    job = claimed(queue)
    for _ in range(5):
        clock.advance(LEASE_SECONDS - 1)
        queue.renew([job])
        assert queue.claim(KINDS, 9) == []
    assert queue.finish(job)


def test_what_a_stalled_owner_reports_is_dropped(queue: JobQueue, database: Database, clock: Clock) -> None:
    add(queue, database)
    stalled = claimed(queue)
    clock.advance(LEASE_SECONDS)
    owner = claimed(queue)
    with capture_logs() as logs:
        assert not queue.finish(stalled, {"by": "stalled"})
        assert not queue.fail(stalled, JobFailed("stalled", final=True))
        queue.renew([stalled])
    assert [line["event"] for line in logs] == ["job_result_dropped"] * 2
    assert queue.get(owner.id) == owner
    assert queue.finish(owner, {"by": "owner"})
    assert not queue.finish(stalled, {"by": "stalled"})
    ended = queue.get(owner.id)
    assert (ended.state, ended.outcome, ended.lease) == ("done", {"by": "owner"}, None)


def test_a_stalled_owner_does_not_count_after_a_replay_either(queue: JobQueue, database: Database) -> None:
    add(queue, database, max_attempts=1)
    stalled = claimed(queue)
    queue.fail(stalled, JobFailed("no"))
    queue.replay(ANA, stalled.id, "again")
    owner = claimed(queue)
    assert owner.attempt == stalled.attempt
    assert not queue.finish(stalled)
    assert queue.finish(owner)


def test_a_job_that_kills_its_worker_each_time_is_dead_and_not_done_for_ever(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    poison = add(queue, database, max_attempts=3)
    for attempt in (1, 2, 3):
        assert claimed(queue).attempt == attempt
        clock.advance(LEASE_SECONDS)
    with capture_logs() as logs:
        assert queue.claim(KINDS, 9) == []
    assert [(line["event"], line["log_level"]) for line in logs] == [("job_dead", "error")]
    (dead,) = queue.page(state="dead", cursor=None, limit=9)
    assert dead.id == poison
    assert "died" in str(dead.last_error)
    assert queue.replay(ANA, dead.id, "try once more").state == "ready"
    assert claimed(queue).attempt == 1


# -- it fails --------------------------------------------------------------------------------------------------------------------------


def test_a_failed_job_comes_again_after_longer_and_longer_pauses_and_then_is_dead(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    add(queue, database, max_attempts=3)
    for seconds in (6, 26):
        job = claimed(queue)
        assert queue.fail(job, JobFailed("the receiver answered 500", outcome={"status": 500}))
        waiting = queue.get(job.id)
        assert (waiting.state, waiting.run_at - int(clock())) == ("ready", seconds)
        assert (waiting.last_error, waiting.outcome) == ("the receiver answered 500", {"status": 500})
        assert queue.claim(KINDS, 9) == []
        clock.advance(seconds)
    with capture_logs() as logs:
        assert queue.fail(claimed(queue), ValueError("a bug"))
    assert [(line["event"], line["log_level"]) for line in logs] == [("job_dead", "error")]
    (dead,) = queue.page(state="dead", cursor=None, limit=9)
    assert (dead.last_error, dead.ended_at) == ("ValueError('a bug')", int(clock()))
    clock.advance(10 * LEASE_SECONDS)
    assert queue.claim(KINDS, 9) == []


def test_a_handler_may_say_when_to_come_again_or_never(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    add(queue, database)
    job = claimed(queue)
    queue.fail(job, JobFailed("not yet", retry_after=30))
    assert queue.get(job.id).run_at == int(clock()) + 30
    clock.advance(30)
    queue.fail(claimed(queue), JobFailed("never", final=True))
    assert queue.get(job.id).state == "dead"


# -- by operators ----------------------------------------------------------------------------------------------------------------------


def test_an_ended_job_is_done_again_with_all_of_its_attempts(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    add(queue, database)
    job = claimed(queue)
    queue.fail(job, JobFailed("gone", final=True))
    again = queue.replay(ANA, job.id, "it is back")
    assert (again.state, again.attempt, again.run_at, again.ended_at) == ("ready", 0, int(clock()), None)
    entry = AuditLog(database).page(limit=1)[0]
    assert (entry["action"], entry["subject"], entry["tenant_id"]) == ("job.replayed", job.id, "acme")
    assert (entry["before"]["state"], entry["after"]["state"]) == ("dead", "ready")
    assert queue.finish(claimed(queue))


def test_a_job_that_waits_or_runs_is_not_replayed(queue: JobQueue, database: Database) -> None:
    job_id = str(add(queue, database))
    with pytest.raises(Conflict, match="The job is ready"):
        queue.replay(ANA, job_id, "now")
    claimed(queue)
    with pytest.raises(Conflict, match="The job is running"):
        queue.replay(ANA, job_id, "now")


def test_a_dead_job_is_not_replayed_while_the_same_work_waits(queue: JobQueue, database: Database) -> None:
    dead = str(add(queue, database, dedupe="hold_1"))
    queue.fail(claimed(queue), JobFailed("no", final=True))
    add(queue, database, dedupe="hold_1")
    with pytest.raises(Conflict, match="Another job for the same thing"):
        queue.replay(ANA, dead, "again")


def test_a_trial_replays_nothing(queue: JobQueue, database: Database) -> None:
    add(queue, database)
    job = claimed(queue)
    queue.finish(job)
    assert queue.replay(ANA, job.id, "again", dry_run=True).state == "ready"
    assert queue.get(job.id).state == "done"


def test_jobs_are_listed_newest_first_by_state_kind_and_subject(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    ids = []
    for subject in ("wh_1", "wh_2", "wh_1"):
        ids.append(add(queue, database, subject=subject))
        clock.advance(1)
    add(queue, database, kind="reconcile", subject="hold_1")
    listed = queue.page(kind="webhook", subject="wh_1", cursor=None, limit=9)
    assert [job.id for job in listed] == [ids[2], ids[0]]
    assert [job.id for job in queue.page(kind="webhook", cursor=ids[2], limit=1)] == [ids[1]]
    assert queue.page(state="dead", cursor=None, limit=9) == []
    with pytest.raises(InvalidRequest, match="There is no state 'lost'") as refused:
        queue.page(state="lost", cursor=None, limit=9)
    assert refused.value.members["param"] == "state"
    with pytest.raises(NotFound):
        queue.get("job_nobody")


def test_jobs_that_ended_are_forgotten_after_thirty_days_and_open_ones_never(
    queue: JobQueue, database: Database, clock: Clock
) -> None:
    done = str(add(queue, database))
    queue.finish(claimed(queue))
    waiting = add(queue, database, run_at=int(clock()) + 10 * KEEP_SECONDS)
    clock.advance(KEEP_SECONDS - 1)
    assert queue.purge() == 0
    assert queue.get(done).state == "done"
    clock.advance(1)
    assert queue.purge() == 1
    assert [job.id for job in queue.page(cursor=None, limit=9)] == [waiting]
