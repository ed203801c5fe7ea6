"""Jobs: work for later, written in the transaction that makes it necessary, and done at least once.

    ready --claimed--> running --done--> done
      ^                   |
      |                   +-- waits, failed, or its lease passed: ready again; after the last attempt: dead
      +---- replayed by a person ---- done, dead

Times in UTC epoch seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.meters import PLATFORM
from rollout.core.times import rfc3339

State = Literal["ready", "running", "done", "dead"]

STATES: tuple[State, ...] = get_args(State)
FIRST_PAUSE = 10
LONGEST_PAUSE = 16 * 3600
SHARE = 4
"""How many jobs about one subject a process does at once: a receiver that hangs takes no more of its threads."""


@dataclass(frozen=True)
class Job:
    """`run_at`: when it may be claimed, of a running one when its lease passes; `lease`: of one claim, never used again.

    `outcome`: what the last attempt came to, as its kind says it.
    """

    tenant_id: str
    id: str
    kind: str
    payload: Mapping[str, Any]
    run_at: int
    max_attempts: int
    created_at: int
    state: State = "ready"
    subject: str | None = None
    dedupe: str | None = None
    attempt: int = 0
    lease: str | None = None
    last_error: str | None = None
    outcome: Mapping[str, Any] | None = None
    ended_at: int | None = None

    @property
    def is_spent(self) -> bool:
        """Whether this attempt, if it fails, was the last."""
        return self.attempt >= self.max_attempts


class JobFailed(Exception):
    """An attempt came to nothing. `retry_after`: seconds until the next, instead of those of `pause`; `at_least`: seconds that it must
    wait, if those of `pause` are fewer; `final`: there is none."""

    def __init__(
        self,
        why: str,
        *,
        outcome: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
        at_least: int = 0,
        final: bool = False,
    ) -> None:
        super().__init__(why)
        self.outcome, self.retry_after, self.at_least, self.final = outcome, retry_after, at_least, final


class JobWaits(Exception):
    """There is nothing to do yet: the job is taken up again in so many seconds, and this was no attempt."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"waits for {seconds} s")
        self.seconds = seconds


def pause(attempt: int, random: float) -> int:
    """Seconds between a failed attempt (1, 2, ...) and the next; `random` in [0, 1).

    Exponential with full jitter: in the mean 5 s, 25 s, 2 min, 10 min, 52 min, 4 h, then 8 h.
    """
    return 1 + int(random * min(LONGEST_PAUSE, FIRST_PAUSE * 5 ** (attempt - 1)))


def full(in_hand: Iterable[Job], share: int = SHARE) -> set[str]:
    """The subjects that have their share of `in_hand`."""
    return {
        subject
        for subject, jobs in Counter(job.subject for job in in_hand).items()
        if subject and jobs >= share
    }


def fair(due: Iterable[Job], in_hand: Sequence[Job], limit: int, share: int = SHARE) -> list[Job]:
    """At most `limit` of `due`, in their order, so that no subject gets more than its share with those `in_hand`."""
    chosen: list[Job] = []
    for job in due:
        if len(chosen) < limit and job.subject not in full([*in_hand, *chosen], share):
            chosen.append(job)
    return chosen


def job_json(job: Job) -> dict[str, Any]:
    """The shape that operators see."""
    return {
        "id": job.id,
        "tenant": None if job.tenant_id == PLATFORM else job.tenant_id,
        "kind": job.kind,
        "subject": job.subject,
        "state": job.state,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "run_at": rfc3339(job.run_at),
        "last_error": job.last_error,
        "outcome": job.outcome,
        "payload": job.payload,
        "created_at": rfc3339(job.created_at),
        "ended_at": rfc3339(job.ended_at),
    }
