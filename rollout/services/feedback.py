"""Feedback: taken by key or by handle, withdrawn, read by its tenant, triaged by admins.

It is credited to the phase, run, vendor and model that the generation was made with, however late it comes.
"""

from __future__ import annotations

import dataclasses

from rollout.core.audit import Actor
from rollout.core.feedback import (
    FeedbackItem,
    Handle,
    Opinion,
    Triage,
    Wanted,
    check_end_user,
    feedback_json,
    open_handle,
)
from rollout.db import feedback
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Changes
from rollout.services.ids import NewId
from rollout.services.tenants import check_version


class Feedback:
    def __init__(
        self, database: Database, changes: Changes, secret: bytes, new_id: NewId, clock: Clock
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._clock = secret, new_id, clock

    def open(self, handle: str) -> Handle:
        """Raises NotFound for a forged handle, ResultPurged for an expired one."""
        return open_handle(handle, self._secret, self._clock())

    def submit(
        self, tenant_id: str, generation_id: str, end_user: str | None, opinion: Opinion
    ) -> tuple[FeedbackItem, bool]:
        """Write down the opinion, over an earlier one of the same end user; True when there was none.

        Saying the same again changes nothing. Raises NotFound for a generation of another tenant.
        """
        name = check_end_user(end_user)
        with self._database.write() as tx:
            exposure = feedback.exposure(tx, tenant_id, generation_id)
            if exposure is None:
                raise NotFound(f"There is no generation {generation_id!r}.", param="generation")
            before = feedback.of(tx, tenant_id, generation_id, name)
            now = self._database.now(tx)
            if before is not None:
                return _say_again(tx, before, opinion, now), False
            new = FeedbackItem(
                id=self._new_id("fb"),
                tenant_id=tenant_id,
                generation_id=generation_id,
                end_user=name,
                opinion=opinion,
                state="open",
                created_at=now,
                updated_at=now,
                **dataclasses.asdict(exposure),
            )
            feedback.add(tx, new)
        return new, True

    def withdraw(self, tenant_id: str, feedback_id: str, handle: Handle | None = None) -> FeedbackItem:
        """Take it back: reasons and words are erased; twice is once. A `handle` reaches only its end user's.

        Raises NotFound.
        """
        with self._database.write() as tx:
            before = feedback.get(tx, feedback_id, tenant=tenant_id, lock=True)
            if before is None or (handle is not None and not _is_theirs(before, handle)):
                raise _not_found(feedback_id)
            if before.state == "withdrawn":
                return before
            erased = Opinion(before.opinion.rating)
            return _put(tx, before, state="withdrawn", opinion=erased, updated_at=self._database.now(tx))

    def page(self, wanted: Wanted, *, before: str | None, limit: int) -> list[FeedbackItem]:
        """Newest first."""
        with self._database.read() as tx:
            return feedback.page(tx, wanted, before=before, limit=limit)

    def get(self, feedback_id: str) -> FeedbackItem:
        """Of any tenant, for admins. Raises NotFound."""
        with self._database.read() as tx:
            found = feedback.get(tx, feedback_id)
        if found is None:
            raise _not_found(feedback_id)
        return found

    def set_state(
        self,
        actor: Actor,
        feedback_id: str,
        state: Triage,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> FeedbackItem:
        """Triage it. Raises NotFound, StaleVersion, and Conflict for what its end user took back."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = feedback.get(change.tx, feedback_id, lock=True)
            if before is None:
                raise _not_found(feedback_id)
            check_version(based_on, before.version, feedback_json(before))
            if before.state == "withdrawn":
                raise Conflict("Its end user withdrew this feedback.", param="state")
            if before.state == state:
                return before
            after = _put(change.tx, before, state=state)
            change.record(
                "feedback.triaged",
                subject=after.id,
                tenant=after.tenant_id,
                before={"state": before.state},
                after={"state": after.state},
            )
        return after


def _say_again(tx: Tx, before: FeedbackItem, opinion: Opinion, now: int) -> FeedbackItem:
    if before.opinion == opinion and before.state != "withdrawn":
        return before
    return _put(tx, before, opinion=opinion, state=before.state_after_new_words(), updated_at=now)


def _put(tx: Tx, before: FeedbackItem, **fields: object) -> FeedbackItem:
    after = dataclasses.replace(before, version=before.version + 1, **fields)  # type: ignore[arg-type]
    feedback.put(tx, after)
    return after


def _is_theirs(item: FeedbackItem, handle: Handle) -> bool:
    return (item.generation_id, item.end_user) == (handle.generation_id, check_end_user(handle.end_user))


def _not_found(feedback_id: str) -> NotFound:
    return NotFound(f"There is no feedback {feedback_id!r}.", param="id")
