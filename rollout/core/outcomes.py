"""What became of a generation, as webhooks are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.decisions import GENERATION
from rollout.core.holds import Hold
from rollout.core.webhooks import EventType

_BY_STATUS: Mapping[int, EventType] = {200: "generation.succeeded", 400: "generation.refused"}


def outcome(hold: Hold, generation_id: str | None = None) -> tuple[EventType, str, dict[str, Any]] | None:
    """(event, tenant, data) of a hold that was just moved on; None when that is no outcome of a generation. `generation_id`
    where there is no result to tell it.

    What nobody could tell was told of as unknown; that its estimate was charged later is told by the statement.
    """
    if hold.feature != GENERATION:
        return None
    result = hold.result
    if hold.state == "unknown":
        type_: EventType = "generation.unknown"
    elif hold.state == "void":
        type_ = "generation.failed"
    elif hold.state == "settled" and result is not None:
        type_ = _BY_STATUS.get(result.status, "generation.failed")
    else:
        return None
    body = result.body if result is not None else {}
    return (
        type_,
        hold.tenant_id,
        {
            "tenant": hold.tenant_id,
            "hold": hold.id,
            "request_id": hold.request_id,
            "generation": body.get("generation", generation_id),
            "images": [image["id"] for image in body.get("images", ())],
            "category": body.get("category"),
            "model": hold.model,
            "cost_usd_micro": hold.cost_usd_micro if hold.state == "settled" else None,
        },
    )
