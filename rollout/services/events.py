"""Events: what happened, told to the webhooks that want to know.

    events.emit(tx, now, "quota.threshold", "acme", {...})

One job a webhook, written with the change that it tells of: told if and only if that committed. Where nobody wants to know it
costs one look into an index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.meters import PLATFORM
from rollout.core.webhooks import EventType, event_json
from rollout.db import webhooks
from rollout.db.engine import Tx
from rollout.services.jobs import JobQueue

KIND = "webhook"
ATTEMPTS = 8


class Events:
    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs

    def emit(
        self,
        tx: Tx,
        now: int,
        type: EventType,
        tenant_id: str | None,
        data: Mapping[str, Any],
        dedupe: str | None = None,
    ) -> None:
        """Tell the tenant's webhooks and the operators' own (None: only these); `data` is JSON.

        While a delivery of the same `dedupe` waits for a webhook, it gets no second one.
        """
        for webhook in webhooks.of(tx, *{PLATFORM, tenant_id or PLATFORM}):
            if webhook.wants(type):
                self._jobs.add(
                    tx,
                    now=now,
                    tenant_id=webhook.tenant_id,
                    kind=KIND,
                    payload=event_json(type, now, data),
                    max_attempts=ATTEMPTS,
                    subject=webhook.id,
                    dedupe=dedupe and f"{dedupe}:{webhook.id}",
                )
