"""The model catalogue: names, aliases, lifecycle, what a model can do, and its dated price. What a request
costs: `core/prices.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rollout.errors import ModelNotFound, ModelRetired, PriceUnknown

Lifecycle = Literal["active", "deprecated", "retired"]
SettledFrom = Literal["usage", "price_list", "estimate"]
OnUnknown = Literal["charge", "review"]
"""What ends an outcome that nobody could tell within the grace: the estimate is charged, or a person decides."""

Mask = Literal["none", "alpha", "black_white"]
"""How a mask says what to paint anew: by transparency, or by black; or that the model takes none."""

UsageTold = Literal["full", "partial", "none"]
"""Whether the vendor's answers say what was used; where they do not, the price list is charged."""

Faults = Literal["unknown", "not_billed"]
"""What a vendor's complete 5xx answer means: nothing for sure, or, where it documents that, that nothing is billed."""


@dataclass(frozen=True)
class Tier:
    """Prices that hold for the whole request once its input exceeds `above_input_tokens`."""

    above_input_tokens: int
    per_million: Mapping[str, int]


@dataclass(frozen=True)
class Cell:
    """What one picture of at most `max_pixels` costs at most, by quality, in micro-dollars."""

    max_pixels: int
    by_quality: Mapping[str, int]


@dataclass(frozen=True)
class Price:
    """A dated price; entries of the ledger keep its id, so a new price is a new row and never rewrites
    history.

    `per_million`: unit (text_in, image_in, image_out, text_out for pictures; in, out, cache_write,
    cache_write_1h, cache_read for messages) -> micro-dollars per million tokens; none where a vendor is paid by
    the picture. `tiers` rise. `per_image`, by rising area: the price list, and the upper bound of what one
    picture costs. `per_input_image`: what each picture costs that goes in, where that is not told in tokens.
    """

    id: str
    as_of: str
    source: str
    per_million: Mapping[str, int] = field(default_factory=dict)
    tiers: tuple[Tier, ...] = ()
    per_image: tuple[Cell, ...] = ()
    per_input_image: int = 0


@dataclass(frozen=True)
class SizeRule:
    """Which `WIDTHxHEIGHT` a model takes beside its listed sizes; pixels. Source: the OpenAI images
    reference, for gpt-image-2 and later."""

    multiple_of: int
    max_ratio: int
    max_edge: int
    max_pixels: int

    def allows(self, width: int, height: int) -> bool:
        return (
            min(width, height) >= self.multiple_of
            and width % self.multiple_of == 0
            and height % self.multiple_of == 0
            and max(width, height) <= min(self.max_edge, self.max_ratio * min(width, height))
            and width * height <= self.max_pixels
        )

    def __str__(self) -> str:
        return (
            f"WIDTHxHEIGHT in multiples of {self.multiple_of}, ratio at most {self.max_ratio}:1, "
            f"no edge above {self.max_edge}, at most {self.max_pixels:,} pixels"
        )


