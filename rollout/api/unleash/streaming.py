"""/api/client/streaming: the flags as they are, and again at each change.

Each connect and each change is a whole hydration, so that no event can be missed: upstream's bugs are in its replays.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response

from rollout.core.unleash import Query
from rollout.services.registry import Services
from rollout.web import flag_auth
from rollout.web.admission import admitted
from rollout.web.flag_query import flag_query, spec
from rollout.web.operation import operation
from rollout.web.streams import HEARTBEAT, event, event_stream, revisions
from rollout.web.wired import services

routes = Blueprint("unleash_streaming", __name__, url_prefix="/api/client")


@routes.get("/streaming")
@operation("All flags at once, and again at each change, as server-sent events", auth=flag_auth.client)
@admitted("stream")
def stream() -> Response:
    spec()  # a malformed one is refused here, too
    wired, token, query = services(), flag_auth.token(), flag_query(inline=False)
    return event_stream(_hydrations(wired, query, revisions(lambda: wired.flag_tokens.check_usable(token))))


def _hydrations(wired: Services, query: Query, revisions: Iterator[int | None]) -> Iterator[bytes]:
    name, sent = b"unleash-connected", None
    for revision in revisions:
        now = None if revision is None else wired.client_features.delta(query)
        if now is None or (sent is not None and now.document is sent.document):
            yield HEARTBEAT
            continue
        yield event(name, now.revision, now.plain)
        name, sent = b"unleash-updated", now
