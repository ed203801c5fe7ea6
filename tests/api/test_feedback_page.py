"""/f/{handle}: two taps of an end user, on a plain page."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from console import text_of
from flask.testing import FlaskClient
from ratings import client, handle, wire_ratings
from uses import add_generation

from rollout.core.audit import Actor
from rollout.core.feedback import Wanted, make_handle
from rollout.core.uses import StoredImage
from rollout.db import images, tables
from rollout.db.engine import Database

ALICE = Actor("user:alice@example.com", "editor")


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire_ratings(database, clock)
    add_generation(database)
    picture = StoredImage(
        tenant_id="acme",
        id="img_1",
        generation_id="gen_1",
        position=0,
        sha256="0" * 64,
        media_type="image/png",
        bytes=9,
        created_at=1,
        expires_at=int(clock()) + 1800,
    )
    with database.write() as tx:
        images.add(tx, [picture])
    return wired


@pytest.fixture
def browser(services: SimpleNamespace) -> FlaskClient:
    return client(services)


@pytest.fixture
def page(clock: Any) -> str:
    return f"/f/{handle(clock, end_user='ana')}"


def items(services: SimpleNamespace) -> list[Any]:
    return list(services.feedback.every(Wanted()))


def checked(html: str) -> list[str]:
    return re.findall(r'value="([\w-]+)"(?: required)? checked', html)


def test_two_taps_rate_the_picture(browser: FlaskClient, page: str, services: SimpleNamespace) -> None:
    shown = browser.get(page)
    assert shown.status_code == 200
    assert "Acme Studios" in text_of(shown.text)
    (source,) = re.findall(r'<img src="(/api/v1/images/img_1\?[^"]+)"', shown.text)
    assert source.startswith("/")
    assert checked(shown.text) == []
    sent = browser.post(
        page, data={"rating": "down", "reasons": ["wrong-text", "other"], "comment": "Misspelt.\r\nTwice."}
    )
    assert (sent.status_code, sent.headers["Location"]) == (303, page)
    (item,) = items(services)
    assert (item.end_user, item.opinion.rating, item.opinion.reasons) == (
        "ana",
        "down",
        ("wrong-text", "other"),
    )
    assert item.opinion.comment == "Misspelt.\nTwice."
    told = browser.get(page)
    assert item.id in text_of(told.text)
    assert checked(told.text) == ["down", "wrong-text", "other"]
    assert "Misspelt.\nTwice.</textarea>" in told.text


def test_a_rating_is_changed_and_taken_back(
    browser: FlaskClient, page: str, services: SimpleNamespace
) -> None:
    for rating in ("up", "up", "down"):
        browser.post(page, data={"rating": rating, "comment": "Hm."})
    (item,) = items(services)
    assert item.opinion.rating == "down"
    assert browser.post(page, data={"withdraw": "yes"}).status_code == 303
    (gone,) = items(services)
    assert (gone.id, gone.state, gone.opinion.comment) == (item.id, "withdrawn", None)
    shown = browser.get(page).text
    assert "took your rating back" in text_of(shown)
    assert checked(shown) == []
    browser.post(page, data={"rating": "up"})
    assert [one.state for one in items(services)] == ["open"]


def test_taking_back_what_was_never_said_is_nothing(
    browser: FlaskClient, page: str, services: SimpleNamespace
) -> None:
    assert browser.post(page, data={"withdraw": "yes"}).status_code == 303
    assert items(services) == []


@pytest.mark.parametrize("query", ["", "?r=up", "?r=down&utm_source=mail", "?r=sideways", "?lang=id&r=up"])
def test_looking_writes_nothing(
    browser: FlaskClient, page: str, services: SimpleNamespace, query: str
) -> None:
    def everything() -> list[Any]:
        with services.database.read() as tx:
            return [list(tx.execute(sa.select(table))) for table in tables.metadata.sorted_tables]

    before = everything()
    for method in ("GET", "HEAD", "OPTIONS"):
        purpose = {"Purpose": "prefetch", "Sec-Purpose": "prefetch"}
        assert browser.open(page + query, method=method, headers=purpose).status_code == 200
    assert everything() == before


@pytest.mark.parametrize(("asked", "chosen"), [("up", ["up"]), ("down", ["down"]), ("meh", [])])
def test_a_link_may_choose_a_thumb_beforehand(
    browser: FlaskClient, page: str, asked: str, chosen: list[str]
) -> None:
    assert checked(browser.get(f"{page}?r={asked}").text) == chosen


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"comment": "No thumb."}, "Choose one of the two thumbs."),
        ({"rating": "sideways", "comment": "No thumb."}, "Choose one of the two thumbs."),
        ({"rating": "up", "reasons": "offensive", "comment": "x" * 501}, "At most 500 characters"),
        ({"rating": "up", "comment": "a\x00b"}, "without control characters"),
        ({"rating": "up", "reasons": ["No Slug"]}, "A reason is"),
        ({"rating": "up", "reasons": [f"r{n}" for n in range(11)]}, "at most 10 reasons"),
    ],
)
def test_what_was_typed_comes_back_with_what_is_wrong(
    browser: FlaskClient, page: str, services: SimpleNamespace, form: dict[str, Any], said: str
) -> None:
    answer = browser.post(page, data=form)
    assert answer.status_code == 400
    assert said in text_of(answer.text)
    assert 'aria-invalid="true"' in answer.text or "reasons" in form
    assert form.get("comment", "").replace("\x00", "") in answer.text.replace("\x00", "")
    assert set(checked(answer.text)) >= {form.get("rating")} & {"up", "down"}
    assert items(services) == []


def test_too_much_is_refused_on_a_page(browser: FlaskClient, page: str, services: SimpleNamespace) -> None:
    answer = browser.post(page, data={"rating": "up", "comment": "x" * 1_000_000})
    assert (answer.status_code, answer.content_type) == (413, "text/html; charset=utf-8")
    assert "Nothing was saved" in text_of(answer.text)
    assert items(services) == []


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_what_is_no_form_is_refused_on_a_page(browser: FlaskClient, page: str, content_type: str) -> None:
    answer = browser.post(page, data='{"rating": "up"}', content_type=content_type)
    assert (answer.status_code, answer.content_type) == (415, "text/html; charset=utf-8")


def test_forged_and_unknown_are_one_and_expired_is_another(
    browser: FlaskClient, page: str, clock: Any
) -> None:
    gone = f"/f/{handle(clock, generation_id='gen_9')}"
    for path in (page[:-1] + ("A" if page[-1] != "A" else "B"), "/f/x", "/f/" + "A" * 3000, gone):
        for answer in (browser.get(path), browser.post(path, data={"rating": "up"})):
            assert (answer.status_code, answer.content_type) == (404, "text/html; charset=utf-8")
            assert "There is nothing here" in text_of(answer.text)
    clock.advance(3600)
    for answer in (browser.get(page), browser.post(page, data={"rating": "up"})):
        assert (answer.status_code, answer.content_type) == (410, "text/html; charset=utf-8")
        assert "expired" in text_of(answer.text)


def test_a_picture_that_is_no_longer_kept_can_still_be_rated(
    browser: FlaskClient, page: str, services: SimpleNamespace, clock: Any
) -> None:
    clock.advance(1800)
    shown = browser.get(page)
    assert shown.status_code == 200
    assert "<img" not in shown.text
    assert "no longer kept" in text_of(shown.text)
    browser.post(page, data={"rating": "up"})
    assert len(items(services)) == 1


def test_a_script_is_text(browser: FlaskClient, page: str) -> None:
    browser.post(page, data={"rating": "up", "comment": "</textarea><script>alert(1)</script>"})
    shown = browser.get(page).text
    assert "<script" not in shown
    assert "&lt;/textarea&gt;&lt;script&gt;" in shown


def test_the_page_runs_nothing_and_tells_nobody(browser: FlaskClient, page: str) -> None:
    for answer in (
        browser.get(page),
        browser.post(page, data={"rating": "up"}),
        browser.post(page, data={}),
        browser.get("/f/x"),
    ):
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert "Set-Cookie" not in answer.headers
        if answer.status_code == 303:
            continue
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script|<link(?! rel=.icon. href=.data:)|<iframe|style=| on\w+=", answer.text)
        assert len(answer.data) <= 15_000


def test_the_page_speaks_the_readers_language_and_keeps_it(browser: FlaskClient, page: str) -> None:
    assert '<html lang="id">' in browser.get(page, headers={"Accept-Language": "id, en;q=0.5"}).text
    assert '<html lang="en">' in browser.get(f"{page}?lang=tlh").text
    shown = browser.get(f"{page}?lang=id").text
    assert f'action="{page}?lang=id"' in shown
    sent = browser.post(f"{page}?lang=id", data={"rating": "up"})
    assert sent.headers["Location"] == f"{page}?lang=id"


def test_a_partners_own_reasons_are_kept(browser: FlaskClient, page: str, clock: Any) -> None:
    token = page.removeprefix("/f/")
    said = {"handle": token, "rating": "down", "reasons": ["wrong_colour"]}
    assert browser.post("/api/v1/feedback", json=said).status_code == 201
    assert checked(browser.get(page).text) == ["down", "wrong_colour"]


def test_nobody_named_rates_as_anonymous(browser: FlaskClient, services: SimpleNamespace, clock: Any) -> None:
    browser.post(f"/f/{handle(clock)}", data={"rating": "up"})
    assert [item.end_user for item in items(services)] == ["anonymous"]


def test_handles_of_another_secret_open_nothing(browser: FlaskClient, clock: Any) -> None:
    token = make_handle(b"t" * 32, "acme", "gen_1", None, int(clock()) + 60)
    assert browser.get(f"/f/{token}").status_code == 404