@dataclass(frozen=True)
class Model:
    """One row of the catalogue. `wire` names the file under `rollout/providers`, `upstream_id` what the
    vendor calls it; times are UTC epoch seconds. `auto_size` and `auto_quality` are the dearest that the
    vendor picks for `auto`. `prices`: the last one holds; a price that entries may name never goes. `sizes` of a model with
    `aspect_ratios` are what those come to, in pixels. `fallbacks`: models that may answer in its place, in order.
    `moves_to`: the model that answers for tenants whom the plan of the move has reached."""

    name: str
    vendor: str
    wire: str
    upstream_id: str
    feature: str
    prices: tuple[Price, ...]
    enabled: bool = True
    display_name: str = ""
    lifecycle: Lifecycle = "active"
    successor: str | None = None
    deprecated_at: int | None = None
    retires_at: int | None = None
    created_at: int = 0
    sizes: tuple[str, ...] = ()
    size_rule: SizeRule | None = None
    auto_size: str = "1024x1024"
    auto_quality: str = "*"
    qualities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    transparency: bool = False
    input_fidelities: tuple[str, ...] = ()
    max_images: int = 1
    max_input_images: int = 0
    input_image_tokens: int = 0
    max_input_tokens: int = 0
    max_tokens: int = 0
    streams: bool = True
    partial_images: bool = True
    aspect_ratios: tuple[str, ...] = ()
    mask: Mask = "alpha"
    compression: bool = True
    moderation: bool = True
    is_async: bool = False
    usage: UsageTold = "full"
    thinking: tuple[str, ...] = ()
    efforts: tuple[str, ...] = ()
    structured_outputs: bool = False
    image_input: bool = True
    fallbacks: tuple[str, ...] = ()
    moves_to: str | None = None
    on_unknown: OnUnknown = "charge"
    faults: Faults = "unknown"

    def __post_init__(self) -> None:
        if self.enabled and not self.prices:
            raise ValueError(f"{self.name}: a model without a price cannot be enabled")

    @property
    def is_open(self) -> bool:
        """Whether it answers calls: it is enabled, and not retired."""
        return self.enabled and self.lifecycle != "retired"

    @property
    def stands_in(self) -> str | None:
        """The name of the model that answers for this one, which no longer does."""
        return self.successor if self.lifecycle == "retired" else None

    @property
    def price(self) -> Price:
        """The price that holds. Raises PriceUnknown for a model that has none."""
        if not self.prices:
            raise PriceUnknown(f"There is no price for {self.name}.", param="model", model=self.name)
        return self.prices[-1]


@dataclass(frozen=True)
class Alias:
    """A name in the wild that stands for another model. `since` and `ended`: when the name was deprecated and
    stopped working at the vendor. `warning`: what callers are told of it, before who answers. `moves_to`: as a model's."""

    name: str
    to: str
    since: int | None = None
    ended: int | None = None
    warning: str | None = None
    moves_to: str | None = None

    @property
    def stands_in(self) -> str:
        """The name of the model that answers for it."""
        return self.to


@dataclass(frozen=True)
class Resolved:
    """The model that answers for `requested`. `warnings` are sentences for x-rollout-warnings;
    `deprecated_at` and `sunset_at` (UTC epoch seconds) are for the headers Deprecation and Sunset."""

    model: Model
    requested: str
    warnings: tuple[str, ...] = ()
    deprecated_at: int | None = None
    sunset_at: int | None = None


@dataclass(frozen=True)
class Usage:
    """What the vendor says was used, in tokens; for messages `input` excludes cached tokens (as Anthropic
    counts), and `cache_write` includes those written for an hour. `text_out` is the part of an image model's `output`
    that is no picture. `usd_micro`: what it cost, where the vendor tells money."""

    input: int = 0
    output: int = 0
    text_in: int = 0
    image_in: int = 0
    text_out: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    usd_micro: int = 0


@dataclass(frozen=True)
class Cost:
    """`usd_micro` rounded up once; `settled_from` says what it was computed from, `price_id` by which
    price."""

    usd_micro: int
    settled_from: SettledFrom
    price_id: str


