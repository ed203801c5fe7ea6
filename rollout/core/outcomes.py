"""What became of a generation, as webhooks are told."""

from __future__ import annotations

from typing import Any

from rollout.core.decisions import GENERATION
from rollout.core.holds import Hold
from rollout.core.webhooks import EventType


def outcome(hold: Hold) -> tuple[EventType, str, dict[str, Any]] | None:
    """(event, tenant, data) of a hold that was just moved on; None when that is no outcome of a generation.

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
        type_ = "generation.succeeded" if result.status == 200 else "generation.refused"
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
            "generation": body.get("generation"),
            "images": [image["id"] for image in body.get("images", ())],
            "category": body.get("category"),
            "model": hold.model,
            "cost_usd_micro": hold.cost_usd_micro if hold.state == "settled" else None,
        },
    )
