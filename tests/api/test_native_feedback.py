"""POST, GET and DELETE /api/v1/feedback: by key, and by handle without one."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from ratings import client, handle, key, partner, wire_ratings
from uses import add_generation

from rollout.core.feedback import FeedbackItem
from rollout.core.tenants import Scope
from rollout.db.engine import Database

PATH = "/api/v1/feedback"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire_ratings(database, clock)
    add_generation(database)
    return wired


@pytest.fixture
def browser(services: SimpleNamespace) -> FlaskClient:
    """An end user's: no key."""
    return client(services)


def test_a_partner_rates_lists_and_withdraws_by_key(services: SimpleNamespace) -> None:
    acme = partner(services)
    sent = {
        "generation": "gen_1",
        "end_user": "ana",
        "rating": "down",
        "reasons": ["blurry"],
        "comment": "Hm.",
    }
    status, item, _ = acme.post("/feedback", sent)
    assert status == 201
    assert item == {
        **sent,
        "id": item["id"],
        "tenant": "acme",
        "state": "open",
        "feature": "image-generation",
        "phase": "private_beta",
        "model": "gpt-image-2",
        "vendor": "openai",
        "created_at": "2026-11-22T12:00:00Z",
        "updated_at": "2026-11-22T12:00:00Z",
    }
    status, changed, _ = acme.post("/feedback", {**sent, "rating": "up"})
    assert (status, changed["id"], changed["rating"]) == (200, item["id"], "up")
    assert acme.get("/feedback")[1] == {"data": [changed], "next_cursor": None}
    assert acme.get("/feedback?rating=down")[1]["data"] == []
    status, gone, _ = acme.send("DELETE", f"/feedback/{item['id']}")
    assert (status, gone["state"], gone["comment"]) == (200, "withdrawn", None)


def test_an_end_user_rates_and_withdraws_by_handle_alone(
    browser: FlaskClient, services: SimpleNamespace, clock: Any
) -> None:
    token = handle(clock, end_user="ana")
    made = browser.post(PATH, json={"handle": token, "rating": "up"})
    assert (made.status_code, made.get_json()["end_user"]) == (201, "ana")
    assert made.get_json()["generation"] == "gen_1"
    gone = browser.delete(f"{PATH}/{made.get_json()['id']}?handle={token}")
    assert (gone.status_code, gone.get_json()["state"]) == (200, "withdrawn")
    nobody = browser.post(PATH, json={"handle": handle(clock), "rating": "up"})
    assert nobody.get_json()["end_user"] == "anonymous"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_plain_form_is_taken_too(browser: FlaskClient, clock: Any, content_type: str) -> None:
    form = {"handle": handle(clock), "rating": "down", "reasons": ["blurry", "cropped"], "comment": ""}
    made = browser.post(PATH, data=form, content_type=content_type)
    assert made.status_code == 201
    assert (made.get_json()["reasons"], made.get_json()["comment"]) == (["blurry", "cropped"], None)


def test_a_forged_and_an_expired_handle_are_told_apart(browser: FlaskClient, clock: Any) -> None:
    token = handle(clock)
    forged = browser.post(PATH, json={"handle": token[:-1] + "_", "rating": "up"})
    assert (forged.status_code, forged.get_json()["code"], forged.get_json()["param"]) == (
        404,
        "not_found",
        "handle",
    )
    clock.advance(3600)
    expired = browser.post(PATH, json={"handle": token, "rating": "up"})
    assert (expired.status_code, expired.get_json()["code"]) == (410, "result_purged")


