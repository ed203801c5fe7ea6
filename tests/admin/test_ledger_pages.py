"""/admin/ledger and its API: how the books were found, and a look at them now; a difference stands on the first page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from console import SEED, Visitor
from flask.testing import FlaskClient
from uses import Uses, generation

from rollout.app import create_app
from rollout.core.decisions import GENERATION
from rollout.core.tokens import NewToken, Role
from rollout.db import tables
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


def plant(services: Services) -> None:
    """A bucket that says more than was booked."""
    money = {"feature": GENERATION, "unit": "usd_micro", "period": "life", "cap": 10**9}
    services.meters.add(SEED, "acme", money, "as agreed")
    Uses(services.database).settled(generation("gen_1"), 40_000)
    with services.database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=40_001))


def mend(services: Services) -> None:
    with services.database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=40_000))


def test_before_the_first_night_nobody_has_looked(visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/ledger")
    assert "Nobody has added up the books yet." in page.text
    page.send("verify")
    assert (page.page.status_code, page.page.headers["Location"]) == (303, "/admin/ledger")
    page.follow()
    assert "The books add up." in page.text
    assert "by user:editor@example.com ." in page.text
    assert re.search(r"adds up 0 \d+ user:editor@example.com", page.text)


def test_a_difference_is_shown_word_for_word_and_on_the_first_page_until_the_books_add_up(
    wired: Services, visit: Visit
) -> None:
    plant(wired)
    wired.verifications.nightly()
    page = visit("editor")
    page.get("/admin")
    assert "The books do not add up: 1 difference was found on" in page.text
    assert 'class="button" href="/admin/ledger"' in page.page.text
    page.get("/admin/ledger")
    assert "The books do not add up: 1 difference." in page.text
    assert "has used 40001, held 0; its entries make used 40000, held 0" in page.text
    mend(wired)
    page.send("verify")
    page.follow()
    assert "The books add up." in page.text
    found = re.search(r"does not add up 1 \d+ system:nightly", page.text)
    assert found, "what was found stays in the list"
    page.get("/admin")
    assert "The books do not add up" not in page.text


def test_a_viewer_sees_and_does_not_start(visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/ledger")
    assert "Add up now needs the role editor" in page.text
    assert not [form for form in page.forms() if form.name == "verify"]
    page.get("/admin/audit")
    page.client.post("/admin/ledger/verify", data={"_token": page.form("preferences").fields["_token"]})
    assert page.services.verifications.page(cursor=None, limit=1) == []


def test_the_list_goes_page_by_page_and_is_there_to_take_away(wired: Services, visit: Visit) -> None:
    ids = [wired.verifications.run("cli:ana").id for _ in range(3)]
    page = visit("viewer")
    page.get("/admin/ledger?limit=2")
    assert page.page.text.count("cli:ana") == 3, "two rows, and who looked last"
    page.get(f"/admin/ledger?limit=2&cursor={sorted(ids)[1]}")
    assert "The books add up." not in page.text, "an old look says nothing of now"
    sheet = page.get("/admin/ledger?format=csv").text.splitlines()
    assert sheet[0] == "id,at,seconds,clean,differences,actor"
    assert [line.split(",")[0] for line in sheet[1:]] == sorted(ids, reverse=True)
    assert page.get("/admin/ledger?lang=id").status_code == 200


@pytest.fixture
def client(wired: Services) -> FlaskClient:
    return create_app(wired).test_client()


def headers(services: Services, role: Role) -> dict[str, str]:
    issued = services.tokens.add(SEED, NewToken(f"{role}s", role), "test")
    return {"Authorization": f"Bearer {issued.secret}"}


def test_the_api_looks_and_lists(wired: Services, client: FlaskClient) -> None:
    editor = headers(wired, "editor")
    clean = client.post("/admin/api/v1/ledger/verify", headers=editor).json
    assert clean is not None
    assert (clean["clean"], clean["differences"], clean["actor"]) == (True, [], "token:editors")
    plant(wired)
    wrong = client.post("/admin/api/v1/ledger/verify", headers=editor).json
    assert wrong is not None
    assert (wrong["clean"], len(wrong["differences"])) == (False, 1)
    listed = client.get("/admin/api/v1/ledger?limit=1", headers=headers(wired, "viewer")).json
    assert listed == {"data": [wrong], "next_cursor": wrong["id"]}
    rest = client.get(f"/admin/api/v1/ledger?cursor={wrong['id']}", headers=editor).json
    assert rest == {"data": [clean], "next_cursor": None}


def test_the_api_wants_an_editor(wired: Services, client: FlaskClient) -> None:
    assert client.post("/admin/api/v1/ledger/verify").status_code == 401
    assert client.post("/admin/api/v1/ledger/verify", headers=headers(wired, "viewer")).status_code == 403
    assert wired.verifications.page(cursor=None, limit=1) == []
