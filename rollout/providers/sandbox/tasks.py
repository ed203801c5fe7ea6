"""Pictures by tasks without a vendor: a task is done after so many looks at it, as its prompt says.

Tasks are remembered in memory; one that another process began begins anew here, with nobody the poorer.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from rollout.core.images import Finished
from rollout.core.steering import Steering
from rollout.providers.base import Fault, ImageCall, Progress
from rollout.providers.sandbox.faults import Sleep, spoil, steering_of, suffer
from rollout.providers.sandbox.images import SandboxImages

LOOKS = 2
"""Looks before a task is done, unless `progress=` says otherwise."""

FAILURE = "FAILURE"
"""The code of `error=500:FAILURE`: the task is taken, and fails."""

_KEPT = 10_000


def percent_after(looks: int, steering: Steering) -> int | None:
    """How far a task has come at its so many-th look; None when it is over."""
    steps = LOOKS if steering.progress is None else steering.progress
    return 100 * looks // (steps + 1) if looks <= steps else None


class SandboxTasks:
    """The port `Tasks`. `hang_seconds` bounds what `hang` may take."""

    def __init__(self, images: SandboxImages, sleep: Sleep, hang_seconds: float) -> None:
        self._images, self._sleep, self._hang_seconds = images, sleep, hang_seconds
        self._looks: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, call: ImageCall, reference: str) -> str:
        steering = steering_of(call.request.prompt)
        if steering.code != FAILURE:
            suffer(steering, self._sleep, self._hang_seconds, streaming=False)
        if steering.refuse or steering.flagged == "input":
            self._images.make(call, steering)
        spoil(steering, streaming=False)
        return f"sandbox_{hashlib.sha256(reference.encode()).hexdigest()[:24]}"

    def look(self, call: ImageCall, task_id: str, reference: str) -> Progress | Finished:
        steering = steering_of(call.request.prompt)
        percent = percent_after(self._looked(task_id), steering)
        if percent is not None:
            return Progress(percent)
        if steering.code == FAILURE:
            raise Fault("the sandbox was told to fail", status=500, vendor_request_id=task_id)
        return self._images.make(call, steering)

    def _looked(self, task_id: str) -> int:
        """How often, this time included."""
        with self._lock:
            count = self._looks[task_id] = self._looks.pop(task_id, 0) + 1
            while len(self._looks) > _KEPT:
                self._looks.popitem(last=False)
        return count
