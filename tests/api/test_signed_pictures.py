"""Pictures by their signed addresses, and how they are forgotten."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import sqlalchemy as sa
from clocks import Clock
from flask.testing import FlaskClient
from gateway import PNG, RETENTION_DAYS, Gateway, on_sqlite
from werkzeug.test import TestResponse

from rollout.db.engine import Database
from rollout.db.tables import image

DAYS = 86_400


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


@pytest.fixture
def browser(gateway: Gateway) -> FlaskClient:
    """Somebody without a key."""
    return gateway.app.test_client()


def address(gateway: Gateway) -> str:
    url: str = gateway.door().generate(response_format="url").json["data"][0]["url"]
    return url.removeprefix("https://gate.test")


def changed(url: str, **query: str) -> str:
    parts = urlsplit(url)
    return (
        parts.path
        + "?"
        + urlencode({name: value[0] for name, value in parse_qs(parts.query).items()} | query)
    )


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_whoever_has_the_address_gets_the_picture(gateway: Gateway, browser: FlaskClient) -> None:
    answer = browser.get(address(gateway))

    assert (answer.status_code, answer.data, answer.content_type) == (200, PNG, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.get_etag() == (hashlib.sha256(PNG).hexdigest(), False)


@on_sqlite
def test_a_browser_that_has_the_picture_or_a_part_of_it_gets_what_is_missing(
    gateway: Gateway, browser: FlaskClient
) -> None:
    url = address(gateway)
    etag = browser.get(url).headers["ETag"]

    unchanged = browser.get(url, headers={"If-None-Match": etag})
    part = browser.get(url, headers={"Range": "bytes=1-3"})
    beyond = browser.get(url, headers={"Range": "bytes=9999-"})

    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert (part.status_code, part.data) == (206, b"PNG")
    assert part.headers["Content-Range"] == f"bytes 1-3/{len(PNG)}"
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(PNG)}")


@on_sqlite
def test_an_address_that_was_added_to_still_works(gateway: Gateway, browser: FlaskClient) -> None:
    assert browser.get(address(gateway) + "&utm_source=mail").status_code == 200


@on_sqlite
@pytest.mark.parametrize(
    "forged",
    [
        {"sig": "0" * 64},
        {"sig": "ü"},
        {"exp": "9999999999"},
        {"exp": "soon"},
        {"exp": "9" * 40},
        {"t": "globex"},
        {"kid": "another"},
    ],
)
def test_an_address_that_we_did_not_sign_opens_nothing(
    gateway: Gateway, browser: FlaskClient, forged: dict[str, str]
) -> None:
    assert code(browser.get(changed(address(gateway), **forged))) == (404, "not_found")


@on_sqlite
def test_a_signature_opens_no_other_picture(gateway: Gateway, browser: FlaskClient) -> None:
    first, second = urlsplit(address(gateway)), urlsplit(address(gateway))

    assert code(browser.get(f"{first.path}?{second.query}")) == (404, "not_found")
    assert code(browser.get(first.path)) == (404, "not_found")


@on_sqlite
def test_after_its_time_the_picture_is_gone(gateway: Gateway, browser: FlaskClient) -> None:
    url = address(gateway)

    gateway.wait(RETENTION_DAYS * DAYS - 1)
    assert browser.get(url).status_code == 200
    gateway.wait(1)
    assert code(browser.get(url)) == (410, "result_purged")


@on_sqlite
def test_a_picture_whose_bytes_were_lost_is_gone(gateway: Gateway, browser: FlaskClient) -> None:
    url = address(gateway)
    gateway.lose_pictures()

    assert code(browser.get(url)) == (410, "result_purged")


def test_purging_forgets_what_has_expired_and_keeps_bytes_that_another_row_owns(
    gateway: Gateway, browser: FlaskClient
) -> None:
    old = address(gateway)
    gateway.wait(10 * DAYS)
    young = address(gateway)
    put_at(gateway, gateway.clock() - 20 * DAYS)

    gateway.wait((RETENTION_DAYS - 10) * DAYS)
    assert gateway.services.images.purge() == 1
    assert code(browser.get(old)) == (410, "result_purged")
    assert browser.get(young).status_code == 200

    gateway.wait(10 * DAYS)
    assert gateway.services.images.purge() == 1
    assert list(gateway.folder.glob("*/*")) == []
    assert gateway.services.images.purge() == 0


def test_purging_spares_bytes_that_were_just_put_and_whose_row_is_not_written_yet(gateway: Gateway) -> None:
    address(gateway)
    gateway.wait(RETENTION_DAYS * DAYS)
    put_at(gateway, gateway.clock() - 60)

    assert gateway.services.images.purge() == 1

    assert gateway.blobs.get(hashlib.sha256(PNG).hexdigest()) == PNG


def test_purging_goes_in_steps(gateway: Gateway) -> None:
    gateway.door().generate(n=3)
    gateway.wait(RETENTION_DAYS * DAYS)

    assert [gateway.services.images.purge(limit=2) for _ in range(3)] == [2, 1, 0]
    with gateway.database.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(image)).scalar_one() == 0


def put_at(gateway: Gateway, seconds: float) -> None:
    """Make the files look as if they had been put then, by the test's clock."""
    for file in gateway.folder.glob("*/*"):
        os.utime(file, (seconds, seconds))
