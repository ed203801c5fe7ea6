"""Feedback: taken by key or by handle, withdrawn, read by its tenant, triaged by admins.

It is credited to the phase, run, vendor and model that the generation was made with, however late it comes. The figures
move in the transaction of what they count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rollout.core.audit import Actor
from rollout.core.feedback import (
    MAX_MARKS,
    Asked,
    FeedbackItem,
    Handle,
    InboxItem,
    Mark,
    Opinion,
    Triage,
    Wanted,
    check_end_user,
    feedback_json,
    open_handle,
)
from rollout.core.figures import FiguresQuery, Thumbs, recount, whole_days
from rollout.core.usage import Report, in_order, period
from rollout.db import feedback, figures, images
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.changes import Changes
from rollout.services.events import Events
from rollout.services.ids import NewId
from rollout.services.tenants import check_version, require
from rollout.services.usage import MAX_GROUPS, check_length

EXPORT_PAGE = 500

Rewritten = tuple[FeedbackItem | None, FeedbackItem]
"""An item before (None: it is new) and after."""


class Feedback:
    def __init__(
        self, database: Database, changes: Changes, secret: bytes, new_id: NewId, clock: Clock
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._clock = secret, new_id, clock
        self._events = Events(new_id)

    def open(self, handle: str) -> Handle:
        """Raises NotFound for a forged handle, ResultPurged for an expired one."""
        return open_handle(handle, self._secret, self._clock())

    def asked(self, handle: Handle) -> Asked:
        """What the end user of the handle is asked about. Raises NotFound for a generation that is gone."""
        tenant_id, generation_id = handle.tenant_id, handle.generation_id
        with self._database.read() as tx:
            tenant = require(tx, tenant_id)
            if feedback.exposure(tx, tenant_id, generation_id, lock=False) is None:
                raise _no_generation(generation_id)
            picture = images.first(tx, tenant_id, generation_id, self._database.now(tx))
            said = feedback.of(tx, tenant_id, generation_id, check_end_user(handle.end_user))
        return Asked(tenant.name, picture, said)

    def submit(
        self, tenant_id: str, generation_id: str, end_user: str | None, opinion: Opinion
    ) -> tuple[FeedbackItem, bool]:
        """Write down the opinion, over an earlier one of the same end user; True when there was none.

        Saying the same again changes nothing. Raises NotFound for a generation of another tenant.
        """
        name = check_end_user(end_user)
        with self._database.write() as tx:
            exposure = feedback.exposure(tx, tenant_id, generation_id, lock=True)
            if exposure is None:
                raise _no_generation(generation_id)
            before = feedback.of(tx, tenant_id, generation_id, name, lock=True)
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
            _write(tx, [(None, new)])
            self._events.emit(tx, now, "feedback.received", tenant_id, feedback_json(new))
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
            after = _revised(before, state="withdrawn", opinion=erased, updated_at=self._database.now(tx))
            _write(tx, [(before, after)])
        return after

    def page(self, wanted: Wanted, *, before: str | None, limit: int) -> list[FeedbackItem]:
        """Newest first."""
        with self._database.read() as tx:
            return feedback.page(tx, wanted, before=before, limit=limit)

    def every(self, wanted: Wanted) -> Iterator[FeedbackItem]:
        """All that match, newest first, page by page: between two of them others may write."""
        before: str | None = None
        while rows := self.page(wanted, before=before, limit=EXPORT_PAGE):
            yield from rows
            before = rows[-1].id

    def inbox(self, wanted: Wanted, *, before: str | None, limit: int) -> list[InboxItem]:
        """Newest first, with what each is about."""
        with self._database.read() as tx:
            return feedback.inbox(tx, wanted, before=before, limit=limit, now=self._database.now(tx))

    def inbox_item(self, feedback_id: str) -> InboxItem:
        """One with what it is about. Raises NotFound."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = feedback.inbox(tx, Wanted(), before=None, limit=1, now=now, only=feedback_id)
        if not found:
            raise _not_found(feedback_id)
        return found[0]

    def neighbours(self, wanted: Wanted, feedback_id: str) -> tuple[str | None, str | None]:
        """The ids of the next newer and the next older one among those that are wanted."""
        with self._database.read() as tx:
            return feedback.neighbours(tx, wanted, feedback_id)

    def figures(self, query: FiguresQuery) -> Report[Thumbs]:
        """Ratings counted; days are those of UTC. Raises InvalidRequest, NotFound for an unknown tenant."""
        with self._database.read() as tx:
            if query.tenant is not None:
                require(tx, query.tenant)
            asked = whole_days(period(query.since, query.until, "UTC", self._database.now(tx)))
            found = figures.lines(tx, query, asked, limit=MAX_GROUPS + 1)
        check_length(found)
        return Report(asked, query.by, in_order(found), sum((line.figures for line in found), Thumbs()))

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
        return self.set_states(actor, [Mark(feedback_id, based_on, state)], reason, dry_run=dry_run)[0]

    def set_states(
        self, actor: Actor, marks: Sequence[Mark], reason: str | None, *, dry_run: bool = False
    ) -> list[FeedbackItem]:
        """Triage all of them or none, in one change with an audit entry for each. Raises as `set_state`, and InvalidRequest."""
        ids = [mark.id for mark in marks]
        if not 1 <= len(ids) <= MAX_MARKS or len(set(ids)) < len(ids):
            raise InvalidRequest(f"Name 1 to {MAX_MARKS} items, each once.", param="ids")
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            found = feedback.locked(change.tx, ids)
            rewritten = [_triaged(found.get(mark.id), mark) for mark in marks]
            _write(change.tx, rewritten)
            for before, after in rewritten:
                if after != before:
                    change.record(
                        "feedback.triaged",
                        subject=after.id,
                        tenant=after.tenant_id,
                        before={"state": before.state, "version": before.version},
                        after={"state": after.state, "version": after.version},
                    )
        return [after for _, after in rewritten]


def _triaged(before: FeedbackItem | None, mark: Mark) -> tuple[FeedbackItem, FeedbackItem]:
    if before is None:
        raise _not_found(mark.id)
    check_version(mark.version, before.version, feedback_json(before))
    if before.state == "withdrawn":
        raise Conflict("Its end user withdrew this feedback.", param="state")
    return before, before if before.state == mark.state else _revised(before, state=mark.state)


def _say_again(tx: Tx, before: FeedbackItem, opinion: Opinion, now: int) -> FeedbackItem:
    if before.opinion == opinion and before.state != "withdrawn":
        return before
    after = _revised(before, opinion=opinion, state=before.state_after_new_words(), updated_at=now)
    _write(tx, [(before, after)])
    return after


def _revised(before: FeedbackItem, **fields: object) -> FeedbackItem:
    return dataclasses.replace(before, version=before.version + 1, **fields)  # type: ignore[arg-type]


def _write(tx: Tx, rewritten: Sequence[Rewritten]) -> None:
    """Items whose rows are locked, then the figures: whoever holds a figure waits for no item."""
    for before, after in rewritten:
        if before is None:
            feedback.add(tx, after)
        elif after != before:
            feedback.put(tx, after)
    figures.add(tx, recount(rewritten))


def _is_theirs(item: FeedbackItem, handle: Handle) -> bool:
    return (item.generation_id, item.end_user) == (handle.generation_id, check_end_user(handle.end_user))


def _no_generation(generation_id: str) -> NotFound:
    return NotFound(f"There is no generation {generation_id!r}.", param="generation")


def _not_found(feedback_id: str) -> NotFound:
    return NotFound(f"There is no feedback {feedback_id!r}.", param="id")