class Catalogue:
    """Models and aliases by name. Building one checks that every alias and successor leads to a model; raises
    ValueError."""

    def __init__(self, models: Iterable[Model], aliases: Iterable[Alias] = ()) -> None:
        self._models: dict[str, Model] = {}
        self._aliases: dict[str, Alias] = {}
        for model in models:
            self._check_new(model.name)
            self._models[model.name] = model
        for alias in aliases:
            self._check_new(alias.name)
            self._aliases[alias.name] = alias
        self._check_links()

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(self._models.values())

    @property
    def aliases(self) -> tuple[Alias, ...]:
        return tuple(self._aliases.values())

    @property
    def vendors(self) -> tuple[str, ...]:
        """Whose models they are, in order of name."""
        return tuple(sorted({model.vendor for model in self._models.values()}))

    @property
    def moving(self) -> tuple[str, ...]:
        """Names that move to another model."""
        rows: list[Alias | Model] = [*self.aliases, *self.models]
        return tuple(row.name for row in rows if row.moves_to is not None)

    def get(self, name: str) -> Model:
        """The row of that very name, retired ones too. Raises ModelNotFound."""
        try:
            return self._models[name]
        except KeyError:
            raise _not_found(name) from None

    def price(self, price_id: str | None) -> Price | None:
        """The price of that id; None for one that no model has any more."""
        return next(
            (price for model in self._models.values() for price in model.prices if price.id == price_id), None
        )

    def resolve(
        self,
        name: str,
        feature: str,
        *,
        strict: bool = False,
        moved: Callable[[str], bool] = lambda _: False,
    ) -> Resolved:
        """The model that answers for `name`: through aliases, moves that have reached the caller (`moved` is asked with the name that
        moves), and successors of what is retired. Raises ModelNotFound, also for a model of another feature, and ModelRetired: where
        nothing has succeeded it, or to a caller who is `strict`, for any name that is old."""
        names = list(self._way(name, moved))
        model = self._models.get(names[-1])
        if model is None or model.feature != feature or not model.enabled:
            raise _not_found(name)
        alias, passed = self._aliases.get(name), [one for one in names[:-1] if one in self._models]
        if model.lifecycle == "retired":
            raise _retired(name, None)
        if strict and (passed or (alias is not None and alias.ended is not None)):
            raise _retired(name, model.name)
        if strict and model.lifecycle == "deprecated" and model.successor is not None:
            raise _retired(name, model.successor)
        named = self._models[passed[0]] if passed else model
        return Resolved(
            model,
            name,
            tuple(_warnings(name, alias, named, model)),
            deprecated_at=alias.since if alias and alias.since else named.deprecated_at,
            sunset_at=alias.ended if alias and alias.ended else named.retires_at,
        )

    def _way(self, name: str, moved: Callable[[str], bool]) -> Iterator[str]:
        """From `name` to the model that answers for it; names that are none are its end, too."""
        next_name: str | None = name
        while next_name is not None:
            name = next_name
            yield name
            row = self._aliases.get(name) or self._models.get(name)
            if row is None:
                return
            next_name = row.moves_to if row.moves_to and moved(name) else row.stands_in

    def _check_new(self, name: str) -> None:
        if name in self._models or name in self._aliases:
            raise ValueError(f"the name {name} stands twice in the catalogue")

    def _check_links(self) -> None:
        leads = {alias.name: {alias.to, alias.moves_to} for alias in self._aliases.values()}
        leads |= {model.name: {model.successor, model.moves_to} for model in self._models.values()}
        for name in leads:
            self._check_ends(name, leads)

    def _check_ends(self, name: str, leads: Mapping[str, Iterable[str | None]]) -> None:
        """All that can answer for `name` are models, and none leads back to it."""
        ahead, seen = [one for one in leads[name] if one], set[str]()
        while ahead:
            found = ahead.pop()
            if found not in self._models or found == name:
                raise ValueError(f"{name} does not lead to a model, but to {found}")
            if found not in seen:
                seen.add(found)
                ahead += [one for one in leads[found] if one]


def _warnings(name: str, alias: Alias | None, named: Model, model: Model) -> Iterator[str]:
    """Sentences on who answers in whose place, and on what comes to its end."""
    why = f"{name} is being replaced" if named.lifecycle != "retired" else f"{name} has been retired"
    if alias is not None:
        why = alias.warning or ""
    if why and model.name != name:
        yield f"{why}; {model.name} answers"
    if model.lifecycle == "deprecated" and model.successor:
        yield f"{model.name} is deprecated; move to {model.successor}"


def _retired(name: str, successor: str | None) -> ModelRetired:
    return ModelRetired(f"The model {name} is retired, or about to be.", param="model", successor=successor)


def _not_found(name: str) -> ModelNotFound:
    return ModelNotFound(f"There is no model {name[:200]!r} here.", param="model")
