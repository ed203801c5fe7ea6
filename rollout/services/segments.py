"""Segments: written and removed, never while a flag uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.constraints import Doubt
from rollout.core.flags import PRODUCTION, Flag
from rollout.core.segments import Segment, examine_segment, name_of, new_number, segment_json, segments_of
from rollout.db import flags, segments
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.authoring import (
    departures,
    document_of,
    leaving,
    settle,
    surroundings,
    with_dependants,
)
from rollout.services.changes import Change, Changes
from rollout.services.tenants import check_version


@dataclass(frozen=True)
class KeptSegment:
    """A segment as it was written, with what its author was warned of."""

    segment: Segment
    doubts: list[Doubt]


class Segments:
    def __init__(self, database: Database, changes: Changes) -> None:
        self._database, self._changes = database, changes

    def page(self, *, cursor: int | None, limit: int) -> list[Segment]:
        """In order of number, beginning after the number `cursor`."""
        with self._database.read() as tx:
            return segments.page(tx, after=cursor, limit=limit)

    def get(self, segment_id: int) -> Segment:
        """Raises NotFound."""
        with self._database.read() as tx:
            return require(tx, segment_id)

    def users(self, segment_id: int) -> list[Flag]:
        """The flags that use it, archived ones too, which may be revived."""
        with self._database.read() as tx:
            return users(tx, segment_id)

    def add(
        self,
        actor: Actor,
        document: Mapping[str, Any],
        reason: str | None,
        *,
        accept_warnings: bool = False,
        dry_run: bool = False,
    ) -> KeptSegment:
        """A new segment, `document` in Unleash's format; it gets its number here. Raises InvalidRequest (`errors`, or `warnings` that
        were not accepted), Conflict when the name is taken."""
        if "id" in document:
            raise InvalidRequest("A new segment gets its number here: leave it out.", param="id")
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            draft = {"id": new_number(change.revision, numbers(change.tx)), **document}
            doubts = _settled(change, draft, accept_warnings, lost=0)
            return KeptSegment(keep(change, None, draft), doubts)

    def put(
        self,
        actor: Actor,
        segment_id: int,
        document: Mapping[str, Any],
        reason: str | None,
        *,
        accept_warnings: bool = False,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> KeptSegment:
        """The segment as `document` has it, whole, for all flags that use it. Raises as `add`, and NotFound, StaleVersion."""
        if document.get("id", segment_id) != segment_id:
            raise InvalidRequest("A segment keeps its number.", param="id")
        draft = {"id": segment_id, **document}
        before, lost = self._foresee(segment_id, draft, based_on)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            now_there = require(change.tx, segment_id)
            check_version(before.version, now_there.version, segment_json(now_there))
            doubts = _settled(change, draft, accept_warnings, lost=lost)
            if draft == before.document:
                return KeptSegment(before, doubts)
            return KeptSegment(keep(change, before, draft), doubts)

    def remove(
        self,
        actor: Actor,
        segment_id: int,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Segment:
        """Raises NotFound, StaleVersion, Conflict while flags use it, with their names in `flags`."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            gone = require(change.tx, segment_id)
            check_version(based_on, gone.version, segment_json(gone))
            if using := [f"{one.environment}/{one.name}" for one in users(change.tx, segment_id)]:
                raise Conflict(
                    f"These flags use the segment: {', '.join(using)}.",
                    remedy="Take it out of them first; of archived ones too, which may be revived.",
                    flags=using,
                )
            drop(change, gone)
            return gone

    def _foresee(
        self, segment_id: int, draft: Mapping[str, Any], based_on: int | None
    ) -> tuple[Segment, int]:
        """The segment as it stands, and how many tenants would lose a flag by the change, at most in one environment."""
        with self._database.read() as tx:
            before = require(tx, segment_id)
            check_version(based_on, before.version, segment_json(before))
            around = surroundings(tx, PRODUCTION, draft, self._database.now(tx))
            settle(examine_segment(draft, around), accepted=True)
            using = [one for one in users(tx, segment_id) if one.archived_at is None]
            stored = {one.environment: document_of(tx, one.environment) for one in using}
        lost = 0
        for environment, document in stored.items():
            names = [one.name for one in using if one.environment == environment]
            replaced = [draft if one["id"] == segment_id else one for one in document["segments"]]
            after = {**document, "segments": replaced}
            lost = max(lost, leaving(self._database, document, after, with_dependants(document, names)))
        return before, lost


def require(tx: Tx, segment_id: int) -> Segment:
    """Raises NotFound."""
    found = segments.get(tx, segment_id)
    if found is None:
        raise NotFound(f"There is no segment {segment_id}.", param="segment")
    return found


def users(tx: Tx, segment_id: int) -> list[Flag]:
    """The flags that use the segment, archived ones too."""
    return [one for one in flags.everywhere(tx) if segment_id in segments_of(one.document)]


def keep(change: Change, before: Segment | None, document: Mapping[str, Any]) -> Segment:
    """Write a segment that is new or (`before`) changed, which was checked already."""
    name, now = name_of(document), change.now
    if before is None:
        kept = Segment(int(document["id"]), name, document, created_at=now, updated_at=now)
        segments.add(change.tx, kept)
    else:
        version = before.version + 1
        kept = dataclasses.replace(before, name=name, document=document, version=version, updated_at=now)
        segments.put(change.tx, kept)
    _record(change, "segment.changed" if before else "segment.added", before, kept)
    return kept


def drop(change: Change, gone: Segment) -> None:
    """Remove a segment that nobody uses."""
    segments.remove(change.tx, gone)
    _record(change, "segment.removed", gone, None)


def numbers(tx: Tx) -> set[int]:
    """Those of all segments, and those that flags name."""
    named = (segments_of(one.document) for one in flags.everywhere(tx))
    return {one.id for one in segments.all_(tx)}.union(*named)


def _settled(change: Change, draft: Mapping[str, Any], accepted: bool, *, lost: int) -> list[Doubt]:
    around = surroundings(change.tx, PRODUCTION, draft, change.now)
    doubts = settle([*examine_segment(draft, around), *departures(lost)], accepted)
    there = segments.named(change.tx, draft["name"])
    if there is not None and there.id != draft["id"]:
        raise Conflict(f"There is a segment {draft['name']!r} already.", param="name")
    return doubts


def _record(change: Change, action: str, before: Segment | None, after: Segment | None) -> None:
    one = after or before
    assert one is not None
    shown = [segment_json(segment) if segment else None for segment in (before, after)]
    change.record(action, subject=f"segment/{one.id}", tenant=None, before=shown[0], after=shown[1])
