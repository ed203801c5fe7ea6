"""What became of the works of a sandbox that is served over HTTP: GET /sandbox/works/{id}, any key.

The answer is a `Found` as JSON, 404 for an id that is not known. Failures: by status where there was an answer, else NotSent or
OutcomeUnknown; either way nothing was found out.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx2
import msgspec

from rollout.providers.base import Fault, Found, NotSent, OutcomeUnknown, error_by_status

LOOK_UP_SECONDS = 10


class DistantWorks:
    """The port `LookUp` over a sandbox that is served at `url`."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(
            base_url=url, headers={"authorization": "Bearer any"}, timeout=LOOK_UP_SECONDS
        )

    def look_up(self, upstream_id: str) -> Found | None:
        try:
            response = self._client.get(f"/sandbox/works/{quote(upstream_id, safe='')}")
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NotSent(repr(error)) from error
        except httpx2.HTTPError as error:
            raise OutcomeUnknown(repr(error)) from error
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise error_by_status(response.status_code, response.text[:500])
        try:
            return msgspec.json.decode(response.content, type=Found)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise Fault(f"an answer that cannot be read: {error}") from error
