"""One POST to an address that somebody else chose: to a public address only, without redirects, ended by one deadline.

The name is resolved once, what it resolves to is checked, and the connection goes to the checked address: a name that leads
elsewhere at the next look leads nowhere. TLS is verified against the name.
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import SOCK_STREAM, create_connection, gaierror, getaddrinfo, socket
from typing import Any
from urllib.parse import SplitResult, urlsplit

SECONDS = 15.0
"""For all of it: connecting, sending, and what is read of the answer."""

CONNECT_SECONDS = 5.0
EXCERPT_BYTES = 1000

_NAT64 = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]
"""(name, port) -> addresses. Raises OSError."""


@dataclass(frozen=True)
class Answer:
    """What the receiver said; `excerpt`: how its body begins; `ms`: from the first look-up to the last byte read."""

    status: int
    excerpt: str
    ms: int


class Undelivered(Exception):
    """There was no answer; says why."""


def resolve(name: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in getaddrinfo(name, port, type=SOCK_STREAM)]


class Post:
    """`private` allows addresses that are not public: for trying things out on one machine."""

    def __init__(
        self,
        *,
        private: bool = False,
        resolve: Resolve = resolve,
        seconds: float = SECONDS,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._private, self._resolve, self._seconds, self._new_tls = private, resolve, seconds, tls

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises Undelivered."""
        began = time.monotonic()
        parts = urlsplit(url)
        try:
            with self._connect(parts) as line:
                connection = http.client.HTTPConnection(parts.netloc)
                connection.sock = _Timed(line, began + self._seconds)
                connection.request("POST", _target(parts), body, {**headers, "Connection": "close"})
                response = connection.getresponse()
                excerpt = response.read(EXCERPT_BYTES).decode(errors="replace").replace("\x00", "")
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from None
        return Answer(response.status, excerpt, int((time.monotonic() - began) * 1000))

    def _connect(self, parts: SplitResult) -> socket:
        """A connection to the first address that takes one."""
        name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        failure: OSError | None = None
        for address in self._checked(name, port):
            try:
                plain = create_connection((address, port), timeout=min(CONNECT_SECONDS, self._seconds))
            except OSError as error:
                failure = error
                continue
            return self._tls.wrap_socket(plain, server_hostname=name) if parts.scheme == "https" else plain
        raise failure or OSError(f"{name} has no address")

    def _checked(self, name: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(name, port)
        except (gaierror, UnicodeError) as error:
            raise Undelivered(f"{name} cannot be resolved: {error}") from None
        if not self._private and (inner := [one for one in addresses if not is_public(one)]):
            raise Undelivered(f"{name} is {inner[0]}, which is not a public address")
        return addresses

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._new_tls()


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet, and so does the IPv4 address that it may hold inside."""
    found = ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (found, *_inner(found)))


def _inner(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    nat64 = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    return [one for one in (address.ipv4_mapped, address.sixtofour, nat64) if one]


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Timed(io.RawIOBase):
    """A socket of which every step ends by one deadline: a byte now and then keeps nobody waiting longer."""

    def __init__(self, line: socket, deadline: float) -> None:
        self._line, self._deadline = line, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._in_time().recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._in_time().sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Not here: http.client closes before it has read the answer."""

    def _in_time(self) -> socket:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(left)
        return self._line
