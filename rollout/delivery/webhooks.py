"""One POST to an address that somebody else chose: to a public address only, without redirects, ended by one deadline."""

from __future__ import annotations

import contextlib
import http.client
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from rollout.delivery.dialling import Dial, Unreachable, target

SECONDS = 15.0
"""For all of it: connecting, sending, and what is read of the answer."""

EXCERPT_BYTES = 1000
MOST_PATIENCE = 86_400
"""Seconds of a Retry-After: no receiver puts its messages off for longer than a day."""


@dataclass(frozen=True)
class Answer:
    """What the receiver said; `excerpt`: how its body begins; `ms`: from the first look-up to the last byte read; `retry_after`: seconds
    that it asks to be left alone."""

    status: int
    excerpt: str
    ms: int
    retry_after: int = 0


class Undelivered(Exception):
    """There was no answer; says why."""


class Post:
    """`private` allows addresses that are not public: for trying things out on one machine."""

    def __init__(self, *, private: bool = False, seconds: float = SECONDS, dial: Dial | None = None) -> None:
        self._private, self._seconds, self._dial = private, seconds, dial or Dial()

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises Undelivered."""
        began = time.monotonic()
        parts = urlsplit(url)
        try:
            with self._dial(parts, began + self._seconds, private=self._private) as connection:
                connection.request("POST", target(parts), body, {**headers, "Connection": "close"})
                response = connection.getresponse()
                excerpt = response.read(EXCERPT_BYTES).decode(errors="replace").replace("\x00", "")
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except Unreachable as error:
            raise Undelivered(str(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from None
        ms = int((time.monotonic() - began) * 1000)
        return Answer(response.status, excerpt, ms, _seconds(response.getheader("Retry-After", "")))


def _seconds(text: str) -> int:
    """Of a Retry-After, which is a number of seconds or a date (RFC 9110, 10.2.3): at most MOST_PATIENCE; 0 where it cannot be read."""
    with contextlib.suppress(ValueError, OverflowError):
        left = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        return max(0, math.ceil(min(left, MOST_PATIENCE)))
    return 0
