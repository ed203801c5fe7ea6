"""What a tenant was told instead of an answer, noted for its story."""

from __future__ import annotations

from flask import g, request

from rollout.core.refusals import MAX_MESSAGE, Refusal, members_of, text
from rollout.errors import RolloutError
from rollout.services.state import Identity
from rollout.web.wired import services


def note(error: RolloutError, status: int) -> None:
    """Keep in memory that the caller is told this error; nothing when nobody knows who it is."""
    caller: Identity | None = g.get("identity")
    if caller is None:
        return
    requests = services().requests
    requests.note(
        Refusal(
            tenant_id=caller.facts.tenant.id,
            request_id=g.request_id,
            at=int(requests.clock()),
            method=request.method[:8],
            route=str(request.url_rule or "")[:200],
            status=status,
            code=error.code,
            message=text(error.message, MAX_MESSAGE),
            members=members_of(error),
            api_key_id=caller.key.id,
            decision_id=error.members.get("decision_id"),
        )
    )
