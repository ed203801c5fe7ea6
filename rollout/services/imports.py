"""Flags from Unleash's documents, and documents of our flags: all of a document or nothing, in one change.

What an import would do is made up, and loaded by the engine aside, before any lock is taken; inside of the change only a stamp is looked
at: nothing has changed since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from rollout.core.audit import Actor
from rollout.core.authoring import completed, examine_flag
from rollout.core.constraints import Fault, Surroundings
from rollout.core.decisions import FEATURES
from rollout.core.documents import MAX_NAME, Document, Reading, read_document
from rollout.core.flags import PRODUCTION
from rollout.core.imports import Import, Mode, Standing, plan_import
from rollout.db import flags, revision, segments
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest
from rollout.services.authoring import gates
from rollout.services.changes import Change, Changes
from rollout.services.flags import MAX_SUBJECT, check_environment, keep, retire
from rollout.services.segments import drop
from rollout.services.segments import keep as keep_segment
from rollout.sync import embedded


class Imports:
    def __init__(self, database: Database, changes: Changes) -> None:
        self._database, self._changes = database, changes

    def run(
        self,
        actor: Actor,
        document: Document,
        reason: str | None,
        *,
        environment: str = PRODUCTION,
        mode: Mode = "merge",
        dry_run: bool = False,
    ) -> Import:
        """Take the flags of a document; with `replace`, those that it lacks are archived. A dry run needs no reason.

        Raises InvalidRequest when the document cannot be read, Conflict when flags changed meanwhile.
        """
        check_environment(environment)
        reading = read_document(document)
        with self._database.read() as tx:
            seen, standing = flags.stamp(tx), _standing(tx, environment)
            wanted = plan_import(reading, standing, mode, self._database.now(tx), embedded.understands)
            compiled = gates(tx, environment)
        _load_aside(reading, wanted, compiled)
        if dry_run:
            return wanted
        with self._changes.begin(actor, reason) as change:
            if flags.stamp(change.tx) != seen:
                raise Conflict(
                    "Flags changed while the document was looked at; nothing was imported.",
                    remedy="Look at what it would change now, and send it again.",
                )
            _write(change, environment, mode, standing.extras, wanted)
        return wanted

    def export(self, environment: str = PRODUCTION) -> Document:
        """The client-features document of the environment: flags in order of name, those of the plans left out."""
        with self._database.read() as tx:
            return {
                "version": 2,
                **flags.extras(tx, environment),
                "features": [one.document for one in flags.live(tx, environment)],
                "segments": [one.document for one in segments.all_(tx)],
            }


def _standing(tx: Tx, environment: str) -> Standing:
    everywhere = flags.everywhere(tx)
    return Standing(
        {one.name: one for one in everywhere if one.environment == environment},
        [one for one in everywhere if one.environment != environment],
        {one.id: one for one in segments.all_(tx)},
        flags.extras(tx, environment),
        frozenset(FEATURES),
        revision.current(tx) + 1,
    )


def _load_aside(reading: Reading, wanted: Import, compiled: list[dict[str, Any]]) -> None:
    """Raises InvalidRequest that names the first flag or segment which the engine does not take."""
    document = {**wanted.document, "features": [*compiled, *wanted.document["features"]]}
    if _loads(document):
        return
    for part, items in (("segments", reading.segments), ("features", reading.features)):
        found = list(items.values())
        at = bisect_left(range(len(found)), True, key=lambda end: not _loads({part: found[: end + 1]}))
        if at < len(found):
            raise _unreadable(part, at, found[at])
    raise InvalidRequest("Unleash's engine cannot read this document.", param="document")


def _loads(document: Mapping[str, Any]) -> bool:
    probe = {"name": "probe" * MAX_NAME, "enabled": False, "strategies": []}
    try:
        embedded.load({"version": 2, **document, "features": [probe, *document.get("features", ())]}, 0)
    except embedded.FlagsRefused:
        return False
    return True


def _unreadable(part: str, at: int, found: Document) -> InvalidRequest:
    """Where the engine stops it does not say; our own look at a flag tells what is of another kind than Unleash writes."""
    flag = completed({"enabled": None, **found})
    examined = examine_flag(flag, Surroundings(0, lambda _: True)) if part == "features" else ()
    faults = [vars(one) for one in examined if isinstance(one, Fault)]
    return InvalidRequest(
        f"Unleash's engine cannot read {str(found.get('name'))[:100]!r}, so it would read nothing of this document.",
        param=f"{part}.{at}",
        errors=[{**one, "param": f"{part}.{at}.{one['param']}"} for one in faults] or None,
    )


def _write(change: Change, environment: str, mode: Mode, extras: Document, wanted: Import) -> None:
    changes = wanted.changes()
    if not changes and wanted.extras == extras:
        return
    change.record(
        "flag.imported",
        subject=environment[:MAX_SUBJECT],
        tenant=None,
        before={"members": dict(extras)},
        after={"members": dict(wanted.extras), "mode": mode, "changes": changes},
    )
    flags.put_extras(change.tx, environment, wanted.extras)
    for segment, document in wanted.segments:
        keep_segment(change, segment, document)
    for flag, document in wanted.flags:
        keep(change, environment, flag, document)
    for flag in wanted.archived:
        retire(change, flag)
    for gone in wanted.removed:
        drop(change, gone)
