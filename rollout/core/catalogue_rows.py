"""Rows of the catalogue as JSON documents: read, written, and checked against all others. A row lies over the seed's of its name, whole.

    model   the fields of `core.catalogue.Model`: "vendor", "wire", "feature", "prices": [{"id", "as_of", "source", "per_million",
            "tiers", "per_image"}], ...; all but those four, and `upstream_id`, may be left out
    alias   "to", "since", "ended", "warning"

Times are RFC 3339, prices integer micro-dollars. Faults are found all at once, each with where it stands: `prices.1.per_image.0`.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from rollout.core.catalogue import Alias, Catalogue, Model, Price
from rollout.core.constraints import Fault
from rollout.core.decisions import FEATURES, GENERATION
from rollout.core.images import aspect_ratio_of, size_of
from rollout.core.times import rfc3339

Document = Mapping[str, Any]
Kind = typing.Literal["model", "alias"]
KINDS: tuple[Kind, ...] = typing.get_args(Kind)

Rows = Mapping[str, Document | None]
"""By name."""

Wires = Mapping[str, Collection[str]]
"""By vendor, the wires that it speaks here."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,57}")
"""So short that the feature of its move (`core.decisions.move_of`) has a name, too."""

MAX_TEXT = 2_000
MAX_PRICE_ID = 80
MAX_NUMBER = 10**9
"""Of pixels, tokens, and micro-dollars: products of two of them are still numbers that the ledger can keep."""

_MODEL_TIMES = ("created_at", "deprecated_at", "retires_at")
_ALIAS_TIMES = ("since", "ended")
_RATES: Mapping[str, tuple[str, ...]] = {"image-generation": (), "image-analysis": ("in", "out")}
"""By feature, what a price by tokens must have a rate for."""


# -- in and out --------------------------------------------------------------------------------------------------------


def model_json(model: Model) -> dict[str, Any]:
    """The whole row."""
    return _shown(model, _MODEL_TIMES)


def alias_json(alias: Alias) -> dict[str, Any]:
    """The whole row."""
    return _shown(alias, _ALIAS_TIMES)


def read_model(document: Document) -> tuple[Model | None, list[Fault]]:
    """The model; None when there are faults."""
    return _row(Model, document, _MODEL_TIMES)


def read_alias(document: Document) -> tuple[Alias | None, list[Fault]]:
    """The alias; None when there are faults."""
    return _row(Alias, document, _ALIAS_TIMES)


def overlaid(seed: Catalogue, models: Rows, aliases: Rows) -> Catalogue:
    """The seed under rows by name; one without a document is gone. Raises ValueError for rows that make no catalogue."""
    all_models = {one.name: one for one in seed.models if one.name not in aliases} | _all(read_model, models)
    all_aliases = {one.name: one for one in seed.aliases if one.name not in models} | _all(
        read_alias, aliases
    )
    return Catalogue(filter(None, all_models.values()), filter(None, all_aliases.values()))


