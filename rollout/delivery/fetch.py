"""One picture from the address that a vendor answered with: GET, without credentials, to hosts that the operator named.

Each hop is checked anew: https on its own port, a host of the list, a public address. Only the origin that the operator
configured as the vendor's own is gone to as it is.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from rollout.core.pictures import media_type_of
from rollout.delivery.dialling import Dial, target

SECONDS = 60.0
"""For all of it, redirects included."""

MAX_REDIRECTS = 3
MAX_BYTES = 50_000_000
_REDIRECTS = (301, 302, 303, 307, 308)


class Unfetched(OSError):
    """There is no picture, or we do not go there; says why."""


class Fetch:
    """Args: `origin`, any address of the vendor's own server ("" for none); `hosts` by name, `.example.com` for all
    below it."""

    def __init__(
        self,
        origin: str,
        hosts: Collection[str],
        *,
        seconds: float = SECONDS,
        max_bytes: int = MAX_BYTES,
        dial: Dial | None = None,
    ) -> None:
        self._origin, self._hosts = urlsplit(origin)[:2], hosts
        self._seconds, self._max_bytes, self._dial = seconds, max_bytes, dial or Dial()

    def __call__(self, url: str) -> bytes:
        """The picture's bytes. Raises Unfetched."""
        deadline = time.monotonic() + self._seconds
        try:
            for _ in range(1 + MAX_REDIRECTS):
                found = self._get(urlsplit(url), deadline)
                if isinstance(found, bytes):
                    return found
                url = urljoin(url, found)
        except Unfetched:
            raise
        except TimeoutError:
            raise Unfetched("the picture did not come in time") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unfetched(f"{type(error).__name__}: {error}") from None
        raise Unfetched(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, url: SplitResult, deadline: float) -> bytes | str:
        """The picture, or where it has gone."""
        own = bool(url.netloc) and url[:2] == self._origin
        if not own:
            self._check(url)
        with self._dial(url, deadline, private=own) as connection:
            connection.request("GET", target(url), headers={"Accept": "image/*", "Connection": "close"})
            response = connection.getresponse()
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return location
            if response.status != 200:
                raise Unfetched(f"{url.hostname} answered {response.status}")
            return self._picture(response)

    def _check(self, url: SplitResult) -> None:
        if url.scheme != "https" or url.port not in (None, 443) or "@" in url.netloc:
            raise Unfetched("an address that is not plain https")
        host = url.hostname or ""
        if not any(host.endswith(known) if known.startswith(".") else host == known for known in self._hosts):
            raise Unfetched(f"{host} is not among the hosts that pictures are fetched from")

    def _picture(self, response: http.client.HTTPResponse) -> bytes:
        data = response.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise Unfetched(f"a picture of more than {self._max_bytes:,} bytes")
        if response.length:
            raise Unfetched("the picture was cut")
        if media_type_of(data) is None:
            raise Unfetched("something that is no picture")
        return data
