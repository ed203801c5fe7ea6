"""Posting to an address that somebody else chose: what receivers may do to us, and where we do not go."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout.delivery.dialling import Dial, is_public, resolve
from rollout.delivery.webhooks import EXCERPT_BYTES, MOST_PATIENCE, Post, Undelivered

CERTIFICATE = Path(__file__).with_name("hook.pem")
HEADERS = {"content-type": "application/json", "webhook-id": "job_1"}
BODY = b'{"type":"webhook.test"}'

Behaviour = Callable[[socket.socket, bytes], None]


class Receiver:
    """Takes one connection after another, reads the request, and behaves."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._behaviour, self._tls = behaviour, tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

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
                    talking = self._tls.wrap_socket(line, server_side=True) if self._tls else line
                    with talking:
                        received = b""
                        while BODY not in received:
                            received += talking.recv(65536) or BODY
                        self.requests.append(received)
                        self._behaviour(talking, received)
                except OSError:
                    continue


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Receiver:
        made.append(Receiver(behaviour, tls))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answering(text: str) -> Behaviour:
    return lambda line, _request: line.sendall(text.encode())


def post(receiver: Receiver, path: str = "/hook?a=b", seconds: float = 20) -> tuple[int, str]:
    answer = Post(private=True, seconds=seconds)(f"http://127.0.0.1:{receiver.port}{path}", HEADERS, BODY)
    return answer.status, answer.excerpt


def test_a_message_arrives_whole_with_its_headers(receiver: Callable[..., Receiver]) -> None:
    one = receiver(answering("HTTP/1.1 204 No Content\r\n\r\n"))
    assert post(one) == (204, "")
    head, _, body = one.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    assert f"Host: 127.0.0.1:{one.port}" in lines
    assert "webhook-id: job_1" in lines
    assert f"Content-Length: {len(BODY)}" in lines
    assert body == BODY


@pytest.mark.parametrize("status", [200, 202, 410, 500])
def test_what_the_receiver_says_is_told(receiver: Callable[..., Receiver], status: int) -> None:
    assert post(receiver(answering(f"HTTP/1.1 {status} So\r\nContent-Length: 4\r\n\r\nwhat"))) == (
        status,
        "what",
    )


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        ("999999999999", MOST_PATIENCE),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MOST_PATIENCE),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone_for_a_while(
    receiver: Callable[..., Receiver], said: str, seconds: int
) -> None:
    one = receiver(answering(f"HTTP/1.1 503 Later\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n"))
    answer = Post(private=True)(f"http://127.0.0.1:{one.port}/", HEADERS, BODY)
    assert (answer.status, answer.retry_after) == (503, seconds)


def test_a_redirect_is_an_answer_and_not_followed(receiver: Callable[..., Receiver]) -> None:
    elsewhere = receiver(answering("HTTP/1.1 200 OK\r\n\r\n"))
    moved = receiver(
        answering(
            f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\nContent-Length: 0\r\n\r\n"
        )
    )
    assert post(moved)[0] == 307
    assert elsewhere.requests == []


def test_of_a_huge_answer_only_the_beginning_is_read(receiver: Callable[..., Receiver]) -> None:
    def huge(line: socket.socket, _request: bytes) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            line.sendall(b"x" * 65536)

    status, excerpt = post(receiver(huge))
    assert (status, len(excerpt)) == (200, EXCERPT_BYTES)


@pytest.mark.parametrize("said", ["", "HTTP/1.1 200 OK\r\nX: "], ids=["nothing", "half a head"])
def test_a_receiver_that_hangs_is_given_up_in_time(receiver: Callable[..., Receiver], said: str) -> None:
    given_up = threading.Event()

    def hang(line: socket.socket, _request: bytes) -> None:
        line.sendall(said.encode())
        given_up.wait(20)

    with pytest.raises(Undelivered, match="no answer in time"):
        post(receiver(hang), seconds=0.3)
    given_up.set()


