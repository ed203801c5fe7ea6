"""Bodies that are not what they should be, at both doors: each gets a clear error in its envelope, and holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from clocks import Clock
from gateway import IMAGE_MODEL, MESSAGE_MODEL, Gateway, on_sqlite

from rollout.db.engine import Database

pytestmark = on_sqlite
GENERATIONS, MESSAGES = "/v1/images/generations", "/v1/messages"
CHATS, MODERATIONS = "/v1/chat/completions", "/v1/moderations"


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"{} {}",
        b'{"prompt": NaN}',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "n": 01}',
        b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt":' + b'{"a":' * 101 + b"1" + b"}" * 101 + b"}",
    ],
)
@pytest.mark.parametrize("path", [GENERATIONS, MESSAGES, CHATS, MODERATIONS])
def test_a_body_that_is_no_json_object_or_too_deep_is_refused(
    gateway: Gateway, path: str, body: bytes
) -> None:
    answer = gateway.door().post(path, body)

    error = answer.json["error"]
    details = error["details"] if path == MESSAGES else error
    assert (answer.status_code, details["param"]) == (400, "body")
    assert details["remedy"]
    assert gateway.holds() == []


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1", b"1.0", b'"1"', b"99999999999999999999999", b"true", b"{}"]
)
def test_a_number_that_is_none_for_us_is_refused(gateway: Gateway, number: bytes) -> None:
    generated = gateway.door().post(GENERATIONS, b'{"prompt": "a", "n": ' + number + b"}")
    analyzed = gateway.door().post(
        MESSAGES,
        b'{"model":"'
        + MESSAGE_MODEL.encode()
        + b'","messages":[{"role":"user","content":"a"}],"max_tokens":'
        + number
        + b"}",
    )

    chatted = gateway.door().post(
        CHATS, b'{"model":"grok-4","messages":[{"role":"user","content":"a"}],"n":' + number + b"}"
    )

    assert (generated.status_code, generated.json["error"]["param"]) == (400, "n")
    assert (chatted.status_code, chatted.json["error"]["param"]) == (400, "n")
    assert (analyzed.status_code, analyzed.json["error"]["details"]["param"]) == (400, "max_tokens")
    assert gateway.holds() == []


def test_of_a_repeated_member_the_same_one_is_priced_and_sent(gateway: Gateway) -> None:
    body = (
        b'{"prompt": "a", "n": 1, "quality": "low", "quality": "high", "n": 2, "model": "'
        + IMAGE_MODEL.encode()
        + b'"}'
    )

    assert gateway.door().post(GENERATIONS, body).status_code == 200

    request = gateway.vendor.calls[0].request
    assert (request.n, request.quality) == (2, "high")


def test_deep_but_reasonable_json_passes(gateway: Gateway) -> None:
    schema = b'{"a":' * 40 + b"{}" + b"}" * 40
    brackets_in_text = b'"' + b"[{" * 500 + b'\\"]"'
    body = (
        b'{"model":"' + MESSAGE_MODEL.encode() + b'","max_tokens":9,"messages":[{"role":"user","content":'
        + brackets_in_text + b'}],"tools":[{"name":"t","input_schema":' + schema + b"}]}"
    )  # fmt: skip

    assert gateway.door().post(MESSAGES, body).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_another_content_type_is_refused(gateway: Gateway, content_type: str) -> None:
    answer = gateway.door().post(GENERATIONS, {"prompt": "a"}, content_type=content_type)

    assert (answer.status_code, answer.json["error"]["code"]) == (415, "unsupported_media_type")


def test_a_charset_does_no_harm(gateway: Gateway) -> None:
    answer = gateway.door().post(GENERATIONS, {"prompt": "a"}, content_type="application/json; charset=utf-8")

    assert answer.status_code == 200


def test_an_edit_wants_a_form(gateway: Gateway) -> None:
    door = gateway.door()

    as_json = door.post("/v1/images/edits", {"prompt": "a"})
    broken = door.post("/v1/images/edits", b"--x\r\nnonsense", content_type="multipart/form-data; boundary=y")

    assert as_json.status_code == 415
    assert (broken.status_code, broken.json["error"]["code"]) == (400, "invalid_request")


def test_a_body_that_is_too_large_is_refused(gateway: Gateway) -> None:
    door = gateway.door()

    generated = door.post(GENERATIONS, b'{"prompt": "' + b"a" * (1 << 20) + b'"}')
    analyzed = door.post(MESSAGES, b'{"model": "' + b"a" * (32 << 20) + b'"}')
    part = (
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"a" * (2 << 20) + b"\r\n--x--\r\n"
    )
    field = door.post("/v1/images/edits", part, content_type="multipart/form-data; boundary=x")

    assert (generated.status_code, generated.json["error"]["code"]) == (413, "payload_too_large")
    assert (analyzed.status_code, analyzed.json["error"]["type"]) == (413, "request_too_large")
    assert field.status_code == 413
    assert door.generate().status_code == 200


@pytest.mark.parametrize("sent", ["", "a" * 256, "tab\there"])
def test_a_malformed_end_user_is_named(gateway: Gateway, sent: str) -> None:
    answer = gateway.door().post(GENERATIONS, {"prompt": "a"}, x_rollout_end_user=sent)

    assert (answer.status_code, answer.json["error"]["param"]) == (400, "x-rollout-end-user")
