"""/admin/tenants/{tenant}/keys: added, shown once, rotated, revoked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.tenants import Key, NewKey
from rollout.core.tokens import NewToken, Role
from rollout.errors import InvalidApiKey
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

NEW = {"name": "production", "reason": "first key"}


@pytest.fixture
def key(wired: Services) -> Key:
    return wired.keys.add(SEED, "acme", NewKey("ci"), "first key").key


def shown_secret(page: Visitor) -> str:
    (secret,) = re.findall(r"<pre[^>]*>(rk_\w+_[\w-]+)</pre>", page.page.text)
    return str(secret)


def test_a_key_is_shown_once_and_stands_nowhere_else(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme/keys")
    answer = page.send("add-key", **NEW, mode="test", scopes="read", expires_at="2099-03-01T07:00")
    assert (answer.status_code, answer.headers["Cache-Control"], answer.location) == (200, "no-store", None)
    secret = shown_secret(page)
    found = wired.state.identify(secret).key
    assert (found.name, found.mode, found.scopes, found.expires_at) == (
        "production", "test", ("read",), 4_076_031_600,
    )  # fmt: skip
    (row,) = wired.audit.page(subject=found.id, limit=9)
    assert (row["action"], row["actor"], row["reason"]) == (
        "key.added",
        "user:editor@example.com",
        "first key",
    )
    assert secret not in str(row)
    for path in ("/admin/tenants/acme", "/admin/tenants/acme/keys", f"/admin/tenants/acme/keys/{found.id}"):
        assert secret not in page.get(path).text
        assert found.prefix in page.text
    assert secret not in page.get("/admin/tenants/acme/keys?format=json").text


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"name": ""}, "required"),
        ({"name": "n" * 201}, "at most 200 characters"),
        ({"mode": "production"}, "Input should be"),
        ({"scopes": "everything"}, "Input should be"),
        ({"scopes": None}, "Scopes are one or more of"),
        ({"expires_at": "2020-01-01T00:00"}, "expires_at must lie in the future"),
        ({"expires_at": "tomorrow"}, "Must be a date such as"),
        ({"expires_at": "2300-01-01"}, "Must be a date such as"),
        ({"reason": ""}, "A change needs a reason."),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_what_was_typed(
    wired: Services, visit: Visit, typed: dict[str, Any], told: str
) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme/keys")
    assert page.send("add-key", **{**NEW, "mode": "live", "scopes": "read", **typed}).status_code == 400
    assert told in page.page.text
    again = page.form("add-key").fields
    assert (again["name"], again["reason"]) == (
        typed.get("name", NEW["name"]),
        typed.get("reason", NEW["reason"]),
    )
    assert again.get("scopes") == ("read" if "scopes" not in typed else None)
    assert wired.keys.page("acme", after=None, limit=9) == []


def test_a_key_is_rotated_with_an_overlap(wired: Services, visit: Visit, key: Key) -> None:
    page = visit("editor")
    page.get(f"/admin/tenants/acme/keys/{key.id}")
    assert page.send("rotate", overlap_seconds="3600", reason="every year").status_code == 200
    assert wired.state.identify(shown_secret(page)).key.name == "ci"
    old = wired.keys.get("acme", key.id)
    assert old.expires_at is not None
    assert 3500 < old.expires_at - time.time() <= 3600
    assert f"Replaces {key.prefix}…" in page.text
    page.get(f"/admin/tenants/acme/keys/{key.id}")
    assert (
        page.send("rotate", overlap_seconds="99999999", expires_at="2099-01-01", reason="x").status_code
        == 400
    )
    assert "overlap_seconds is a number from 0" in page.text


def test_a_key_is_revoked_for_good(wired: Services, visit: Visit) -> None:
    issued = wired.keys.add(SEED, "acme", NewKey("ci"), "first key")
    page = visit("editor")
    here = f"/admin/tenants/acme/keys/{issued.key.id}"
    page.get(here)
    stale = page.form("rotate").fields
    assert page.send("revoke", reason="it leaked").status_code == 303
    page.follow()
    assert "ci revoked" in page.text
    assert "It opens nothing any more." in page.text
    with pytest.raises(InvalidApiKey, match="revoked"):
        wired.state.identify(str(issued.secret))
    assert page.client.post(f"{here}/rotate", data={**stale, "reason": "late"}).status_code == 409
    assert len(wired.keys.page("acme", after=None, limit=9)) == 1


def test_a_stale_form_does_not_revoke(wired: Services, visit: Visit, key: Key) -> None:
    page = visit("editor")
    page.get(f"/admin/tenants/acme/keys/{key.id}")
    wired.keys.rotate(SEED, "acme", key.id, "faster")
    assert page.send("revoke", reason="slower").status_code == 409
    assert "Somebody changed this while you were at it." in page.text
    assert wired.keys.get("acme", key.id).revoked_at is None


def test_another_tenants_key_is_not_there(wired: Services, visit: Visit, key: Key) -> None:
    page = visit("editor")
    assert page.get(f"/admin/tenants/globex/keys/{key.id}").status_code == 404
    page.get(f"/admin/tenants/acme/keys/{key.id}")
    for form in ("rotate", "revoke"):
        sent = {**page.form(form).fields, "reason": "try"}
        answer = page.client.post(f"/admin/tenants/globex/keys/{key.id}/{form}", data=sent)
        assert answer.status_code == 404
    assert wired.keys.get("acme", key.id) == key


def test_the_keys_of_a_tenant_are_listed_with_their_states(wired: Services, visit: Visit, key: Key) -> None:
    wired.keys.revoke(SEED, "acme", key.id, "old")
    wired.keys.add(SEED, "acme", NewKey("<b>new</b>"), "second")
    page = visit("viewer")
    page.get("/admin/tenants/acme/keys?limit=1")
    assert f"ci {key.prefix}… revoked live generate analyze feedback read" in page.text
    assert 'rel="next"' in page.page.text
    page.get(f"/admin/tenants/acme/keys?cursor={key.id}")
    assert "&lt;b&gt;new&lt;/b&gt;" in page.page.text
    page.get("/admin/tenants/acme")
    assert key.prefix not in page.text, "only keys that open something are on the tenant's page"


def test_the_console_writes_what_the_api_writes(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme/keys")
    page.send("add-key", **NEW, mode="live", scopes="read")
    token = wired.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    body = {"name": "production", "scopes": ["read"], "reason": "first key"}
    headers = {"Authorization": f"Bearer {token}"}
    path = "/admin/api/v1/tenants/acme/keys"
    assert page.app.test_client().post(path, json=body, headers=headers).status_code == 201
    by_api, by_console = (row for row in wired.audit.page(limit=9) if row["action"] == "key.added")
    assert likeness(by_api) == likeness(by_console)
    assert (by_api["actor"], by_console["actor"]) == ("token:ana", "user:editor@example.com")


def likeness(row: Any) -> Any:
    """A row without who, when, and the ids that were drawn."""
    after = {
        name: value for name, value in row["after"].items() if name not in ("id", "prefix", "created_at")
    }
    return (
        row["action"],
        row["tenant_id"],
        row["before"],
        after,
        row["reason"],
        row["subject"] == row["after"]["id"],
    )
