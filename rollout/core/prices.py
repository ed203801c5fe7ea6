"""What a request may cost at most, and what it did cost. Integers throughout: products are summed first and
rounded up once.

A hold takes the maximum before the vendor is called; the settle takes the actual cost. `PriceUnknown` where
the price has no cell for the combination, and for what the vendor bills by another measure than tokens: never
a hold of zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from rollout.core.catalogue import Cost, Model, Price, SettledFrom, Usage
from rollout.core.images import Finished, ImageRequest, size_of
from rollout.errors import PriceUnknown

_MILLION = 1_000_000
_PROMPT_OVERHEAD_TOKENS = 100  # what a vendor wraps around a prompt
_PARTIAL_IMAGE_TOKENS = 100  # billed for each partial image; source: the OpenAI image generation guide
_MESSAGE_OVERHEAD_TOKENS = 2_000  # system text that the vendor adds for tools and structured outputs
_MESSAGE_IMAGE_TOKENS = 5_000  # the most for one picture where the row says nothing; source: Anthropic vision guide (4,784), rounded up


@dataclass(frozen=True)
class CostLine:
    """What the tokens of one kind come to: `tokens * per_million` millionths of a micro-dollar."""

    unit: str
    tokens: int
    per_million: int

    @property
    def millionths(self) -> int:
        return self.tokens * self.per_million


def maximum_image_cost(model: Model, request: ImageRequest) -> Cost:
    """The worst case of a request: each picture at the dearest that it allows, and all that goes in. A
    byte-level tokenizer makes no more tokens than the prompt has bytes."""
    price = model.price
    inputs = len(request.images) * price.per_input_image
    pictures = inputs + request.n * picture_cost(model, request.size, request.quality)
    tokens = _maximum_tokens(model, request) if price.per_million else {}
    millionths = sum(count * _rate(price, unit) for unit, count in tokens.items() if count)
    return _cost(price, pictures * _MILLION + millionths, "estimate")


def _maximum_tokens(model: Model, request: ImageRequest) -> Mapping[str, int]:
    """By unit, beside those of the finished pictures; `text_out` is what a model may think and say."""
    return {
        "text_in": len(request.prompt.encode()) + _PROMPT_OVERHEAD_TOKENS,
        "image_in": (len(request.images) + (request.mask is not None)) * model.input_image_tokens,
        "image_out": request.n * request.partial_images * _PARTIAL_IMAGE_TOKENS,
        "text_out": request.n * model.max_tokens,
    }


def actual_image_cost(model: Model, request: ImageRequest, finished: Finished) -> Cost:
    """By the vendor's usage; without one, or where pictures are what is paid for, by the price list, for the
    pictures that came, and never above the maximum."""
    if tells_cost(finished.usage, model):
        return usage_image_cost(model, finished.usage)
    maximum = maximum_image_cost(model, request)
    asked = picture_cost(model, request.size, request.quality)
    each = min(asked, _reported_cell(model, finished, asked))
    missing = max(0, request.n - len(finished.pictures))
    return Cost(
        max(1, maximum.usd_micro - request.n * asked + (request.n - missing) * each),
        "price_list",
        model.price.id,
    )


def tells_cost(usage: Usage | None, model: Model) -> TypeGuard[Usage]:
    """Whether a usage says what to charge: in money, or in tokens that have a price."""
    return usage is not None and bool(usage.usd_micro or model.price.per_million)


def usage_image_cost(model: Model, usage: Usage) -> Cost:
    """What the vendor's usage comes to: also for a call that was refused after some work."""
    if usage.usd_micro:
        return Cost(usage.usd_micro, "usage", model.price.id)
    return _cost_of(model.price, image_lines(model.price, usage))


def image_lines(price: Price, usage: Usage) -> list[CostLine]:
    """What the usage of an image model is charged by, tokens of each kind times their rate."""
    tokens = {
        "text_in": max(usage.text_in, usage.input - usage.image_in),
        "image_in": usage.image_in,
        "image_out": usage.output - usage.text_out,
        "text_out": usage.text_out,
    }
    return [CostLine(unit, count, _rate(price, unit)) for unit, count in tokens.items() if count]


