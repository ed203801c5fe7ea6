"""Alerts: a window has used so much of its cap, or a request did not fit any more; each once a window."""

from __future__ import annotations

from typing import Any, NamedTuple

from rollout.core.meters import PLATFORM, Bucket, Meter
from rollout.core.times import rfc3339
from rollout.core.webhooks import EventType
from rollout.errors import InvalidRequest

EXHAUSTED = 0
"""The threshold of "a request did not fit": 100 % is never reached when the last request is too large."""


class Alert(NamedTuple):
    """`threshold` in percent of `cap`, or EXHAUSTED; amounts in the meter's unit, `at` in UTC epoch seconds."""

    tenant_id: str
    meter_id: str
    subject: str
    start: int
    threshold: int
    cap: int
    used: int
    held: int
    at: int


class Place(NamedTuple):
    """Where an alert stands in the list of all, which is in order of time."""

    at: int
    meter_id: str
    subject: str
    start: int
    threshold: int


class Told(NamedTuple):
    """An alert with its meter, and the end of the window that it was about (None: never)."""

    alert: Alert
    meter: Meter
    ends: int | None

    @property
    def place(self) -> Place:
        return Place(*(getattr(self.alert, name) for name in Place._fields))


def place_text(place: Place) -> str:
    return "/".join(map(str, place))


def parse_place(cursor: str) -> Place:
    """Raises InvalidRequest."""
    try:
        at, meter_id, subject, start, threshold = cursor.split("/")
        return Place(int(at), meter_id, subject, int(start), int(threshold))
    except ValueError:
        raise InvalidRequest(
            "A cursor is one that the page before gave as `next_cursor`.", param="cursor"
        ) from None


def crossed(meter: Meter, before: int, bucket: Bucket, now: int) -> list[int]:
    """The thresholds that the window's `used` has reached and nobody was told of; `before` is the highest that was told."""
    if not meter.lasts or not meter.thresholds or bucket.used == 0:
        return []
    cap = bucket.cap_by(meter, now)
    return [
        percent for percent in meter.thresholds if percent > before and bucket.used * 100 >= percent * cap
    ]


def event_type(alert: Alert) -> EventType:
    return "quota.exhausted" if alert.threshold == EXHAUSTED else "quota.threshold"


def event_data(alert: Alert, meter: Meter, ends: int | None) -> dict[str, Any]:
    """What a webhook tells."""
    return {
        "tenant": None if alert.tenant_id == PLATFORM else alert.tenant_id,
        "meter": meter.id,
        "name": meter.name,
        "level": meter.level,
        "feature": meter.feature,
        "unit": meter.unit,
        "period": meter.period,
        "subject": alert.subject or None,
        "threshold": alert.threshold or None,
        "cap": alert.cap,
        "used": alert.used,
        "held": alert.held,
        "window": {"start": rfc3339(alert.start), "ends": rfc3339(ends)},
    }


def alert_json(told: Told) -> dict[str, Any]:
    """The shape that admins see: what a webhook tells, and when."""
    return {"at": rfc3339(told.alert.at), **event_data(*told)}
