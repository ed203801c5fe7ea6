"""Flags beyond plans: written, archived, revived, by environment and name.

What a person writes is checked strictly and loaded by the engine aside, before any lock is taken: the first load of a process takes a
second. Inside of the change the checks are made again, for what is around it may have changed. `keep` and `retire` write what was checked
already, for whoever writes many at once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.authoring import completed, examine_flag, examine_name, examine_references
from rollout.core.constraints import Doubt, Fault
from rollout.core.decisions import FEATURES, is_move
from rollout.core.flags import NAME, PRODUCTION, Flag, flag_json
from rollout.core.segments import parents_of
from rollout.core.times import rfc3339
from rollout.db import flags, segments
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.authoring import (
    departures,
    document_of,
    leaving,
    load_aside,
    settle,
    surroundings,
    with_dependants,
)
from rollout.services.changes import Change, Changes
from rollout.services.tenants import check_version

MAX_ENVIRONMENT = 64
MAX_SUBJECT = 200


@dataclass(frozen=True)
class Kept:
    """A flag as it was written, with what its author was warned of."""

    flag: Flag
    doubts: list[Doubt]


class Flags:
    """Every method takes the environment, by default the one whose flags decide here."""

    def __init__(self, database: Database, changes: Changes, clock: Clock = time.time) -> None:
        self._database, self._changes, self._clock = database, changes, clock

    def page(
        self,
        *,
        environment: str = PRODUCTION,
        archived: bool = False,
        stale: bool = False,
        search: str | None = None,
        cursor: str | None,
        limit: int,
    ) -> list[Flag]:
        """In order of name, beginning after the name `cursor`; `stale`: only those that nobody asked for in 30 days."""
        with self._database.read() as tx:
            return flags.page(
                tx,
                environment=environment,
                archived=archived,
                search=search,
                unasked_at=self._database.now(tx) if stale else None,
                after=cursor,
                limit=limit,
            )

    def environments(self) -> list[str]:
        """Those that have flags, and production."""
        with self._database.read() as tx:
            return sorted({PRODUCTION, *flags.environments(tx)})

    def get(self, name: str, *, environment: str = PRODUCTION) -> Flag:
        """Raises NotFound."""
        with self._database.read() as tx:
            return require(tx, environment, name)

    def shown(self, flag: Flag) -> dict[str, Any]:
        """As operators see it now."""
        stale = flag.is_stale(int(self._clock()))
        return {**flag_json(flag), "asked_at": rfc3339(flag.asked_at), "stale": stale}

    def add(
        self,
        actor: Actor,
        document: Mapping[str, Any],
        reason: str | None,
        *,
        environment: str = PRODUCTION,
        accept_warnings: bool = False,
        dry_run: bool = False,
    ) -> Kept:
        """A new flag, `document` in Unleash's format. Raises InvalidRequest (`errors`, or `warnings` that were not accepted), Conflict."""
        check_environment(environment)
        settle(examine_name(document.get("name")), accepted=False)
        draft = completed(document)
        _check_free(draft["name"])
        with self._database.read() as tx:
            around = surroundings(tx, environment, draft, self._database.now(tx))
            shared = [one.document for one in segments.all_(tx)]
        settle(examine_flag(draft, around), accepted=True)
        load_aside(draft, shared)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            _check_new(change.tx, environment, draft["name"])
            around = surroundings(change.tx, environment, draft, change.now)
            doubts = settle(examine_flag(draft, around), accept_warnings)
            return Kept(keep(change, environment, None, draft), doubts)

    def put(
        self,
        actor: Actor,
        name: str,
        document: Mapping[str, Any],
        reason: str | None,
        *,
        environment: str = PRODUCTION,
        accept_warnings: bool = False,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Kept:
        """The flag as `document` has it, whole. Raises as `add`, and NotFound, StaleVersion."""
        if document.get("name", name) != name:
            raise InvalidRequest("A flag keeps its name: add another one, and archive this.", param="name")
        draft = completed({**document, "name": name})
        before, lost = self._foresee(environment, name, draft, based_on)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            now_there = require(change.tx, environment, name)
            check_version(before.version, now_there.version, flag_json(now_there))
            findings = [*_examine(change.tx, before, draft, change.now), *departures(lost)]
            doubts = settle(findings, accept_warnings)
            if draft == before.document:
                return Kept(before, doubts)
            return Kept(keep(change, environment, before, draft), doubts)

    def archive(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        environment: str = PRODUCTION,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Flag:
        """It is served no more: off for all who ask. Raises NotFound, StaleVersion, Conflict while a flag depends on it."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = require(change.tx, environment, name)
            check_version(based_on, before.version, flag_json(before))
            if before.archived_at is not None:
                return before
            others = flags.live(change.tx, environment)
            if children := [one.name for one in others if name in parents_of(one.document)]:
                raise Conflict(
                    f"These flags depend on it, and would be off: {', '.join(children)}.",
                    remedy="Take the dependency out of them first.",
                    flags=children,
                )
            return retire(change, before)

    def revive(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        environment: str = PRODUCTION,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Flag:
        """It is served again as it was. Raises NotFound, StaleVersion, InvalidRequest when its segments or parents are gone."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = require(change.tx, environment, name)
            check_version(based_on, before.version, flag_json(before))
            if before.archived_at is None:
                return before
            around = surroundings(change.tx, environment, before.document, change.now)
            settle(examine_references(before.document, around), accepted=True)
            return _revised(change, "flag.revived", before, archived_at=None)

    def _foresee(
        self, environment: str, name: str, draft: Mapping[str, Any], based_on: int | None
    ) -> tuple[Flag, int]:
        """The flag as it stands, and how many tenants would lose it or what depends on it."""
        with self._database.read() as tx:
            before = require(tx, environment, name)
            check_version(based_on, before.version, flag_json(before))
            settle(_examine(tx, before, draft, self._database.now(tx)), accepted=True)
            stored = document_of(tx, environment)
        replaced = [draft if one["name"] == name else one for one in stored["features"]]
        load_aside(draft, stored["segments"])
        names = with_dependants(stored, [name])
        return before, leaving(self._database, stored, {**stored, "features": replaced}, names)


def require(tx: Tx, environment: str, name: str) -> Flag:
    """Raises NotFound."""
    found = flags.get(tx, environment, name)
    if found is None:
        raise NotFound(f"There is no flag {name!r} in {environment!r}.", param="name")
    return found


def check_environment(environment: str) -> None:
    """Raises InvalidRequest."""
    if not NAME.fullmatch(environment) or len(environment) > MAX_ENVIRONMENT:
        raise InvalidRequest(
            f"An environment's name is 1-{MAX_ENVIRONMENT} letters, digits and . _ ~ -; a letter or digit first.",
            param="environment",
        )


def keep(change: Change, environment: str, before: Flag | None, document: Mapping[str, Any]) -> Flag:
    """Write a flag that is new or (`before`) changed, which was checked already; one that was archived lives again."""
    if before is not None:
        action = "flag.changed" if before.archived_at is None else "flag.revived"
        project = _project(document)
        return _revised(change, action, before, document=document, project=project, archived_at=None)
    name, now = str(document["name"]), change.now
    added = Flag(environment, name, _project(document), document, created_at=now, updated_at=now)
    flags.add(change.tx, added)
    _record(change, "flag.added", None, added)
    return added


def retire(change: Change, before: Flag) -> Flag:
    """Archive a flag."""
    return _revised(change, "flag.archived", before, archived_at=change.now)


def _project(document: Mapping[str, Any]) -> str:
    project = document.get("project")
    return project[:100] if isinstance(project, str) and project else "default"


def _examine(tx: Tx, before: Flag, draft: Mapping[str, Any], now: int) -> list[Fault | Doubt]:
    if before.archived_at is not None:
        raise Conflict("This flag is archived.", remedy="Revive it first.")
    found = list(examine_flag(draft, surroundings(tx, before.environment, draft, now)))
    if before.is_stale(now):
        found.append(Doubt("Nobody has asked for this flag in 30 days: perhaps it can be archived.", "name"))
    return found


def _check_free(name: str) -> None:
    if name in FEATURES or is_move(name):
        raise Conflict(
            f"{name} belongs to the plan of the feature, which decides on it.",
            param="name",
            remedy="Change the plan, or choose another name.",
        )


def _check_new(tx: Tx, environment: str, name: str) -> None:
    there = flags.get(tx, environment, name)
    if there is None:
        return
    if there.archived_at is not None:
        raise Conflict(
            f"There is a flag {name!r} already, which is archived.",
            param="name",
            remedy="Revive it, or choose another name.",
        )
    raise Conflict(
        f"There is a flag {name!r} already.", param="name", remedy="Change it, or choose another name."
    )


def _revised(change: Change, action: str, before: Flag, **fields: Any) -> Flag:
    after = dataclasses.replace(before, version=before.version + 1, updated_at=change.now, **fields)
    flags.put(change.tx, after)
    _record(change, action, before, after)
    return after


def _record(change: Change, action: str, before: Flag | None, after: Flag) -> None:
    change.record(
        action,
        subject=f"{after.environment}/{after.name}"[:MAX_SUBJECT],
        tenant=None,
        before=flag_json(before) if before else None,
        after=flag_json(after),
    )