def _all(read: Callable[[Document], tuple[Any, list[Fault]]], rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, document in rows.items():
        found[name], faults = (None, []) if document is None else read({**document, "name": name})
        if faults:
            raise ValueError(f"{name}: {faults[0].param}: {faults[0].message}")
    return found


def _shown(row: Model | Alias, times: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(row)
    return {**found, **{name: rfc3339(found[name]) for name in times}}


def _row(kind: type, document: Document, times: Sequence[str]) -> tuple[Any, list[Fault]]:
    faults: list[Fault] = []
    sent = dict(document)
    for name in times:
        try:
            moment = sent.pop(name, None)
            sent |= {} if moment is None else {name: _moment(moment)}
        except (ValueError, TypeError):
            faults.append(Fault("This is a time such as 2026-11-30T00:00:00Z, or null.", name))
    row = _read(kind, sent, "", faults)
    return (None, faults) if faults else (row, [])


def _moment(text: str) -> int:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError
    return int(found.timestamp())


def _read(kind: Any, data: Any, at: str, faults: list[Fault]) -> Any:
    """`data` as a value of `kind`; what is wrong with it is added to `faults`."""
    choices = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return None if data is None else _read(choices[0], data, at, faults)
    if dataclasses.is_dataclass(kind):
        return _object(kind, data, at, faults)
    if typing.get_origin(kind) is tuple and dataclasses.is_dataclass(choices[0]) and isinstance(data, list):
        return tuple(_read(choices[0], item, f"{at}.{index}", faults) for index, item in enumerate(data))
    if typing.get_origin(kind) is typing.Literal and data not in choices:
        faults.append(Fault(f"This is one of {', '.join(choices)}.", at))
        return None
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        faults.append(
            Fault(f"{words}.", at + re.sub(r"\[(\d*)(?:\.\.\.)?\]", r".\1", path.rstrip("`")).rstrip("."))
        )
        return None


def _object(kind: Any, data: Any, at: str, faults: list[Fault]) -> Any:
    if not isinstance(data, Mapping):
        faults.append(Fault("This is an object.", at))
        return None
    prefix, hints, known, values = f"{at}." if at else "", typing.get_type_hints(kind), len(faults), {}
    for name in sorted(set(data) - set(hints)):
        faults.append(Fault("There is no such field.", f"{prefix}{name}"))
    for field in dataclasses.fields(kind):
        if field.name in data:
            values[field.name] = _read(hints[field.name], data[field.name], f"{prefix}{field.name}", faults)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            faults.append(Fault("This is missing.", f"{prefix}{field.name}"))
    if len(faults) > known:
        return None
    try:
        return kind(**values)
    except ValueError as error:
        faults.append(Fault(f"{error}.", f"{prefix}enabled"))
        return None


# -- what makes sense --------------------------------------------------------------------------------------------------


def examine_model(document: Document, among: Catalogue, wires: Wires) -> tuple[Model | None, list[Fault]]:
    """The model that `document` makes of the one of its name in `among`, or beside it; None when there are faults."""
    model, faults = read_model(document)
    if model is None:
        return None, faults
    before = next((one for one in among.models if one.name == model.name), None)
    others = {other.name: other for other in among.models if other.name != model.name}
    faults = [
        *_names(model, among, wires),
        *_numbers(model),
        *_links(model, others),
        *_kept(model, before),
        *_prices(model, others.values()),
    ]
    return _among(model, faults, [*others.values(), model], among.aliases)


def examine_alias(document: Document, among: Catalogue) -> tuple[Alias | None, list[Fault]]:
    """The alias that `document` makes; None when there are faults."""
    alias, faults = read_alias(document)
    if alias is None:
        return None, faults
    faults, models = [*_name(alias.name)], {model.name: model for model in among.models}
    if alias.name in models:
        faults.append(Fault("A model has this name.", "name"))
    for at, name in (("to", alias.to), ("moves_to", alias.moves_to)):
        if name is not None and name not in models:
            faults.append(Fault(f"There is no model {name[:100]!r}.", at))
    if not faults and alias.moves_to and models[alias.moves_to].feature != models[alias.to].feature:
        faults.append(Fault(f"{alias.moves_to} is of {models[alias.moves_to].feature}.", "moves_to"))
    if len(alias.warning or "") > MAX_TEXT:
        faults.append(Fault(f"This is a text of at most {MAX_TEXT} characters.", "warning"))
    return _among(
        alias, faults, among.models, [*(one for one in among.aliases if one.name != alias.name), alias]
    )


def _among(
    row: Any, faults: list[Fault], models: Iterable[Model], aliases: Iterable[Alias]
) -> tuple[Any, list[Fault]]:
    """The row, once the catalogue holds with it; what it would lead round to."""
    if not faults:
        try:
            Catalogue(models, aliases)
        except ValueError as error:
            faults = [Fault(f"{error}.", "to" if isinstance(row, Alias) else "successor")]
    return (None, faults) if faults else (row, [])


def _name(name: str) -> Iterator[Fault]:
    if not NAME.fullmatch(name):
        yield Fault("A name is 1-58 letters, digits and . _ : -; a letter or digit first.", "name")


def _names(model: Model, among: Catalogue, wires: Wires) -> Iterator[Fault]:
    yield from _name(model.name)
    if any(alias.name == model.name for alias in among.aliases):
        yield Fault("An alias has this name.", "name")
    if model.vendor not in wires:
        yield Fault(f"There is no vendor {model.vendor[:100]!r}; there are {', '.join(wires)}.", "vendor")
    elif model.wire not in wires[model.vendor]:
        yield Fault(f"{model.vendor} speaks {', '.join(wires[model.vendor])}.", "wire")
    if model.feature not in FEATURES:
        yield Fault(f"The features are {', '.join(FEATURES)}.", "feature")
    if not 0 < len(model.upstream_id) <= 200 or not model.upstream_id.isprintable():
        yield Fault("What the vendor calls it is a text of 1 to 200 characters.", "upstream_id")
    if len(model.display_name) > 200 or not model.display_name.isprintable():
        yield Fault("This is a text of at most 200 characters.", "display_name")


def _numbers(model: Model) -> Iterator[Fault]:
    for name in ("max_images", "max_input_images", "input_image_tokens", "max_input_tokens", "max_tokens"):
        least = int(name == "max_images")
        if not least <= getattr(model, name) <= MAX_NUMBER:
            yield Fault(f"This is a number from {least} to {MAX_NUMBER}.", name)
    for index, size in enumerate(model.sizes):
        if not all(size_of(size) or (0,)):
            yield Fault("A size is WIDTHxHEIGHT in pixels.", f"sizes.{index}")
    come_to = set(map(aspect_ratio_of, model.sizes))
    for index, ratio in enumerate(model.aspect_ratios):
        if ratio not in come_to:
            yield Fault("No size of the model has this ratio.", f"aspect_ratios.{index}")
    rule = model.size_rule
    for field in dataclasses.fields(rule) if rule else ():
        if not 1 <= getattr(rule, field.name) <= MAX_NUMBER:
            yield Fault(f"This is a number from 1 to {MAX_NUMBER}.", f"size_rule.{field.name}")


def _links(model: Model, others: Mapping[str, Model]) -> Iterator[Fault]:
    """A model leads to others of its feature."""
    named = [(at, getattr(model, at)) for at in ("successor", "moves_to") if getattr(model, at) is not None]
    named += [(f"fallbacks.{index}", name) for index, name in enumerate(model.fallbacks)]
    for at, name in named:
        if name not in others:
            yield Fault(f"There is no other model {name[:100]!r}.", at)
        elif others[name].feature != model.feature:
            yield Fault(f"{name} is of {others[name].feature}.", at)


def _kept(model: Model, before: Model | None) -> Iterator[Fault]:
    """Entries of the ledger name prices: one that was there neither changes nor goes, and new ones come behind it."""
    for index, price in enumerate(before.prices if before else ()):
        if index >= len(model.prices) or model.prices[index] != price:
            yield Fault(
                f"The price {price.id} stays as it is: what was charged names it. Put a new one, with an id of its own, behind it.",
                f"prices.{index}",
            )
    if before is not None and model.feature != before.feature:
        yield Fault(f"{model.name} is of {before.feature}.", "feature")


def _prices(model: Model, others: Iterable[Model]) -> Iterator[Fault]:
    known = {price.id: price for other in others for price in other.prices}
    for index, price in enumerate(model.prices):
        at = f"prices.{index}"
        if (
            price.id in {earlier.id for earlier in model.prices[:index]}
            or known.get(price.id, price) != price
        ):
            yield Fault(f"There is another price {price.id[:100]!r}.", f"{at}.id")
        yield from _price(model, price, at)
    if model.prices and model.enabled and model.feature == GENERATION:
        yield from _covered(model, f"prices.{len(model.prices) - 1}")


def _price(model: Model, price: Price, at: str) -> Iterator[Fault]:
    """A price asks for something, and for all that a hold must reckon with."""
    if not 0 < len(price.id) <= MAX_PRICE_ID or not price.id.isprintable():
        yield Fault(f"The id of a price is a text of 1 to {MAX_PRICE_ID} characters.", f"{at}.id")
    if not 0 < len(price.source) <= MAX_TEXT:
        yield Fault(f"Say where it was read, in 1 to {MAX_TEXT} characters.", f"{at}.source")
    if not _is_day(price.as_of):
        yield Fault("This is a day such as 2026-11-22.", f"{at}.as_of")
    rates = [("per_million", price.per_million)]
    rates += [(f"tiers.{index}.per_million", tier.per_million) for index, tier in enumerate(price.tiers)]
    rates += [
        (f"per_image.{index}.by_quality", cell.by_quality) for index, cell in enumerate(price.per_image)
    ]
    for where, numbers in rates:
        for name, number in numbers.items():
            if not 1 <= number <= MAX_NUMBER:
                yield Fault(f"A price is 1 to {MAX_NUMBER} micro-dollars.", f"{at}.{where}.{name}")
    if price.per_input_image < 0:
        yield Fault("This is not negative.", f"{at}.per_input_image")
    for unit in _RATES.get(model.feature, ()):
        if unit not in price.per_million:
            yield Fault(f"There is no rate for {unit!r}.", f"{at}.per_million")
    yield from _tiers(price, at)
    yield from _rising([tier.above_input_tokens for tier in price.tiers], f"{at}.tiers", "above_input_tokens")
    yield from _rising([cell.max_pixels for cell in price.per_image], f"{at}.per_image", "max_pixels")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _tiers(price: Price, at: str) -> Iterator[Fault]:
    lower = price.per_million
    for index, tier in enumerate(price.tiers):
        for unit, rate in tier.per_million.items():
            if rate < lower.get(
                unit, rate
            ):  # else a hold by the bound of its input could be below the charge
                yield Fault(
                    "A tier costs no less than what lies below it.", f"{at}.tiers.{index}.per_million.{unit}"
                )
        lower = {**lower, **tier.per_million}


def _rising(numbers: Sequence[int], at: str, name: str) -> Iterator[Fault]:
    for index, number in enumerate(numbers):
        if number <= (numbers[index - 1] if index else 0):
            yield Fault("This is more than the one before it.", f"{at}.{index}.{name}")


def _covered(model: Model, at: str) -> Iterator[Fault]:
    """Every size and quality that the model takes has a cell: else a request that it allows had no price."""
    cells = model.price.per_image
    areas = [width * height for width, height in filter(None, map(size_of, (*model.sizes, model.auto_size)))]
    areas += [model.size_rule.max_pixels] if model.size_rule else []
    if not cells or max(areas, default=0) > cells[-1].max_pixels:
        yield Fault(
            f"No cell is as large as {max(areas, default=0):,} pixels, which the model takes.",
            f"{at}.per_image",
        )
    qualities = {*model.qualities, model.auto_quality} - {"*", "auto"} or {"*"}
    for index, cell in enumerate(cells):
        if missing := sorted(qualities - cell.by_quality.keys()) if "*" not in cell.by_quality else []:
            yield Fault(
                f"There is no price for the quality {missing[0]}.", f"{at}.per_image.{index}.by_quality"
            )
