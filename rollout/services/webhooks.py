"""Webhooks: added, changed, rotated, removed, tried out; and the delivery of a message, which is one attempt of a job.

A receiver that answers 2xx has it. Anything else is tried again, eight times over about a day; 410 Gone disables the webhook. The
receiver knows a message that comes twice by its `webhook-id`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from rollout.core.audit import Actor
from rollout.core.jobs import Job, JobFailed
from rollout.core.meters import PLATFORM
from rollout.core.webhooks import (
    IssuedWebhook,
    Webhook,
    delivery_json,
    secret_text,
    signed_headers,
    webhook_json,
)
from rollout.db import jobs, webhooks
from rollout.db.engine import Database, Tx
from rollout.delivery.webhooks import Answer, Undelivered
from rollout.errors import Conflict, NotFound
from rollout.services import tenants
from rollout.services.changes import Change, Changes
from rollout.services.events import KIND, Event, message
from rollout.services.ids import NewId
from rollout.services.jobs import replayed
from rollout.services.tenants import check_version

log = structlog.get_logger()

MAX_WEBHOOKS = 20
"""For one tenant: each event looks at all of them."""

Post = Callable[[str, Mapping[str, str], bytes], Answer]
"""(url, headers, body). Raises Undelivered."""

_SENDER = Actor("system:webhooks")


class Webhooks:
    """Where a method takes `tenant`, the webhook of any other is not found; None: whosever it is."""

    def __init__(
        self, database: Database, changes: Changes, secret: bytes, new_id: NewId, post: Post
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._post = secret, new_id, post

    def page(self, *, tenant: str | None, cursor: str | None, limit: int) -> list[Webhook]:
        """Newest first, of one tenant (PLATFORM: the operators' own) or all, from before the id `cursor`."""
        with self._database.read() as tx:
            return webhooks.page(tx, tenant=tenant, before=cursor, limit=limit)

    def get(self, webhook_id: str, *, tenant: str | None = None) -> Webhook:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, webhook_id, tenant)

    def add(
        self,
        actor: Actor,
        tenant_id: str | None,
        url: str,
        types: Sequence[str],
        reason: str | None,
        *,
        dry_run: bool = False,
    ) -> IssuedWebhook:
        """A webhook of the tenant, or (None) of the operators; `types` are the events that it wants, none for all.

        Raises NotFound, InvalidRequest, Conflict when there are 20 already.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            owner = PLATFORM if tenant_id is None else tenants.require(change.tx, tenant_id).id
            if len(webhooks.of(change.tx, [owner])) >= MAX_WEBHOOKS:
                raise Conflict(f"There are {MAX_WEBHOOKS} webhooks already; remove one first.")
            added = Webhook(owner, self._new_id("wh"), url, tuple(sorted(set(types))), change.now)
            webhooks.add(change.tx, added)
            _record(change, "webhook.added", None, added)
            return self._issued(added, change.now, dry_run)

    def change(
        self,
        actor: Actor,
        webhook_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        tenant: str | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Webhook:
        """Set `fields` (url, types, state). Raises NotFound, StaleVersion, InvalidRequest."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, webhook_id, tenant)
            check_version(based_on, before.version, webhook_json(before))
            given = {**fields, "types": tuple(sorted(set(fields.get("types", before.types))))}
            after = dataclasses.replace(before, **given)
            return before if after == before else _revised(change, "webhook.changed", before, after)

    def rotate(
        self,
        actor: Actor,
        webhook_id: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> IssuedWebhook:
        """A new signing secret; for a day the former one signs, too. Raises NotFound."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, webhook_id, tenant)
            after = dataclasses.replace(
                before, secret_version=before.secret_version + 1, rotated_at=change.now
            )
            return self._issued(_revised(change, "webhook.rotated", before, after), change.now, dry_run)

    def remove(
        self,
        actor: Actor,
        webhook_id: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> Webhook:
        """It is told of nothing more, and its deliveries are forgotten. Raises NotFound."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            gone = _require(change.tx, webhook_id, tenant)
            webhooks.remove(change.tx, gone)
            jobs.drop(change.tx, KIND, gone.id)
            _record(change, "webhook.removed", gone, None)
        return gone

    # -- deliveries ----------------------------------------------------------------------------------------------------

    def deliveries(
        self, webhook_id: str, *, tenant: str | None = None, cursor: str | None, limit: int
    ) -> list[Job]:
        """What was, and is to be, delivered in the last 30 days, newest first. Raises NotFound."""
        with self._database.read() as tx:
            found = _require(tx, webhook_id, tenant)
            return jobs.page(tx, kind=KIND, subject=found.id, before=cursor, limit=limit)

    def test(
        self,
        actor: Actor,
        webhook_id: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> Job:
        """Send it a `webhook.test`, once, whatever events it wants. Raises NotFound, Conflict when it is disabled."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            webhook = _require_active(change.tx, webhook_id, tenant)
            event = Event("webhook.test", webhook.tenant_id, {"webhook": webhook.id})
            job = message(self._new_id("job"), webhook, change.now, event, max_attempts=1)
            jobs.add(change.tx, job)
            change.record(
                "webhook.tested",
                subject=webhook.id,
                tenant=_tenant(webhook),
                before=None,
                after=delivery_json(job),
            )
        return job

    def resend(
        self,
        actor: Actor,
        webhook_id: str,
        delivery_id: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> Job:
        """Deliver the same message again. Raises NotFound, Conflict while it is on its way, or the webhook is disabled."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            webhook = _require_active(change.tx, webhook_id, tenant)
            before = jobs.get(change.tx, delivery_id)
            if before is None or before.kind != KIND or before.subject != webhook.id:
                raise NotFound(f"There is no delivery {delivery_id!r} to this webhook.", param="delivery")
            after = replayed(change.tx, before, change.now)
            change.record(
                "webhook.resent",
                subject=webhook.id,
                tenant=_tenant(webhook),
                before=delivery_json(before),
                after=delivery_json(after),
            )
        return after

    def deliver(self, job: Job) -> dict[str, Any]:
        """One attempt: what became of it. Raises JobFailed."""
        with self._database.read() as tx:
            webhook, now = webhooks.get(tx, job.subject or ""), self._database.now(tx)
        if webhook is None or webhook.state != "active":
            raise JobFailed("the webhook is disabled or gone", final=True)
        body = json.dumps(job.payload, separators=(",", ":"), ensure_ascii=False).encode()
        headers = signed_headers(webhook.secrets(self._secret, now), job.id, now, body)
        headers |= {"content-type": "application/json", "user-agent": "phasegate-webhooks"}
        try:
            answer = self._post(webhook.url, headers, body)
        except Undelivered as undelivered:
            raise JobFailed(str(undelivered)) from None
        if answer.status == 410:
            self._disable(webhook)
        outcome = {"status": answer.status, "excerpt": answer.excerpt, "ms": answer.ms}
        if not 200 <= answer.status < 300:
            why, gone = f"the receiver answered {answer.status}", answer.status == 410
            raise JobFailed(why, outcome=outcome, at_least=answer.retry_after, final=gone)
        return outcome

    # -- inside --------------------------------------------------------------------------------------------------------

    def _disable(self, webhook: Webhook) -> None:
        log.warning("webhook_disabled", webhook=webhook.id, tenant=webhook.tenant_id)
        with self._changes.begin(_SENDER, "its receiver answered 410 Gone") as change:
            before = webhooks.get(change.tx, webhook.id)
            if before is not None and before.version == webhook.version:
                after = dataclasses.replace(before, state="disabled")
                _revised(change, "webhook.changed", before, after)

    def _issued(self, webhook: Webhook, now: int, dry_run: bool) -> IssuedWebhook:
        secret = None if dry_run else secret_text(webhook.secrets(self._secret, now)[0])
        return IssuedWebhook(webhook, secret)


def _require(tx: Tx, webhook_id: str, tenant: str | None) -> Webhook:
    found = webhooks.get(tx, webhook_id)
    if found is None or tenant not in (None, found.tenant_id):
        raise NotFound(f"There is no webhook {webhook_id!r}.", param="webhook")
    return found


def _require_active(tx: Tx, webhook_id: str, tenant: str | None) -> Webhook:
    found = _require(tx, webhook_id, tenant)
    if found.state != "active":
        raise Conflict("The webhook is disabled.", remedy="Set its state to active first.")
    return found


def _revised(change: Change, action: str, before: Webhook, after: Webhook) -> Webhook:
    after = dataclasses.replace(after, version=before.version + 1)
    webhooks.put(change.tx, after)
    _record(change, action, before, after)
    return after


def _record(change: Change, action: str, before: Webhook | None, after: Webhook | None) -> None:
    one = after or before
    assert one is not None
    shown = [webhook_json(webhook) if webhook else None for webhook in (before, after)]
    change.record(action, subject=one.id, tenant=_tenant(one), before=shown[0], after=shown[1])


def _tenant(webhook: Webhook) -> str | None:
    return None if webhook.tenant_id == PLATFORM else webhook.tenant_id
