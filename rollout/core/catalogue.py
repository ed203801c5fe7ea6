"""The model catalogue: names, aliases, lifecycle, capabilities, dated prices; what a request may cost at most, and what it did cost.

Prices are integers: micro-dollars per million tokens, or per picture. Products are summed first and rounded up once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Lifecycle = Literal["active", "deprecated", "retired"]
SettledFrom = Literal["usage", "price_list", "estimate"]


@dataclass(frozen=True)
class Price:
    """`per_million`: unit (text_in, image_in, image_out, in, out, cache_write, cache_read) -> micro-dollars per million tokens.

    `per_image`: (size, quality) -> micro-dollars, the price list and the upper bound of what one picture costs; `*` matches any.
    """

    id: str
    as_of: str
    source: str
    per_million: Mapping[str, int] = field(default_factory=dict)
    per_image: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One row of the catalogue. `wire` names the file under `rollout/providers`, `upstream_id` what the vendor calls it."""

    name: str
    vendor: str
    wire: str
    upstream_id: str
    feature: str
    price: Price
    display_name: str = ""
    lifecycle: Lifecycle = "active"
    aliases: tuple[str, ...] = ()
    successor: str | None = None
    deprecated_at: int | None = None
    retires_at: int | None = None
    created_at: int = 0
    sizes: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    max_images: int = 1
    max_input_images: int = 0
    max_tokens: int = 0
    streams: bool = True


@dataclass(frozen=True)
class Usage:
    """What the vendor says was used, in tokens; for messages `input` excludes cached tokens (as Anthropic counts)."""

    input: int = 0
    output: int = 0
    text_in: int = 0
    image_in: int = 0
    cache_write: int = 0
    cache_read: int = 0


@dataclass(frozen=True)
class Cost:
    """`usd_micro` rounded up once; `settled_from` says what it was computed from, `price_id` by which price."""

    usd_micro: int
    settled_from: SettledFrom
    price_id: str
