"""How calls reach vendors and answers come back: one long-lived client for each vendor, its time-outs, its proxy, and
its certificates.

Nothing is sent twice: no retries, no redirects. The connections are pooled here: httpcore2's pool walks all that it has at each
call's start and end under one lock, so a quick call beside 1,000 waiting ones takes milliseconds. It still makes the connections,
direct ones and those through proxies. Private names that this leans on: `httpx2.HTTPTransport._pool`, and below a connection of
httpcore2 `_connection` and `_h11_state`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # public, and missing in typeshed

import httpcore2
import httpx2

from rollout.core.wire import Event, EventTooLarge, split_events
from rollout.providers.base import Fault, Fetch, NotSent, OutcomeUnknown
from rollout.settings import Settings

WRITE_SECONDS = 60
IDLE_SECONDS = 30
"""An idle connection that the vendor closes while we write to it leaves an unknown outcome: ours end first."""

NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""What proves that nothing of a call left this machine for the vendor, by the cause of an SDK's error."""

_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
]

Origin = tuple[bytes, bytes, int]
Create = Callable[[httpcore2.Origin], httpcore2.ConnectionInterface]


def _nowhere(url: str) -> bytes:
    raise OSError("nothing is fetched on this line")


@dataclass(frozen=True)
class Line:
    """The way to one vendor: its client, and how long to wait for a whole answer, between two bytes of a stream, for a look at a
    task, for a moderation; `fetch` for pictures that it answers with by address."""

    client: httpx2.Client
    answer: httpx2.Timeout
    stream: httpx2.Timeout
    look: httpx2.Timeout
    moderation: httpx2.Timeout
    fetch: Fetch = _nowhere


def open_line(settings: Settings, proxies: Mapping[str, str] | None = None, fetch: Fetch = _nowhere) -> Line:
    """Args: `proxies` by scheme (or `all`), and `no` for who is reached without one, as
    `urllib.request.getproxies_environment` tells them; the setting goes before them. Call it after the fork."""

    def timeout(read: float) -> httpx2.Timeout:
        connect = settings.upstream_connect_seconds
        return httpx2.Timeout(connect=connect, read=read, write=WRITE_SECONDS, pool=None)

    ours = {"all": settings.upstream_proxy} if settings.upstream_proxy else {}
    answer = settings.upstream_read_seconds
    return Line(
        _client(settings.upstream_ca_file, {"no": (proxies or {}).get("no", ""), **(ours or proxies or {})}),
        answer=timeout(answer),
        stream=timeout(min(answer, settings.upstream_stream_seconds)),
        look=timeout(min(answer, settings.upstream_look_seconds)),
        moderation=timeout(min(answer, settings.upstream_moderation_seconds)),
        fetch=fetch,
    )


def send(
    line: Line,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: httpx2.Timeout | None = None,
) -> httpx2.Response:
    """For wires without an SDK: the response, its body unread, so that what its head says is not lost with it. `timeout`: another
    than the line's for whole answers. Raises NotSent, OutcomeUnknown."""
    request = line.client.build_request(
        method, url, content=body, headers=headers, timeout=timeout or line.answer
    )
    try:
        return line.client.send(request, stream=True)
    except NEVER_SENT as error:
        raise NotSent(repr(error)) from error
    except httpx2.HTTPError as error:
        raise OutcomeUnknown(repr(error)) from error


def read_whole(response: httpx2.Response, vendor_request_id: str | None) -> bytes:
    """The body. Raises OutcomeUnknown where it is cut."""
    try:
        return response.read()
    except httpx2.HTTPError as error:
        raise OutcomeUnknown(f"the answer was cut: {error!r}", vendor_request_id=vendor_request_id) from error
    finally:
        response.close()


def read_events(response: httpx2.Response, vendor_request_id: str | None) -> Iterator[Event]:
    """The body's events. Raises OutcomeUnknown where it is cut, Fault for an event without an end."""
    try:
        yield from split_events(response.iter_bytes())
    except EventTooLarge as error:
        raise Fault(str(error), vendor_request_id=vendor_request_id) from error
    except httpx2.HTTPError as error:
        raise OutcomeUnknown(f"the stream was cut: {error!r}", vendor_request_id=vendor_request_id) from error


