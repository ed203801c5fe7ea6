"""Rows over the catalogue's seed: models and aliases are put, retired, and taken away, each as a whole and audited as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.core.audit import Actor
from rollout.core.catalogue import Alias, Model
from rollout.core.catalogue_rows import (
    KINDS,
    Document,
    Kind,
    alias_json,
    examine_alias,
    examine_model,
    model_json,
)
from rollout.core.times import rfc3339
from rollout.db import catalogue_rows
from rollout.db.catalogue_rows import Row
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.authoring import settle
from rollout.services.catalogue import load_seed, under_rows
from rollout.services.changes import Change, Changes
from rollout.services.providers import VENDORS
from rollout.services.tenants import check_version

NO_ROW, SEEDED = 0, 1
"""Versions of what is not there, and of what the seed alone says; a row's is the revision that wrote it."""


class CatalogueRows:
    """Values are `{"name", "document", "origin": "seed" | "row", "version", "changed_at", "changed_by"}`; `document` is the whole row,
    as `core.catalogue_rows` reads it, and can be put back."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database, self._changes = database, changes

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """In order of name."""
        with self._database.read() as tx:
            return _all(tx, kind)

    def get(self, kind: Kind, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, kind, name)

    def kind_of(self, name: str) -> Kind:
        """What has this name: no two rows share one. Raises NotFound."""
        with self._database.read() as tx:
            found = [kind for kind in KINDS if _find(tx, kind, name) is not None]
        if not found:
            raise NotFound(f"There is no {name[:100]!r} in the catalogue.", param="name")
        return found[0]

    def put(
        self,
        actor: Actor,
        kind: Kind,
        name: str,
        document: Document,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The row as `document` has it, whole; `based_on` NO_ROW: there is none of this name yet.

        Raises InvalidRequest with all that is wrong in `errors`, StaleVersion.
        """
        if document.get("name", name) != name:
            raise InvalidRequest("A row keeps its name: put another one, and retire this.", param="name")
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _find(change.tx, kind, name)
            check_version(based_on, before["version"] if before else NO_ROW, before or {})
            born = {"created_at": rfc3339(change.now)} if kind == "model" and before is None else {}
            wanted = {**born, "moves_to": _moves_to(before), **document, "name": name}
            _check_move(before, wanted)
            return keep(change, kind, wanted)

    def add_price(
        self,
        actor: Actor,
        name: str,
        price: Mapping[str, Any],
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """A price that holds from now on; what was charged keeps the one it was charged by. Raises as `put`, and NotFound."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            document = checked(change.tx, "model", name, based_on)
            return keep(change, "model", {**document, "prices": [*document["prices"], price]})

    def retire(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        successor: str | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The model answers no more: its `successor` does, the one that it has where none is named. Raises as `put`, and NotFound."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            document, now = checked(change.tx, "model", name, based_on), rfc3339(change.now)
            retired = {
                **document,
                "lifecycle": "retired",
                "deprecated_at": document["deprecated_at"] or now,
                "retires_at": document["retires_at"] or now,
                "successor": successor or document["successor"],
            }
            _check_move({"document": document}, retired)
            return keep(change, "model", retired, action="retired")

    def reset(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The model is again what the seed says.

        Raises NotFound, StaleVersion, Conflict for one that the seed has not got, or has as it is, and InvalidRequest where the seed's
        would break something: a price that was charged by, or what leads there.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            checked(change.tx, "model", name, based_on)
            before = _require(change.tx, "model", name)
            seeded = next((model for model in load_seed().models if model.name == name), None)
            if seeded is None:
                raise Conflict(
                    f"{name} is none of the models that came with this version.",
                    remedy="Retire it instead: what was made with it names it, and its prices.",
                )
            if before["origin"] == "seed":
                raise Conflict(f"{name} is as it came with this version.")
            _examined(change.tx, "model", {**model_json(seeded), "moves_to": before["document"]["moves_to"]})
            catalogue_rows.remove(change.tx, "model", name)
            after = _require(change.tx, "model", name)
            _record(change, "model.reset", before, after)
        return after

    def remove_alias(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The name leads nowhere any more; what it was. Raises NotFound, StaleVersion, Conflict while it moves."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            checked(change.tx, "alias", name, based_on)
            before = _require(change.tx, "alias", name)
            _check_move(before, {**before["document"], "to": None})
            if any(alias.name == name for alias in load_seed().aliases):
                _write(change, "alias", name, None)
            else:
                catalogue_rows.remove(change.tx, "alias", name)
            _record(change, "alias.removed", before, None)
        return before


def keep(change: Change, kind: Kind, document: Document, *, action: str = "changed") -> dict[str, Any]:
    """Write a row in an open change; one that says nothing new is left as it is. Raises InvalidRequest."""
    name = document["name"]
    wanted, before = _examined(change.tx, kind, document), _find(change.tx, kind, name)
    if before is not None and before["document"] == wanted:
        return before
    _write(change, kind, name, wanted)
    after = _require(change.tx, kind, name)
    _record(change, f"{kind}.{action if before else 'added'}", before, after)
    return after


def _moves_to(row: Mapping[str, Any] | None) -> str | None:
    found: str | None = row["document"]["moves_to"] if row else None
    return found


def _check_move(before: Mapping[str, Any] | None, wanted: Document) -> None:
    """A move begins and ends by doors of its own (`services/moves.py`), and what it is from stays meanwhile. Raises InvalidRequest,
    Conflict."""
    was, to = before["document"] if before else {}, _moves_to(before)
    if wanted["moves_to"] != to:
        raise InvalidRequest(
            "A move begins and ends by doors of its own.",
            param="moves_to",
            remedy="POST .../move, and .../finish when it has come to everyone.",
        )
    for at in ("to", "lifecycle") if to else ():
        if wanted.get(at, was.get(at)) != was.get(at):
            raise Conflict(f"{wanted['name']} is moving to {to}.", param=at, remedy="Finish the move first.")


def _examined(tx: Tx, kind: Kind, document: Document) -> dict[str, Any]:
    """The whole row. Raises InvalidRequest with all that is wrong."""
    among = under_rows(tx)
    row, faults = (
        examine_model(document, among, VENDORS) if kind == "model" else examine_alias(document, among)
    )
    settle(faults, accepted=True)
    assert row is not None
    return _json(row)


def checked(tx: Tx, kind: Kind, name: str, based_on: int | None) -> Document:
    """The row's document. Raises NotFound, StaleVersion."""
    found = _require(tx, kind, name)
    check_version(based_on, found["version"], found)
    document: Document = found["document"]
    return document


def _require(tx: Tx, kind: Kind, name: str) -> dict[str, Any]:
    found = _find(tx, kind, name)
    if found is None:
        raise NotFound(f"There is no {kind} {name[:100]!r} in the catalogue.", param=kind)
    return found


def _find(tx: Tx, kind: Kind, name: str) -> dict[str, Any] | None:
    return next((one for one in _all(tx, kind) if one["name"] == name), None)


def _all(tx: Tx, kind: Kind) -> list[dict[str, Any]]:
    catalogue, rows = under_rows(tx), catalogue_rows.all_(tx, kind)
    found: Sequence[Model | Alias] = catalogue.models if kind == "model" else catalogue.aliases
    return [_shown(one, rows.get(one.name)) for one in sorted(found, key=lambda one: one.name)]


def _shown(one: Model | Alias, row: Row | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "document": _json(one),
        "origin": "row" if row else "seed",
        "version": row.version if row else SEEDED,
        "changed_at": rfc3339(row.changed_at) if row else None,
        "changed_by": row.changed_by if row else None,
    }


def _json(row: Model | Alias) -> dict[str, Any]:
    return model_json(row) if isinstance(row, Model) else alias_json(row)


def _write(change: Change, kind: Kind, name: str, document: Document | None) -> None:
    row = Row(name, document, change.revision, change.now, change.actor.name)
    catalogue_rows.put(change.tx, kind, row)


def _record(
    change: Change, action: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    one = after or before
    assert one is not None
    change.record(
        action,
        subject=one["name"],
        tenant=None,
        before=before and before["document"],
        after=after and after["document"],
    )
