"""Lines to vendors for tests of wires: real ones, and ones that a function answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2

from rollout.providers.transport import Line, open_line
from rollout.settings import Settings


def line(**settings: Any) -> Line:
    """A real one, that does not wait long."""
    return open_line(Settings(**{"upstream_connect_seconds": 5, "upstream_read_seconds": 20, **settings}))


def answered_by(handler: Callable[[httpx2.Request], httpx2.Response]) -> Line:
    """One at whose other end the function stands."""
    return replace(line(), client=httpx2.Client(transport=httpx2.MockTransport(handler)))
