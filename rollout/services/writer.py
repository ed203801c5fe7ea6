"""Group commit: operations that arrive while another batch is being written share the next one.

    idle       the caller carries out its own operation: no other thread, no hand-off
    busy       the caller queues; when the batch in hand is written, the first in the queue writes the next one for all

No thread belongs to a writer, so there is none to start after a fork, or to stop. A row that many want at once is locked once
a batch instead of once a caller: without this a hot row gets slower with every waiter (`docs/benchmarks.md`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rollout.core.holds import Operation, Reply, Reserve
from rollout.db.engine import Tx
from rollout.errors import LedgerUnavailable

Also = Callable[[Tx, int], None]
"""(tx, now): writes rows that commit with an operation, and only if it took place."""

MAX_BATCH = 256
PATIENCE = 30.0
"""Seconds after which a caller no longer waits for its turn."""


@dataclass(eq=False)
class Task:
    """An operation on its way, and what became of it: `reply` at `now`, or `error`."""

    operation: Operation
    also: Also | None = None
    reply: Reply | None = None
    now: int = 0
    error: BaseException | None = None
    leads: bool = False
    abandoned: bool = False
    _bell: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bell.acquire()

    def result(self) -> tuple[Reply, int]:
        """(reply, now); raises the error."""
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply, self.now

    def wait(self, seconds: float) -> bool:
        """Until somebody wakes it; False when nobody did."""
        return self._bell.acquire(timeout=seconds)

    def wake(self) -> None:
        self._bell.release()


class Writer:
    """`carry_out` writes a batch in one transaction and puts reply or error into each task; it never raises.

    `late` gets the tasks that were carried out after their callers had gone.
    """

    def __init__(self, carry_out: Callable[[Sequence[Task]], None], late: Callable[[Task], None]) -> None:
        self._carry_out, self._late = carry_out, late
        self._queue: deque[Task] = deque()
        self._busy = False
        self._mutex = threading.Lock()

    def submit(self, task: Task) -> tuple[Reply, int]:
        """Carry out the task, alone or with others: its (reply, now). Raises what went wrong, LedgerUnavailable after PATIENCE."""
        with self._mutex:
            task.leads, self._busy = not self._busy, True
            if not task.leads:
                self._queue.append(task)
        if not task.leads and not task.wait(PATIENCE):
            self._leave(task)
        if task.leads:
            self._lead(task)
        return task.result()

    def _leave(self, task: Task) -> None:
        """Stop waiting, unless the turn came at the last moment."""
        with self._mutex:
            if task.leads or task.reply is not None or task.error is not None:
                return
            task.abandoned = True
            task.error = LedgerUnavailable(retry_after=2)
            if task in self._queue:
                self._queue.remove(task)

    def _lead(self, task: Task) -> None:
        with self._mutex:
            batch = in_turn([task, *self._drain(MAX_BATCH - 1)])
        try:
            self._carry_out(batch)
        finally:
            self._take_back(batch)
            self._pass_on()
            for other in batch:
                if other is not task:
                    other.wake()

    def _take_back(self, batch: Sequence[Task]) -> None:
        """Of those that left; before the next batch, in which they may try again."""
        with self._mutex:
            late = [task for task in batch if task.abandoned]
        for task in late:
            self._late(task)

    def _drain(self, limit: int) -> list[Task]:
        """The next tasks of the queue: each tenant's first, then each tenant's second, and so on."""
        if len(self._queue) <= limit:
            taken = list(self._queue)
            self._queue.clear()
            return taken
        by_tenant: dict[str, deque[Task]] = {}
        for task in self._queue:
            by_tenant.setdefault(task.operation.tenant_id, deque()).append(task)
        taken = []
        while len(taken) < limit:
            for tenant_id in list(by_tenant)[: limit - len(taken)]:
                taken.append(by_tenant[tenant_id].popleft())
                if not by_tenant[tenant_id]:
                    del by_tenant[tenant_id]
        chosen = set(map(id, taken))
        self._queue = deque(task for task in self._queue if id(task) not in chosen)
        return taken

    def _pass_on(self) -> None:
        """The first in the queue leads the next batch; it is woken before those who have their answers."""
        with self._mutex:
            self._busy = bool(self._queue)
            following = self._queue.popleft() if self._queue else None
            if following is not None:
                following.leads = True
        if following is not None:
            following.wake()


def in_turn(batch: Iterable[Task]) -> list[Task]:
    """What gives room goes before what takes it."""
    return sorted(batch, key=lambda task: isinstance(task.operation, Reserve))
