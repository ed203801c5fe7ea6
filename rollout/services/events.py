"""Events: what happened, told to the webhooks that want to know.

    events.emit(tx, now, "quota.threshold", "acme", {...})
    change.tell("grant.created", "acme", {...})                # inside of a change

One job a webhook, written with what it tells of: told if and only if that committed. Where nobody wants to know it costs one
look into an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rollout.core.jobs import Job
from rollout.core.meters import PLATFORM
from rollout.core.webhooks import EventType, Webhook, event_json
from rollout.db import jobs, webhooks
from rollout.db.engine import Tx
from rollout.services.ids import NewId

KIND = "webhook"
ATTEMPTS = 8


class Event(NamedTuple):
    """`tenant_id` None: the operators' own affair; `data` is JSON. While a delivery of the same `dedupe` waits for a webhook, it gets
    no second one."""

    type: EventType
    tenant_id: str | None
    data: Mapping[str, Any]
    dedupe: str | None = None


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
        """Tell of one event."""
        self.emit_all(tx, now, [Event(type, tenant_id, data, dedupe)])

    def emit_all(self, tx: Tx, now: int, events: Sequence[Event]) -> None:
        """Tell each tenant's webhooks, and the operators' own, in one look for all."""
        wanted = {event.tenant_id or PLATFORM for event in events} | {PLATFORM}
        hooks = webhooks.of(tx, wanted) if events else []
        for event in events:
            for webhook in hooks:
                if webhook.tenant_id in (PLATFORM, event.tenant_id) and webhook.wants(event.type):
                    jobs.add(tx, message(self._new_id("job"), webhook, now, event, ATTEMPTS))


def message(job_id: str, webhook: Webhook, now: int, event: Event, max_attempts: int) -> Job:
    """The job that tells one webhook of one event."""
    return Job(
        tenant_id=webhook.tenant_id,
        id=job_id,
        kind=KIND,
        payload=event_json(event.type, now, event.data),
        run_at=now,
        max_attempts=max_attempts,
        created_at=now,
        subject=webhook.id,
        dedupe=event.dedupe and f"{event.dedupe}:{webhook.id}",
    )
