"""Fetching a picture from where a vendor's answer points: what is fetched, and where we do not go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from sandboxes import picture

from rollout.delivery.dialling import Dial
from rollout.delivery.fetch import Fetch, Unfetched

PICTURE = picture()


class Vendor:
    """Answers each GET of a path by what `answers` says; `asked` are the request lines."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[socket.socket], None]] = {}
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def says(self, path: str, head: str, body: bytes = b"") -> None:
        self.answers[path] = lambda line: line.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)

    def moves(self, path: str, location: str) -> None:
        self.says(path, f"302 Found\r\nLocation: {location}\r\nContent-Length: 0")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with line:
                try:
                    received = b""
                    while b"\r\n\r\n" not in received:
                        received += line.recv(65536) or b"\r\n\r\n"
                    self.asked.append(received.decode())
                    self.answers[received.split()[1].decode()](line)
                except OSError:
                    continue


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    yield made
    made.close()


def whole(body: bytes) -> str:
    return f"200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}"


def fetch(vendor: Vendor, path: str, *hosts: str, **options: object) -> bytes:
    return Fetch(f"{vendor.origin}/v1", hosts, **options)(vendor.origin + path)


def test_a_picture_of_the_vendors_own_server_is_fetched_without_credentials(vendor: Vendor) -> None:
    vendor.says("/pictures/1?sig=a", whole(PICTURE), PICTURE)
    assert fetch(vendor, "/pictures/1?sig=a") == PICTURE
    (asked,) = vendor.asked
    assert asked.startswith("GET /pictures/1?sig=a HTTP/1.1")
    assert "authorization" not in asked.lower()
    assert "cookie" not in asked.lower()


def test_a_redirect_on_that_server_is_followed_up_to_three_times(vendor: Vendor) -> None:
    for hop in range(4):
        vendor.moves(f"/{hop}", f"/{hop + 1}")
    vendor.says("/4", whole(PICTURE), PICTURE)
    assert fetch(vendor, "/1") == PICTURE
    with pytest.raises(Unfetched, match="more than 3 redirects"):
        fetch(vendor, "/0")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://elsewhere.example/",
        "https://evil-pictures.example/",
        "https://pictures.example.evil.example/",
        "https://pictures.example:8443/",
        "https://user@pictures.example/",
        "http://pictures.example/",
        "//169.254.169.254/",
        "file:///etc/passwd",
        "ftp://pictures.example/",
        "https://[/",
        "https://pictures.example:port/",
    ],
)
def test_a_redirect_to_where_we_do_not_go_is_refused(vendor: Vendor, location: str) -> None:
    def only_itself(name: str, _port: int) -> list[str]:
        return [name] if name == "127.0.0.1" else pytest.fail(f"{name} was looked up")

    vendor.moves("/1", location)
    with pytest.raises(Unfetched):
        fetch(vendor, "/1", "pictures.example", dial=Dial(resolve=only_itself))
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("169.254.169.254", ["169.254.169.254"]),
        ("localhost", ["127.0.0.1"]),
        ("pictures.example", ["10.0.0.7"]),
        ("pictures.example", ["93.184.216.34", "169.254.169.254"]),
        ("pictures.example", ["::ffff:127.0.0.1"]),
    ],
)
def test_a_host_of_the_list_that_leads_inside_is_refused_at_every_hop(
    vendor: Vendor, host: str, found: list[str]
) -> None:
    dial = Dial(resolve=lambda name, _port: ["127.0.0.1"] if name == "127.0.0.1" else found)
    vendor.moves("/1", f"https://{host}/picture")
    with pytest.raises(Unfetched, match="not a public address"):
        fetch(vendor, "/1", host, dial=dial)
    with pytest.raises(Unfetched, match="not a public address"):
        Fetch("", (host,), dial=dial)(f"https://{host}/picture")


@pytest.mark.parametrize("url", ["/picture", "", "picture", "http:/x", "https://"])
def test_an_address_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(Unfetched):
        Fetch("", ())(url)


def test_a_name_of_the_list_takes_those_below_it_only_with_a_dot() -> None:
    def found(_name: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "reached the look-up")

    for host, known in [("cdn.example", "cdn.example"), ("a.cdn.example", ".cdn.example")]:
        with pytest.raises(Unfetched, match="reached the look-up"):
            Fetch("", (known,), dial=Dial(resolve=found))(f"https://{host}/")
    for host, known in [("a.cdn.example", "cdn.example"), ("acdn.example", ".cdn.example")]:
        with pytest.raises(Unfetched, match="not among the hosts"):
            Fetch("", (known,), dial=Dial(resolve=found))(f"https://{host}/")


def test_a_picture_that_is_too_large_is_refused(vendor: Vendor) -> None:
    vendor.says("/said", whole(PICTURE), PICTURE)
    vendor.says("/endless", "200 OK", PICTURE + b"\0" * 5_000)
    for path in ("/said", "/endless"):
        with pytest.raises(Unfetched, match="more than 100 bytes"):
            fetch(vendor, path, max_bytes=100)


def test_a_byte_now_and_then_does_not_keep_us(vendor: Vendor) -> None:
    given_up = threading.Event()

    def drip(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG")
        while not given_up.wait(0.05):
            line.sendall(b"\0")

    vendor.answers["/1"] = drip
    with pytest.raises(Unfetched, match="in time"):
        fetch(vendor, "/1", seconds=0.4)
    given_up.set()


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        ("200 OK\r\nContent-Type: image/png", b"<html>a page", "no picture"),
        ("200 OK\r\nContent-Length: 0", b"", "no picture"),
        (f"200 OK\r\nContent-Length: {len(PICTURE)}", PICTURE[:60], "was cut"),
        ("200 OK\r\nTransfer-Encoding: chunked", b"40\r\n" + PICTURE[:20], "IncompleteRead"),
        ("404 Not Found\r\nContent-Length: 0", b"", "answered 404"),
        ("302 Found\r\nContent-Length: 0", b"", "answered 302"),
    ],
)
def test_what_is_no_whole_picture_is_refused(vendor: Vendor, head: str, body: bytes, why: str) -> None:
    vendor.says("/1", head, body)
    with pytest.raises(Unfetched, match=why):
        fetch(vendor, "/1")


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        origin = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unfetched, match="ConnectionRefusedError"):
        Fetch(origin, ())(f"{origin}/1")
