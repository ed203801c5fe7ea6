"""Requests as admins look them up: who was refused and why, and by any id the whole story.

A refusal is noted in memory after the answer and written down soon after, so that no caller waits for it. Failure behaviour: with the
database away the notes wait, at most MEMORY of them; what does not fit is counted and logged.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from rollout.core.bills import bill
from rollout.core.catalogue import Catalogue, OnUnknown
from rollout.core.feedback import Wanted
from rollout.core.holds import Hold
from rollout.core.meters import PLATFORM, SHARED
from rollout.core.refusals import Refusal
from rollout.core.stories import QUESTIONS, FullLimit, Story, Traces, set_by, tell
from rollout.core.times import epoch
from rollout.core.uses import Use
from rollout.db import (
    analyses,
    audit,
    evaluations,
    feedback,
    generations,
    guardrail_events,
    holds,
    images,
    keys,
    meters,
    refusals,
    stories,
    topups,
)
from rollout.db.engine import Clock, Database, Tx
from rollout.db.refusals import Group
from rollout.errors import InvalidRequest, LedgerUnavailable, ModelNotFound, NotFound
from rollout.log import redact
from rollout.services.asking import request_id
from rollout.services.catalogue import InForce

log = structlog.get_logger()

MEMORY = 2_000
"""Refusals that wait to be written down."""

COUNTED = 10_000
"""Refusals that a summary counts, the newest."""

FORGOTTEN_AT_ONCE = 1_000
SHOWN = 50
"""Feedback items in a story, and changes."""


@dataclass(frozen=True)
class Summary:
    """Refusals since then (UTC epoch seconds) by code and route, the most frequent first."""

    since: int
    groups: tuple[Group, ...]


class Requests:
    """`clock` tells when an answer was given; `retention_days` is how long refusals are kept."""

    def __init__(self, database: Database, clock: Clock, catalogue: InForce, *, retention_days: int) -> None:
        self._database, self.clock, self._retention = database, clock, retention_days * 86_400
        self._catalogue = catalogue
        self._waiting: deque[Refusal] = deque()
        self._lost = 0
        self._failing = False
        self._memory, self._writing = threading.Lock(), threading.Lock()

    # -- refusals ------------------------------------------------------------------------------------------------------

    def note(self, refusal: Refusal) -> None:
        """Keep it in memory until the next `flush`; never waits for the database."""
        with self._memory:
            if len(self._waiting) < MEMORY:
                self._waiting.append(refusal)
            else:
                self._lost += 1

    def flush(self) -> int:
        """Write down what waits, in one transaction; how many it were. What the database does not take now waits on."""
        with self._writing:
            with self._memory:
                batch, lost, self._lost = list(self._waiting), self._lost, 0
            if lost:
                log.error("refusals_not_noted", count=lost)
            return self._write(batch) if batch else 0

    def forget(self) -> None:
        """Remove refusals whose time is over."""
        with self._database.read() as tx:
            made_before = self._database.now(tx) - self._retention
        gone = FORGOTTEN_AT_ONCE
        while gone >= FORGOTTEN_AT_ONCE:
            with self._database.write() as tx:
                gone = refusals.forget(tx, made_before, FORGOTTEN_AT_ONCE)

    def page(
        self,
        *,
        tenant: str | None = None,
        code: str | None = None,
        since: int | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Refusal]:
        """Newest first, from behind the request `before`. Raises InvalidRequest for one that was not refused."""
        self.flush()
        with self._database.read() as tx:
            last = None if before is None else refusals.of_request(tx, before)
            if before is not None and last is None:
                raise InvalidRequest(f"There is no refused request {before!r}.", param="cursor")
            return refusals.page(tx, tenant=tenant, code=code, since=since, before=last, limit=limit)

    def grouped(self, since: int | None = None) -> Summary:
        """What was refused from `since` on (None: within 24 hours); of late, when that is too much to count."""
        self.flush()
        with self._database.read() as tx:
            if since is None:
                since = self._database.now(tx) - 86_400
            groups, counted_since = refusals.groups(tx, since, COUNTED)
        return Summary(counted_since, tuple(groups))

    # -- stories -------------------------------------------------------------------------------------------------------

    def story(self, any_id: str) -> Story:
        """All that is stored of the request with, or behind, this id. Raises NotFound."""
        find = _FINDERS.get(any_id.partition("_")[0])
        if find is None:
            raise _not_found(any_id, _NO_STORY)
        self.flush()
        with self._database.read() as tx:
            found = find(tx, any_id)
            if found is None:
                raise _not_found(any_id, _NOTHING_STORED)
            return tell(_traces(tx, self._catalogue(), *found))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _write(self, batch: list[Refusal]) -> int:
        try:
            with self._database.write() as tx:
                refusals.add(tx, [_without_secrets(one) for one in batch])
        except LedgerUnavailable as error:
            if not self._failing:
                log.warning("refusals_wait", count=len(batch), error=str(error.__cause__ or error))
            self._failing = True
            return 0
        except Exception as error:
            log.exception("refusals_not_written", count=len(batch), error=repr(error))
        self._failing = False
        with self._memory:
            for _ in batch:
                self._waiting.popleft()
        return len(batch)


Found = tuple[Hold | None, Refusal | None]
"""What a request left behind; at least one of the two."""


def _by_request(tx: Tx, request_id: str) -> Found | None:
    found = holds.of_request(tx, request_id), refusals.of_request(tx, request_id)
    return found if any(found) else None


def _by_hold(tx: Tx, hold_id: str) -> Found | None:
    hold = holds.get(tx, hold_id)
    return None if hold is None else (hold, refusals.of_request(tx, hold.request_id))


def _by_generation(tx: Tx, generation_id: str) -> Found | None:
    return _by_use(tx, generations.find(tx, generation_id))


def _by_analysis(tx: Tx, analysis_id: str) -> Found | None:
    return _by_use(tx, analyses.find(tx, analysis_id))


def _by_feedback(tx: Tx, feedback_id: str) -> Found | None:
    item = feedback.get(tx, feedback_id)
    return None if item is None else _by_generation(tx, item.generation_id)


def _by_image(tx: Tx, image_id: str) -> Found | None:
    picture = images.find(tx, image_id)
    return None if picture is None else _by_generation(tx, picture.generation_id)


def _by_use(tx: Tx, use: Use | None) -> Found | None:
    return None if use is None else _by_hold(tx, use.hold_id)


_FINDERS: dict[str, Callable[[Tx, str], Found | None]] = {
    "req": _by_request,
    "gen": _by_generation,
    "anl": _by_analysis,
    "hold": _by_hold,
    "fb": _by_feedback,
    "img": _by_image,
}
_NO_STORY = (
    f"Ids with a story begin with {', '.join(f'{prefix}_' for prefix in _FINDERS)}."
    " A decision (dec_) stands behind many requests: look for one of them."
)
_NOTHING_STORED = (
    "Copy the whole id again. A request that read something, or was answered from an earlier one, leaves nothing behind;"
    " refusals and pictures are forgotten after a time."
)


def _traces(tx: Tx, catalogue: Catalogue, hold: Hold | None, refusal: Refusal | None) -> Traces:
    call = hold or refusal
    assert call is not None
    key = keys.get(tx, call.tenant_id, call.api_key_id)
    traces = Traces(call.tenant_id, call.request_id, key, refusal, full=_full(tx, refusal))
    return traces if hold is None else _with_hold(tx, catalogue, traces, hold)


def _with_hold(tx: Tx, catalogue: Catalogue, traces: Traces, hold: Hold) -> Traces:
    tenant_id, made = hold.tenant_id, generations.of_hold(tx, hold.tenant_id, hold.id)
    use = made or analyses.of_hold(tx, tenant_id, hold.id)
    said = []
    if made is not None:
        said = feedback.page(tx, Wanted(tenant=tenant_id, generation=made.id), before=None, limit=SHOWN)
    booked = stories.booked(tx, tenant_id, hold.id)
    named = [hold.id, hold.request_id, *([use.id] if use else [])]
    corrected = stories.corrections(tx, tenant_id, named, SHOWN)
    return dataclasses.replace(
        traces,
        hold=hold,
        use=use,
        entries=[one.entry for one in booked],
        meters=_names(tx, hold),
        images=images.of_generation(tx, tenant_id, made.id) if made else (),
        feedback=said[::-1],
        changes=audit.about(tx, tenant_id, [*named, *(item.id for item in said)], limit=SHOWN),
        bill=bill(hold, catalogue.price(hold.price_id), booked, corrected),
        guardrail=guardrail_events.of_use(tx, tenant_id, use.id) if use else None,
        evaluation=evaluations.of_generation(tx, tenant_id, made.id) if made else None,
        questions=_questions(tx, hold) if made else {},
        on_unknown=_on_unknown(catalogue, hold.model),
    )


def _questions(tx: Tx, hold: Hold) -> dict[str, str]:
    asked = {name: holds.of_request(tx, request_id(hold.request_id, name)) for name in QUESTIONS}
    return {name: found.id for name, found in asked.items() if found}


def _names(tx: Tx, hold: Hold) -> dict[str, str]:
    of_owner = {PLATFORM if line.shared else hold.tenant_id: set[str]() for line in hold.lines}
    for line in hold.lines:
        of_owner[PLATFORM if line.shared else hold.tenant_id].add(line.meter_id)
    return {
        meter_id: name
        for owner, ids in of_owner.items()
        for meter_id, name in meters.names(tx, owner, ids).items()
    }


def _on_unknown(catalogue: Catalogue, model: str) -> OnUnknown:
    try:
        return catalogue.get(model).on_unknown
    except ModelNotFound:
        return "charge"


def _full(tx: Tx, refusal: Refusal | None) -> list[FullLimit]:
    """The limits that refused; of refusals that were written down without their windows, none."""
    limits = refusal.members.get("limits", ()) if refusal else ()
    return (
        [_full_limit(tx, refusal.tenant_id, told) for told in limits if "window" in told] if refusal else []
    )


def _full_limit(tx: Tx, tenant_id: str, told: Mapping[str, Any]) -> FullLimit:
    owner = PLATFORM if told["level"] in SHARED else tenant_id
    key, at = (owner, told["meter"], told["subject"], epoch(told["window"]["start"])), epoch(told["at"])
    changes = audit.page(tx, tenant=None, subject=told["meter"], before=None, limit=SHOWN)
    given = topups.page(tx, tenant=owner, meter=told["meter"], before=None, limit=SHOWN)
    return FullLimit(
        told,
        set_by(told, changes),
        [one for one in given if (one.subject, one.start) == key[2:] and one.in_force(at)],
        stories.holding(tx, key, at, SHOWN) if told["held"] else (),
    )


def _without_secrets(refusal: Refusal) -> Refusal:
    clean = redact(None, "", {"message": refusal.message, "members": dict(refusal.members)})
    return dataclasses.replace(refusal, **clean)


def _not_found(any_id: str, remedy: str) -> NotFound:
    return NotFound(f"There is no story of {any_id[:100]!r}.", param="id", remedy=remedy)
