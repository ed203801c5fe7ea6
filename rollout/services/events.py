"""Events: what happened, told to the webhooks that want to know.

    events.emit(tx, now, "quota.threshold", "acme", {...})
    change.tell("grant.created", "acme", {...})                # inside of a change

One job a webhook, written with what it tells of: told if and only if that committed. Where nobody wants to know it costs one
look into an index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.jobs import Job
from rollout.core.meters import PLATFORM
from rollout.core.webhooks import EventType, Webhook, event_json
from rollout.db import jobs, webhooks
from rollout.db.engine import Tx
from rollout.services.ids import NewId

KIND = "webhook"
ATTEMPTS = 8


class Events:
    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id

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
                job = message(self._new_id("job"), webhook, now, type, data, ATTEMPTS, dedupe)
                jobs.add(tx, job)


def message(
    job_id: str,
    webhook: Webhook,
    now: int,
    type: EventType,
    data: Mapping[str, Any],
    max_attempts: int,
    dedupe: str | None = None,
) -> Job:
    """The job that tells one webhook of one event."""
    return Job(
        tenant_id=webhook.tenant_id,
        id=job_id,
        kind=KIND,
        payload=event_json(type, now, data),
        run_at=now,
        max_attempts=max_attempts,
        created_at=now,
        subject=webhook.id,
        dedupe=dedupe and f"{dedupe}:{webhook.id}",
    )
