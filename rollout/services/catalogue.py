"""The seed of the catalogue: `catalogue.toml` beside this file, read once at start."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

from rollout.core.catalogue import Alias, Catalogue, Cell, Model, Price, SizeRule, Tier


def load_seed() -> Catalogue:
    """The catalogue that the package carries. Raises ValueError when the file contradicts itself."""
    return parse((files("rollout.services") / "catalogue.toml").read_text("utf-8"))


def parse(text: str) -> Catalogue:
    """A catalogue from TOML with the tables `prices`, `models`, `aliases`; dates become UTC epoch seconds.
    Raises ValueError."""
    data = tomllib.loads(text)
    prices = {row["id"]: _price(row) for row in data["prices"]}
    models = [model for row in data["models"] for model in _models(row, prices)]
    return Catalogue(models, [_alias(row) for row in data["aliases"]])


def _price(row: Mapping[str, Any]) -> Price:
    return Price(
        id=row["id"],
        as_of=row["as_of"].isoformat(),
        source=row["source"],
        per_million=row["per_million"],
        tiers=tuple(Tier(tier["above_input_tokens"], tier["per_million"]) for tier in row.get("tiers", ())),
        per_image=tuple(Cell(cell["max_pixels"], cell["by_quality"]) for cell in row.get("per_image", ())),
    )


def _models(row: Mapping[str, Any], prices: Mapping[str, Price]) -> list[Model]:
    """The model, and one more row for each dated snapshot of it, which answers under its own name."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    snapshots = fields.pop("snapshots", ())
    if "size_rule" in fields:
        fields["size_rule"] = SizeRule(**fields["size_rule"])
    for name in ("created_at", "deprecated_at", "retires_at"):
        if name in fields:
            fields[name] = _midnight(fields[name])
    fields["prices"] = (prices[fields.pop("price")],)
    model = Model(**{"upstream_id": fields["name"], **fields})
    return [model, *(replace(model, name=name, upstream_id=name) for name in snapshots)]


def _alias(row: Mapping[str, Any]) -> Alias:
    return Alias(
        name=row["name"],
        to=row["to"],
        since=_midnight(row["since"]) if "since" in row else None,
        ended=_midnight(row["ended"]) if "ended" in row else None,
        warning=row.get("warning"),
    )


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
