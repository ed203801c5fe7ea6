"""Two hundred callers who hang up in the middle of a stream: what reached the vendor is charged as the vendor said, nothing stays held."""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from processes import Process, Service, Starter, call, upstream_calls, wait_until

CALLERS, ABREAST = 200, 12
PICTURES, MESSAGES = "/v1/images/generations", "/v1/messages"
EVENTS = {PICTURES: 3, MESSAGES: 6}
"""How many events of each stream a caller may read; the last one of both comes after them."""


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(
    params=[("sqlite", 1), pytest.param(("postgresql", 2), marks=pytest.mark.postgres)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def service(
    request: pytest.FixtureRequest, starter: Starter, vendor: Process, new_database: Callable[..., str]
) -> Service:
    kind, workers = request.param
    return starter.service(new_database(kind), workers=workers, vendor=vendor)


def test_every_work_is_charged_as_the_vendor_told_and_nothing_stays_held(
    service: Service, vendor: Process
) -> None:
    call("DELETE", f"{vendor.url}/sandbox/journal")
    chance = random.Random(7)
    callers = [(number, chance.random(), chance.random() < 0.5) for number in range(CALLERS)]

    with ThreadPoolExecutor(ABREAST) as pool:
        statuses = list(pool.map(lambda caller: hang_up(service, *caller), callers))

    assert set(statuses) <= {b"", b"200"}
    wait_until(lambda: not service.admin("GET", "/holds?state=open")["data"], "holds to end", service.log)
    holds = service.admin("GET", f"/holds?tenant=acme&limit={2 * CALLERS}")["data"]
    arrived = upstream_calls(vendor)
    assert arrived > CALLERS * 0.9
    assert [(hold["state"], hold["settled_from"]) for hold in holds] == [("settled", "usage")] * arrived
    charged = {hold["cost_usd_micro"] for hold in holds}
    assert len(charged) == arrived
    assert charged <= {price(number) for number in range(CALLERS)}
    rows = service.call("GET", "/api/v1/quotas", key=service.key("acme"))[2]["data"]
    of_pictures = [hold for hold in holds if hold["feature"] == "image-generation"]
    assert {row["name"]: (row["used"], row["held"]) for row in rows if row["unit"] in ("image", "slot")} == {
        "image-day": (len(of_pictures), 0),
        "image-month": (len(of_pictures), 0),
        "concurrent": (0, 0),
    }
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout


def price(number: int) -> int:
    """What the vendor is told to ask of this caller, in micro-dollars: another price for each."""
    return 30_000 + 300 * number


def hang_up(service: Service, number: int, where: float, abruptly: bool) -> bytes:
    """Call, read a part of the stream, and close; the status, if that much came.

    `abruptly`: with a reset, which throws away what has not been read.
    """
    path = MESSAGES if number % 2 else PICTURES
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request(service, path, number))
        read, wanted = b"", int(where * (EVENTS[path] + 1))
        while read.count(b"\n\n") < wanted and (part := connection.recv(65_536)):
            read += part
        if abruptly and wanted:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return read[9:12]


def request(service: Service, path: str, number: int) -> bytes:
    prompt = f"sandbox:cost={price(number)},slow={number % 5 * 20}ms boat {number}"
    body: dict[str, Any] = {"stream": True}
    if path == PICTURES:
        body |= {"model": "gpt-image-2.6-flare", "prompt": prompt, "size": "1024x1024", "quality": "low"}
        body |= {"partial_images": 2}
    else:
        body |= {"model": "claude-sonnet-5-5", "max_tokens": 200}
        body |= {"messages": [{"role": "user", "content": prompt}]}
    sent = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {service.key('acme')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + sent
