"""Connections to addresses that somebody else chose: to public addresses only, ended by one deadline.

A name is resolved once, what it resolves to is checked, and the connection goes to the checked address: a name that leads
elsewhere at the next look leads nowhere. TLS is verified against the name.
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import SOCK_STREAM, create_connection, getaddrinfo, socket
from typing import Any
from urllib.parse import SplitResult

CONNECT_SECONDS = 5.0

_NAT64 = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]
"""(name, port) -> addresses. Raises OSError."""


class Unreachable(OSError):
    """The name leads nowhere, or to where we do not go; says why."""


def resolve(name: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in getaddrinfo(name, port, type=SOCK_STREAM)]


class Dial:
    """Opens HTTP connections."""

    def __init__(
        self, *, resolve: Resolve = resolve, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    ) -> None:
        self._resolve, self._new_tls = resolve, tls

    @contextmanager
    def __call__(
        self, url: SplitResult, deadline: float, *, private: bool = False
    ) -> Iterator[http.client.HTTPConnection]:
        """A connection of which every step ends at `deadline` (`time.monotonic`); `private` allows addresses that
        are not public. Raises OSError."""
        with self._connect(url, deadline, private) as line:
            connection = http.client.HTTPConnection(url.netloc)
            connection.sock = _Timed(line, deadline)
            yield connection

    def _connect(self, url: SplitResult, deadline: float, private: bool) -> socket:
        """A connection to the first address that takes one."""
        name, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        failure: OSError | None = None
        for address in self._checked(name, port, private):
            try:
                plain = create_connection((address, port), timeout=min(CONNECT_SECONDS, _left(deadline)))
            except OSError as error:
                failure = error
                continue
            return self._tls.wrap_socket(plain, server_hostname=name) if url.scheme == "https" else plain
        raise failure or Unreachable(f"{name} has no address")

    def _checked(self, name: str, port: int, private: bool) -> list[str]:
        try:
            addresses = self._resolve(name, port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{name} cannot be resolved: {error}") from None
        if not private and (inner := [one for one in addresses if not is_public(one)]):
            raise Unreachable(f"{name} is {inner[0]}, which is not a public address")
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


def target(parts: SplitResult) -> str:
    """What a request line names."""
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
        self._line.settimeout(_left(self._deadline))
        return self._line


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