def test_a_byte_now_and_then_does_not_keep_us(receiver: Callable[..., Receiver]) -> None:
    given_up = threading.Event()

    def drip(line: socket.socket, _request: bytes) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n")
        while not given_up.wait(0.05):
            line.sendall(b"X")

    with pytest.raises(Undelivered, match="no answer in time"):
        post(receiver(drip), seconds=0.5)
    given_up.set()


@pytest.mark.parametrize(
    "said",
    ["", "not http\r\n\r\n", "HTTP/1.1 200 OK\r\n" + "X" * 70_000],
    ids=["nothing", "no http", "endless header"],
)
def test_a_receiver_that_speaks_no_http_has_not_got_it(receiver: Callable[..., Receiver], said: str) -> None:
    with pytest.raises(Undelivered):
        post(receiver(answering(said)))


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Undelivered, match="ConnectionRefusedError"):
        Post(private=True)(f"http://127.0.0.1:{port}/", {}, BODY)


# -- where we do not go ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "224.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
)
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "localhost",
    ],
)
def test_an_inner_address_is_refused_however_it_is_written(
    receiver: Callable[..., Receiver], host: str
) -> None:
    one = receiver(answering("HTTP/1.1 200 OK\r\n\r\n"))
    with pytest.raises(Undelivered, match=r"not a public address|cannot be resolved"):
        Post()(f"http://{host}:{one.port}/", HEADERS, BODY)
    assert one.requests == []


@pytest.mark.parametrize("found", [["10.0.0.7"], ["93.184.216.34", "127.0.0.1"], ["::ffff:10.0.0.7"]])
def test_a_name_that_leads_inside_is_refused(found: list[str]) -> None:
    with pytest.raises(Undelivered, match=r"inner\.example is .* not a public address"):
        Post(dial=Dial(resolve=lambda _name, _port: found))("https://inner.example/", HEADERS, BODY)


def test_a_name_is_looked_up_once_and_the_checked_address_is_called(
    receiver: Callable[..., Receiver],
) -> None:
    one = receiver(answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    looks: list[str] = []

    def resolver(name: str, _port: int) -> list[str]:
        looks.append(name)
        return ["127.0.0.1"]

    answer = Post(private=True, dial=Dial(resolve=resolver))(
        f"http://hook.example:{one.port}/", HEADERS, BODY
    )
    assert (answer.status, looks) == (200, ["hook.example"])
    assert f"Host: hook.example:{one.port}".encode() in one.requests[0]


def test_a_name_that_nobody_knows_is_told() -> None:
    def unknown(_name: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Undelivered, match=r"gone\.example cannot be resolved"):
        Post(dial=Dial(resolve=unknown))("https://gone.example/", HEADERS, BODY)


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(Undelivered, match="has no address"):
        Post(dial=Dial(resolve=lambda _name, _port: []))("https://empty.example/", HEADERS, BODY)


def test_a_name_is_resolved_by_the_system() -> None:
    assert "127.0.0.1" in resolve("127.0.0.1", 80)


# -- TLS -------------------------------------------------------------------------------------------------------------------------------


def speaking_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def trusting_only_it() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def test_tls_is_verified_against_the_name_although_an_address_is_called(
    receiver: Callable[..., Receiver],
) -> None:
    one = receiver(answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), speaking_tls())
    send = Post(private=True, dial=Dial(resolve=lambda _name, _port: ["127.0.0.1"], tls=trusting_only_it))
    assert send(f"https://hook.example:{one.port}/", HEADERS, BODY).excerpt == "ok"
    with pytest.raises(Undelivered, match=r"CertificateVerif|CertVerif"):
        send(f"https://other.example:{one.port}/", HEADERS, BODY)
    assert len(one.requests) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Callable[..., Receiver]) -> None:
    one = receiver(answering("HTTP/1.1 200 OK\r\n\r\n"), speaking_tls())
    send = Post(private=True, dial=Dial(resolve=lambda _name, _port: ["127.0.0.1"]))
    with pytest.raises(Undelivered, match="CertVerif"):
        send(f"https://hook.example:{one.port}/", HEADERS, BODY)
    assert one.requests == []