def maximum_message_cost(model: Model, text_bytes: int, max_tokens: int, cache: bool, images: int) -> Cost:
    """The worst case of a message: every byte of the body but pictures a token, every picture at its largest,
    all of `max_tokens` written.

    Args: `images` counts pictures, and what may be as large as many (`core.analyses.MessageRequest.images`);
    no input exceeds the context.
    """
    bound = (
        text_bytes + _MESSAGE_OVERHEAD_TOKENS + images * (model.input_image_tokens or _MESSAGE_IMAGE_TOKENS)
    )
    tokens_in = min(bound, model.max_input_tokens) if model.max_input_tokens else bound
    rates = _rates(model.price, tokens_in)
    units = ("in", "cache_write", "cache_write_1h") if cache else ("in",)
    dearest = max(_unit(model.price, rates, unit) for unit in units)
    return _cost(model.price, tokens_in * dearest + max_tokens * _unit(model.price, rates, "out"), "estimate")


def actual_message_cost(model: Model, usage: Usage | None, maximum: Cost) -> Cost:
    """By the vendor's usage, else the maximum that was held."""
    if usage is None:
        return Cost(maximum.usd_micro, "estimate", maximum.price_id)
    return _cost_of(model.price, message_lines(model.price, usage))


def message_lines(price: Price, usage: Usage) -> list[CostLine]:
    """The same for a message; all of it by the tier that its input reaches. What was read from a cache that has no
    price of its own is input."""
    rates = _rates(price, usage.input + usage.cache_write + usage.cache_read)
    rates = {"cache_read": rates.get("in", 0), **rates}
    tokens = {"in": usage.input, "out": usage.output}
    cached = {
        "cache_write": usage.cache_write - usage.cache_write_1h,
        "cache_write_1h": usage.cache_write_1h,
        "cache_read": usage.cache_read,
    }
    tokens |= {unit: count for unit, count in cached.items() if count}
    return [CostLine(unit, count, _unit(price, rates, unit)) for unit, count in tokens.items()]


def rounded_up(lines: Iterable[CostLine]) -> int:
    """What they come to together, in micro-dollars; rounded up once."""
    return _micro(sum(line.millionths for line in lines))


def picture_cost(model: Model, size: str | None, quality: str | None) -> int:
    """Micro-dollars that one picture of this size and quality costs at most; `auto` and None mean the dearest
    the vendor picks."""
    size = model.auto_size if size in (None, "auto") else size
    quality = model.auto_quality if quality in (None, "auto") else quality
    width, height = size_of(str(size)) or (0, 0)
    for cell in model.price.per_image:
        if 0 < width * height <= cell.max_pixels:
            found = cell.by_quality.get(str(quality), cell.by_quality.get("*"))
            if found:
                return found
    raise PriceUnknown(
        f"There is no price for {model.name} at size {size} and quality {quality}.",
        param="size",
        model=model.name,
    )


def _reported_cell(model: Model, finished: Finished, otherwise: int) -> int:
    if finished.size is None:
        return otherwise
    try:
        return picture_cost(model, finished.size, finished.quality)
    except PriceUnknown:
        return otherwise


def _rates(price: Price, tokens_in: int) -> Mapping[str, int]:
    """The rates of the highest tier that this input reaches."""
    reached = [tier.per_million for tier in price.tiers if tokens_in > tier.above_input_tokens]
    return {**price.per_million, **reached[-1]} if reached else price.per_million


def _rate(price: Price, unit: str) -> int:
    return _unit(price, price.per_million, unit)


def _unit(price: Price, rates: Mapping[str, int], unit: str) -> int:
    if not rates.get(unit):
        raise PriceUnknown(f"The price {price.id} has no rate for {unit!r}.", param="model")
    return rates[unit]


def _cost(price: Price, millionths: int, settled_from: SettledFrom) -> Cost:
    return Cost(_micro(millionths), settled_from, price.id)


def _cost_of(price: Price, lines: Iterable[CostLine]) -> Cost:
    return Cost(rounded_up(lines), "usage", price.id)


def _micro(millionths: int) -> int:
    return -(-millionths // _MILLION)
