"""The lines to vendors over real sockets: pooled connections, proxies, and certificates of a private authority.

What a client answers and raises is the same over the library's own pool and over ours.
"""

from __future__ import annotations

import base64
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lines import line
from sandboxes import model, serve_sandbox

from rollout.core.images import ImageRequest
from rollout.providers.base import ImageCall, NotSent, OutcomeUnknown
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.transport import Line, open_line
from rollout.settings import Settings

PRIVATE = Path(__file__).parent.parent / "delivery" / "hook.pem"  # of hook.example, signed by itself
PAINTER = model("gpt-image-2")
PAINT = ImageCall(PAINTER, ImageRequest("generate", "a fox", PAINTER.name, size="64x64"))


class Handler(BaseHTTPRequestHandler):
    """Answers each path with itself, and behaves as the path says."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.lines.append(self.connection)  # type: ignore[attr-defined]

    def finish(self) -> None:
        super().finish()
        self.server.ended.release()  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        if self.path.startswith("/wait"):
            self.server.waiting.release()  # type: ignore[attr-defined]
            self.server.go_on.wait(30)  # type: ignore[attr-defined]
        if self.path == "/silent":
            self.server.go_on.wait(30)  # type: ignore[attr-defined]
        self.send_response(302 if self.path == "/elsewhere" else 200)
        if self.path == "/elsewhere":
            self.send_header("Location", "/somewhere")
        if self.path == "/last":
            self.send_header("Connection", "close")
            self.close_connection = True
        if self.path == "/chunks":
            self._chunks()
            return
        if self.path.endswith("/two"):
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n/twoHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsomeones"
            )
            self._headers_buffer: list[bytes] = []
            return
        body = self.path.encode() * (100_000 if self.path == "/large" else 1)
        self.send_header("Content-Length", str(len(body) + (10 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or self.path == "/cut"

    def _chunks(self) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\nno chunk\r\n")
        self.close_connection = True

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.rfile.read(length)
        self.send_response(200)
        body = str(length).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lines: list[socket.socket] = []
        self.waiting, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.go_on = threading.Event()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *args: object) -> None:
        """Callers that hang up are expected here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def vendor() -> Iterator[Server]:
    yield from serving(Server())


