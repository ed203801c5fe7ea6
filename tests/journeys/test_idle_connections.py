"""Connections that stay open between requests take nobody's place: there may be many more of them than threads."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

from processes import Starter

CONNECTIONS = 24


def test_more_callers_stay_connected_than_there_are_threads(
    starter: Starter, new_database: Callable[..., str]
) -> None:
    service = starter.service(new_database("sqlite"), threads=8)
    host = urlsplit(service.url).netloc
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(http.client.HTTPConnection(host, timeout=30)))
            for _ in range(CONNECTIONS)
        ]
        for line in [*opened, *opened, *[opened[0]] * 50]:
            line.request("GET", "/healthz")
            answer = line.getresponse()
            answer.read()
            assert (answer.status, answer.getheader("Connection")) == (200, "keep-alive")