def test_without_key_and_handle_nothing_is_taken(browser: FlaskClient) -> None:
    for answer in (
        browser.post(PATH, json={"generation": "gen_1", "rating": "up"}),
        browser.delete(f"{PATH}/fb_1"),
        browser.get(PATH),
        browser.post(PATH, json={"rating": "up"}, headers={"x-api-key": "rk_live_wrong"}),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(("scopes", "allowed"), [(("feedback",), True), (("read", "generate"), False)])
def test_a_key_needs_the_scope(services: SimpleNamespace, scopes: tuple[Scope, ...], allowed: bool) -> None:
    door = partner(services, scopes=scopes)
    status, body, _ = door.post("/feedback", {"generation": "gen_1", "rating": "up"})
    assert (status, body.get("code")) == ((201, None) if allowed else (403, "permission_denied"))


def test_nobody_reaches_another_tenants_pictures_or_feedback(services: SimpleNamespace, clock: Any) -> None:
    acme, globex = partner(services), partner(services, "globex")
    _, item, _ = acme.post("/feedback", {"generation": "gen_1", "rating": "up"})
    assert globex.post("/feedback", {"generation": "gen_1", "rating": "down"})[0] == 404
    assert globex.post("/feedback", {"handle": handle(clock), "rating": "down"})[0] == 404
    assert globex.send("DELETE", f"/feedback/{item['id']}")[0] == 404
    assert globex.get("/feedback")[1]["data"] == []
    assert acme.get("/feedback")[1]["data"] == [item]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"generation": "gen_1"}, "rating"),
        ({"generation": "gen_1", "rating": "meh"}, "rating"),
        ({"rating": "up"}, "generation"),
        ({"generation": "gen_1", "rating": "up", "stars": 5}, "stars"),
        ({"generation": "gen_1", "rating": "up", "reasons": "blurry"}, "reasons"),
        ({"generation": "gen_1", "rating": "up", "reasons": ["No Slug"]}, "reasons.0"),
        ({"generation": "gen_1", "rating": "up", "comment": "x" * 2001}, "comment"),
        ({"generation": "gen_1", "rating": "up", "end_user": " "}, "end_user"),
        ({"handle": "HANDLE", "generation": "gen_1", "rating": "up"}, "handle"),
        ({"handle": "HANDLE", "end_user": "eve", "rating": "up"}, "handle"),
    ],
)
def test_a_wrong_field_is_named(
    services: SimpleNamespace, clock: Any, body: dict[str, Any], param: str
) -> None:
    sent = {**body, "handle": handle(clock)} if "handle" in body else body
    status, problem, _ = partner(services).post("/feedback", sent)
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", param)


@pytest.mark.parametrize(
    ("content_type", "data", "status", "code"),
    [
        ("text/plain", "up", 415, "unsupported_media_type"),
        ("application/json", "{", 400, "invalid_request"),
        ("application/json", "[" * 5000, 400, "invalid_request"),
        (
            "application/json",
            '{"rating": "up", "comment": "' + "x" * 2_000_000 + '"}',
            413,
            "payload_too_large",
        ),
        ("multipart/form-data", "nonsense", 400, "invalid_request"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    browser: FlaskClient, content_type: str, data: str, status: int, code: str
) -> None:
    answer = browser.post(PATH, data=data, content_type=content_type)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_pages_lead_from_one_to_the_next(services: SimpleNamespace) -> None:
    acme = partner(services)
    made = [
        acme.post("/feedback", {"generation": "gen_1", "rating": "up", "end_user": name})[1]["id"]
        for name in ("ana", "bob", "eve")
    ]
    first = acme.get("/feedback?limit=2")[1]
    second = acme.get(f"/feedback?limit=2&cursor={first['next_cursor']}")[1]
    assert [item["id"] for item in first["data"] + second["data"]] == made[::-1]
    assert second["next_cursor"] is None


def test_a_partner_takes_its_own_feedback_away_and_no_other(services: SimpleNamespace) -> None:
    acme, globex = partner(services), partner(services, "globex")
    said = {"generation": "gen_1", "rating": "down", "end_user": "ana", "comment": "=HYPERLINK(1)"}
    _, item, _ = acme.post("/feedback", said)
    acme.post("/feedback", {"generation": "gen_1", "rating": "up"})
    assert globex.get("/feedback/export?format=json")[1] == []
    assert acme.get("/feedback/export?format=json&rating=down")[1] == [item]
    sent = {"x-api-key": key(services)}
    answer = client(services).get("/api/v1/feedback/export?format=csv&rating=down", headers=sent)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="feedback.csv"'
    (row,) = csv.DictReader(answer.text.splitlines())
    assert (row["id"], row["end_user"], row["comment"]) == (item["id"], "ana", "'=HYPERLINK(1)")
    assert acme.get("/feedback/export?tenant=globex")[1]["param"] == "tenant"
    assert partner(services, scopes=("feedback",)).get("/feedback/export")[0] == 403


def test_an_export_is_sent_while_it_is_read(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = partner(services).post("/feedback", {"generation": "gen_1", "rating": "up"})[1]
    found = services.feedback.get(item["id"])
    taken = itertools.count()

    def endless(_wanted: object) -> Iterator[FeedbackItem]:
        while True:
            next(taken)
            yield found

    monkeypatch.setattr(services.feedback, "every", endless)
    sent = {"x-api-key": key(services)}
    answer = client(services).get("/api/v1/feedback/export?format=csv", headers=sent, buffered=False)
    chunks = iter(answer.response)
    assert [next(chunks) for _ in range(3)]
    assert next(taken) < 5_000
    answer.close()