def retry_after(response: httpx2.Response) -> int | None:
    """Whole seconds, where the vendor asks for them so."""
    text = response.headers.get("retry-after", "")
    return int(text) if text.isdigit() else None


def _client(ca_file: str, proxies: Mapping[str, str]) -> httpx2.Client:
    context = httpx2.create_ssl_context()
    if ca_file:
        context.load_verify_locations(ca_file)

    def transport(proxy: str | None) -> httpx2.HTTPTransport:
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS)
        return httpx2.HTTPTransport(context, limits=limits, proxy=proxy, socket_options=_KEEP_ALIVE)

    direct = transport(None)
    by_scheme: dict[str, Create] = {
        scheme: transport(proxy)._pool.create_connection
        for scheme in ("http", "https")
        if (proxy := proxies.get(scheme) or proxies.get("all"))
    }
    directly = direct._pool.create_connection

    def create(origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        host = f"{origin.host.decode()}:{origin.port}"
        if proxy_bypass_environment(host, proxies):
            return directly(origin)
        return by_scheme.get(origin.scheme.decode(), directly)(origin)

    direct._pool = Connections(create)  # type: ignore[assignment]
    return httpx2.Client(transport=direct, follow_redirects=False, trust_env=False)


class Connections:
    """In the place of httpcore2's pool: idle connections by where they lead, the latest used first. A call takes one or a new one,
    without waiting, and the end of its answer puts it back."""

    def __init__(self, create: Create) -> None:
        self._create = create
        self._idle: dict[Origin, deque[httpcore2.ConnectionInterface]] = {}
        self._is_closed = False

    def handle_request(self, request: httpcore2.Request) -> httpcore2.Response:
        origin = request.url.origin
        idle = self._idle.setdefault((origin.scheme, origin.host, origin.port), deque())
        connection = _taken(idle) or self._create(origin)
        try:
            response = connection.handle_request(request)
        except BaseException:
            connection.close()
            raise
        return httpcore2.Response(
            response.status,
            headers=response.headers,
            content=_Body(response.stream, partial(self._put_back, connection, idle)),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._is_closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _put_back(
        self, connection: httpcore2.ConnectionInterface, idle: deque[httpcore2.ConnectionInterface]
    ) -> None:
        """One whose answer was read to its end; and the oldest two are looked at: those that a burst left must not stay open."""
        if connection.is_idle() and not _has_more(connection) and not self._is_closed:
            idle.append(connection)
        else:
            connection.close()
        for _ in range(2):
            if not _closed_if_expired(idle):
                break


def _taken(idle: deque[httpcore2.ConnectionInterface]) -> httpcore2.ConnectionInterface | None:
    """The latest used that still stands."""
    while idle:
        try:
            connection = idle.pop()
        except IndexError:  # another thread was faster
            break
        if connection.is_available() and not connection.has_expired():
            return connection
        connection.close()
    return None


def _has_more(connection: Any) -> bool:
    """Whether more came than the answer: it would be taken for the answer to the next call, somebody else's."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    return bool(connection._h11_state.trailing_data[0])


def _closed_if_expired(idle: deque[httpcore2.ConnectionInterface]) -> bool:
    try:
        oldest = idle.popleft()
    except IndexError:
        return False
    if oldest.has_expired():
        oldest.close()
        return True
    idle.appendleft(oldest)
    return False


class _Body:
    """An answer's bytes; what comes after them is done once, however often and by whomever it is closed: a connection that was put
    back twice would give one caller another's answer."""

    def __init__(self, stream: object, done: Callable[[], None]) -> None:
        self._stream, self._done = stream, [done]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)  # type: ignore[call-overload, no-any-return]

    def close(self) -> None:
        self._stream.close()  # type: ignore[attr-defined]
        try:
            done = self._done.pop()
        except IndexError:
            return
        done()