@pytest.fixture
def distant() -> Iterator[Server]:
    """One that speaks TLS, with a certificate of its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PRIVATE)
    yield from serving(Server(context))


@pytest.fixture
def ours() -> Iterator[Line]:
    opened = line(upstream_read_seconds=10)
    yield opened
    opened.client.close()


@pytest.fixture(params=["the library's", "ours"])
def client(request: pytest.FixtureRequest, ours: Line) -> Iterator[httpx2.Client]:
    if request.param == "ours":
        ours.client.timeout = httpx2.Timeout(10)
        yield ours.client
        return
    with httpx2.Client(trust_env=False, timeout=10) as library:
        yield library


class TestEveryClient:
    def test_uses_a_connection_again_whose_answer_was_read(
        self, client: httpx2.Client, vendor: Server
    ) -> None:
        assert [client.get(f"{vendor.url}/{n}").text for n in range(3)] == ["/0", "/1", "/2"]
        assert len(vendor.lines) == 1

    def test_gives_each_caller_its_own_answer_although_answers_are_closed_twice(
        self, client: httpx2.Client, vendor: Server
    ) -> None:
        def ask(n: int) -> bool:
            with client.stream("GET", f"{vendor.url}/{n}") as response:
                told = response.read()
                response.close()
            response.close()
            response.stream.close()
            return told == f"/{n}".encode()

        with ThreadPoolExecutor(8) as callers:
            assert all(callers.map(ask, range(400)))

    def test_leaves_a_connection_whose_answer_was_not_read(
        self, client: httpx2.Client, vendor: Server
    ) -> None:
        with client.stream("GET", f"{vendor.url}/large") as response:
            next(response.iter_raw(10))
        assert client.get(f"{vendor.url}/after").text == "/after"
        assert len(vendor.lines) == 2

    @pytest.mark.parametrize(
        ("path", "raised"),
        [
            ("cut", httpx2.RemoteProtocolError),
            ("chunks", httpx2.RemoteProtocolError),
            ("silent", httpx2.ReadTimeout),
        ],
    )
    def test_raises_for_an_answer_that_does_not_come_whole(
        self, client: httpx2.Client, vendor: Server, path: str, raised: type[Exception]
    ) -> None:
        with pytest.raises(raised):
            client.get(f"{vendor.url}/{path}", timeout=httpx2.Timeout(10, read=0.2))
        assert client.get(f"{vendor.url}/after").text == "/after"

    def test_raises_for_nobody_there(self, client: httpx2.Client) -> None:
        with pytest.raises(httpx2.ConnectError):
            client.get("http://127.0.0.1:1/")
        with pytest.raises(httpx2.ConnectError):
            client.get("http://no-such-host.invalid/")

    def test_does_not_use_a_connection_that_the_vendor_ended(
        self, client: httpx2.Client, vendor: Server
    ) -> None:
        assert client.get(f"{vendor.url}/last").text == "/last"
        assert client.get(f"{vendor.url}/next").text == "/next"
        vendor.lines[-1].shutdown(socket.SHUT_RDWR)
        assert client.get(f"{vendor.url}/again").text == "/again"
        assert len(vendor.lines) == 3

    def test_follows_no_redirect(self, client: httpx2.Client, vendor: Server) -> None:
        assert client.get(f"{vendor.url}/elsewhere").status_code == 302

    def test_sends_large_bodies(self, client: httpx2.Client, vendor: Server) -> None:
        assert client.post(vendor.url, content=b"x" * 32_000_000).text == "32000000"


def test_no_call_waits_for_a_place_among_others(ours: Line, vendor: Server) -> None:
    def wait(n: int) -> str:
        return ours.client.get(f"{vendor.url}/wait/{n}", timeout=httpx2.Timeout(60)).text

    with ThreadPoolExecutor(150) as callers:
        answers = [callers.submit(wait, n) for n in range(150)]
        for _ in answers:
            assert vendor.waiting.acquire(timeout=30)
        assert ours.client.get(f"{vendor.url}/quick").text == "/quick"
        vendor.go_on.set()
        assert [answer.result() for answer in answers] == [f"/wait/{n}" for n in range(150)]


@pytest.mark.parametrize("proxied", [False, True])
def test_an_answer_that_nobody_asked_for_is_nobodys(through: Any, vendor: Server, proxied: bool) -> None:
    line = through.opened({"http": f"http://{through(vendor).address}"} if proxied else {})
    answers = [line.client.get(f"{vendor.url}/{path}").text for path in ("two", "mine")]
    assert [answer.rpartition("/")[2] for answer in answers] == ["two", "mine"]


def test_what_a_burst_has_left_is_closed_by_and_by(ours: Line, vendor: Server) -> None:
    with ThreadPoolExecutor(5) as callers:
        for n in range(5):
            callers.submit(ours.client.get, f"{vendor.url}/wait/{n}")
            assert vendor.waiting.acquire(timeout=30)
        vendor.go_on.set()
    for connection in vendor.lines:
        connection.shutdown(socket.SHUT_WR)
    for n in range(3):
        assert ours.client.get(f"{vendor.url}/{n}").text == f"/{n}"
    assert len(vendor.lines) == 6
    assert all(vendor.ended.acquire(timeout=10) for _ in range(5))


def test_a_closed_client_leaves_no_connection_behind(ours: Line, vendor: Server) -> None:
    with ours.client.stream("GET", f"{vendor.url}/large") as late:
        ours.client.get(f"{vendor.url}/quick")
        ours.client.close()
        assert vendor.ended.acquire(timeout=10)
        late.read()
    assert vendor.ended.acquire(timeout=10)


class Proxy:
    """Takes CONNECT and plain requests, leads each to `target` whatever it is asked for, and remembers the heads of both."""

    def __init__(self, target: int, *, refuses: bool = False) -> None:
        self.heads: list[str] = []
        self._target, self._refuses = target, refuses
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._lead, args=(caller,)))
            self._threads[-1].start()

    def _lead(self, caller: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += caller.recv(65536)
        self.heads.append(head.decode("latin-1"))
        with caller, socket.create_connection(("127.0.0.1", self._target)) as there:
            if self._refuses:
                caller.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            elif head.startswith(b"CONNECT"):
                caller.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                _pass_on(caller, there)
            else:
                there.sendall(head)
                _pass_on(caller, there)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    while True:
        for here, there in ((one, other), (other, one)):
            if select.select([here], [], [], 0.005)[0]:
                try:
                    data = here.recv(65536)
                    there.sendall(data)
                except OSError:
                    return
                if not data:
                    return


@pytest.fixture
def through() -> Iterator[Any]:
    made: list[Any] = []

    def make(target: Server, *, refuses: bool = False) -> Proxy:
        made.append(Proxy(target.server_port, refuses=refuses))
        return made[-1]

    def opened(proxies: dict[str, str], **settings: Any) -> Line:
        made.append(open_line(Settings(**settings), proxies).client)
        return Line(made[-1], *[httpx2.Timeout(5)] * 4)

    make.opened = opened  # type: ignore[attr-defined]
    yield make
    for one in reversed(made):
        one.close()


def test_a_proxy_of_the_environment_leads_to_the_vendor_and_is_told_who_calls(
    through: Any, vendor: Server
) -> None:
    proxy = through(vendor)
    line = through.opened({"http": f"http://ana:secret@{proxy.address}"})
    assert line.client.get("http://vendor.example/x").text.endswith("/x")
    (head,) = proxy.heads
    assert head.startswith("GET http://vendor.example/x HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'ana:secret').decode()}" in head
    assert line.client.get(f"{vendor.url}/by-scheme").status_code == 200
    assert len(proxy.heads) == 2


@pytest.mark.parametrize("named", ["setting", "all", "https"])
def test_tls_goes_through_a_tunnel_and_trusts_the_private_authority(
    through: Any, distant: Server, named: str
) -> None:
    proxy = through(distant)
    address = f"http://{proxy.address}"
    settings = {"upstream_proxy": address} if named == "setting" else {}
    proxies = {} if named == "setting" else {named: address}
    line = through.opened(proxies, upstream_ca_file=str(PRIVATE), **settings)
    for path in ("/x", "/y"):
        assert line.client.get(f"https://hook.example:{distant.server_port}{path}").text == path
    assert [head.split("\r\n")[0] for head in proxy.heads] == [
        f"CONNECT hook.example:{distant.server_port} HTTP/1.1"
    ]


def test_who_is_excepted_is_called_directly_whoever_names_the_proxy(through: Any, vendor: Server) -> None:
    proxy = through(vendor)
    address = f"http://{proxy.address}"
    for proxies, settings in (({"http": address}, {}), ({}, {"upstream_proxy": address})):
        line = through.opened({"no": "127.0.0.1,other.example", **proxies}, **settings)
        assert line.client.get(f"{vendor.url}/x").text == "/x"
    assert proxy.heads == []


def test_the_setting_goes_before_the_environment(through: Any, vendor: Server) -> None:
    named, other = through(vendor), through(vendor)
    line = through.opened({"http": f"http://{other.address}"}, upstream_proxy=f"http://{named.address}")
    line.client.get("http://vendor.example/x")
    assert (len(named.heads), len(other.heads)) == (1, 0)


def test_without_its_authority_a_private_certificate_is_refused_and_nothing_was_sent(
    through: Any, distant: Server
) -> None:
    line = through.opened({"all": f"http://{through(distant).address}"})
    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
        OpenAIImages("k", f"https://hook.example:{distant.server_port}/v1", line).generate(PAINT)


def test_a_proxy_that_refuses_proves_that_nothing_was_sent(through: Any, distant: Server) -> None:
    line = through.opened({"all": f"http://{through(distant, refuses=True).address}"})
    with pytest.raises(NotSent, match="407"):
        OpenAIImages("k", f"https://hook.example:{distant.server_port}/v1", line).generate(PAINT)


def test_a_proxy_that_nobody_listens_for_proves_that_nothing_was_sent(through: Any) -> None:
    line = through.opened({"all": "http://127.0.0.1:1"})
    for base in ("http://vendor.example/v1", "https://vendor.example/v1"):
        with pytest.raises(NotSent):
            OpenAIImages("k", base, line).generate(PAINT)


def test_time_outs_come_from_the_settings_and_none_exceeds_the_one_for_answers() -> None:
    told = open_line(Settings(upstream_connect_seconds=3, upstream_read_seconds=100))
    waits = [told.answer, told.stream, told.look, told.moderation]
    assert [wait.read for wait in waits] == [100, 100, 15, 10]
    assert {(wait.connect, wait.write, wait.pool) for wait in waits} == {(3, 60, None)}
    told.client.close()


def test_a_silent_vendor_is_left_after_the_time_for_an_answer() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        port = OpenAIImages(
            "k", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", line(upstream_read_seconds=1)
        )
        with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
            port.generate(PAINT)
        port.close()
    finally:
        silent.close()


def test_several_wires_share_a_line(ours: Line) -> None:
    with serve_sandbox() as served:
        for key in ("one", "two"):
            assert OpenAIImages(key, f"{served.url}/v1", ours).generate(PAINT).pictures
