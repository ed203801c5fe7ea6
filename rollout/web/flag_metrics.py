"""What SDKs tell of themselves and of their flags: the bodies of `register` and `metrics`, whichever door they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from rollout.core.flag_metrics import Count, FlagClient
from rollout.web.wired import services

MOST = 1_000_000_000
MAX_STRATEGIES = 200


def _instant(sent: Any) -> int:
    """RFC 3339, to nanoseconds, or milliseconds since 1970; as UTC epoch seconds."""
    try:
        if isinstance(sent, str):
            moment = datetime.fromisoformat(sent)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        return int(datetime.fromtimestamp(sent / 1000, UTC).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        raise ValueError("A time is RFC 3339, or milliseconds since 1970") from None


Name = Annotated[str, Field(min_length=1, max_length=200)]
Instant = Annotated[int, BeforeValidator(_instant)]
Times = Annotated[int, Field(ge=0, le=MOST)]
Variants = dict[Annotated[str, Field(max_length=200)], Times]


class Told(BaseModel):
    """SDKs send more than anybody reads, and each version more: what is not known here is no error."""

    model_config = ConfigDict(alias_generator=to_camel)


class Registration(Told):
    app_name: Name
    instance_id: Annotated[str, Field(max_length=200)] | None = None
    sdk_version: Annotated[str, Field(max_length=200)] | None = None
    strategies: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=MAX_STRATEGIES)] = []
    interval: Annotated[int, Field(ge=0, le=MOST)] | None = None


class Toggle(Told):
    yes: Times = 0
    no: Times = 0
    variants: Variants = {}


class Bucket(Told):
    start: Instant
    stop: Instant
    toggles: dict[Annotated[str, Field(max_length=500)], Toggle] = {}


class Metrics(Told):
    """`bucket` is null where an SDK has only impact metrics to tell, which nobody asked for here."""

    app_name: Name
    instance_id: Annotated[str, Field(max_length=200)] | None = None
    bucket: Bucket | None


class Application(Registration):
    environment: str | None = None


class CountedFlag(Toggle):
    feature_name: Annotated[str, Field(max_length=500)]
    app_name: Name
    environment: str | None = None
    timestamp: Instant


class BulkMetrics(Told):
    """What a proxy such as Unleash Edge gathered. It counts for the token's environment, whatever the rows say."""

    applications: list[Application] = []
    metrics: list[CountedFlag] = []


def register(environment: str, told: Registration) -> None:
    now = services().flag_metrics.now()
    services().flag_metrics.register(
        FlagClient(
            environment=environment,
            app_name=told.app_name,
            instance_id=told.instance_id or "",
            sdk=told.sdk_version,
            strategies=tuple(told.strategies),
            interval=told.interval,
            first_seen_at=now,
            seen_at=now,
        )
    )


def count(environment: str, told: Metrics) -> None:
    metrics, bucket = services().flag_metrics, told.bucket
    now = metrics.now()
    metrics.see(FlagClient(environment, told.app_name, told.instance_id or "", None, (), None, now, now))
    if bucket is not None:
        metrics.count(
            environment,
            told.app_name,
            _counts((name, bucket.start, one) for name, one in bucket.toggles.items()),
        )


def count_bulk(environment: str, told: BulkMetrics) -> None:
    for application in told.applications:
        register(environment, application)
    for one in told.metrics:
        services().flag_metrics.count(
            environment, one.app_name, _counts([(one.feature_name, one.timestamp, one)])
        )


def _counts(told: Iterable[tuple[str, int, Toggle]]) -> Iterator[Count]:
    """Without what was never asked: SDKs repeat names with zeros."""
    for flag, at, toggle in told:
        variants = {name: times for name, times in toggle.variants.items() if times}
        if toggle.yes or toggle.no or variants:
            yield Count(flag, at, toggle.yes, toggle.no, variants)
