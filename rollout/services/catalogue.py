"""The seed of the catalogue: `catalogue.toml` beside this file, read once. Rows of the database lie over it."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from importlib.resources import files
from typing import Any

from rollout.core.catalogue import Catalogue, Model
from rollout.core.catalogue_rows import KINDS, overlaid, read_alias, read_model
from rollout.db import catalogue_rows
from rollout.db.engine import Tx

InForce = Callable[[], Catalogue]
"""The catalogue that holds at this moment: `State.catalogue` in a process, `load_seed` where there is no database."""


@functools.cache
def load_seed() -> Catalogue:
    """The catalogue that the package carries. Raises ValueError when the file contradicts itself."""
    return parse((files("rollout.services") / "catalogue.toml").read_text("utf-8"))


def under_rows(tx: Tx) -> Catalogue:
    """The seed under the rows that there are now. Raises ValueError for rows that make no catalogue."""
    return overlaid(load_seed(), *(catalogue_rows.documents(tx, kind) for kind in KINDS))


def parse(text: str) -> Catalogue:
    """A catalogue from TOML with the tables `prices`, `models`, `aliases`: rows as `core.catalogue_rows` reads them, only that a model
    names its `price`, and `snapshots`, which answer under names of their own. Raises ValueError."""
    data = {kind: [_plain(row) for row in rows] for kind, rows in tomllib.loads(text).items()}
    prices = {row["id"]: row for row in data["prices"]}
    models = [model for row in data["models"] for model in _models(row, prices)]
    return Catalogue(models, [_checked(row, read_alias(row)) for row in data["aliases"]])


def _models(row: Mapping[str, Any], prices: Mapping[str, Any]) -> list[Model]:
    fields = {"upstream_id": row["name"], **row}
    snapshots = fields.pop("snapshots", ())
    fields["prices"] = [prices[fields.pop("price")]] if "price" in fields else []
    model: Model = _checked(row, read_model(fields))
    return [model, *(replace(model, name=name, upstream_id=name) for name in snapshots)]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """With TOML's days as documents have them: a time, or, of a price, a day."""
    return {
        name: f"{value}" if name == "as_of" else f"{value}T00:00:00Z" if isinstance(value, date) else value
        for name, value in row.items()
    }


def _checked(row: Mapping[str, Any], read: tuple[Any, Any]) -> Any:
    found, faults = read
    if faults:
        raise ValueError(f"{row.get('name')}: " + "; ".join(f"{one.param}: {one.message}" for one in faults))
    return found
