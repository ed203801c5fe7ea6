"""/admin/flag-tokens, /admin/flag-clients, /admin/flag-metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from console import SEED, Visitor

from rollout.core.decisions import GENERATION
from rollout.core.flag_metrics import Count, FlagClient
from rollout.core.flag_tokens import FlagToken, NewFlagToken
from rollout.core.tokens import Role
from rollout.errors import InvalidApiKey
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

NEW = {"name": "site", "type": "frontend", "reason": "acme's page"}


@pytest.fixture
def token(wired: Services) -> FlagToken:
    return wired.flag_tokens.add(SEED, NewFlagToken("backend", "client"), "first").token


def test_a_token_is_shown_once_and_stands_nowhere_else(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/flag-tokens")
    answer = page.send("add-flag-token", **NEW, tenant="acme", projects="shop  money", environment="staging")
    assert (answer.status_code, answer.headers["Cache-Control"], answer.location) == (200, "no-store", None)
    (secret,) = re.findall(r"<pre[^>]*>(\[\]:staging\.[0-9a-f]{64})</pre>", answer.text)
    wired.state.refresh()
    found = wired.flag_tokens.identify(secret, "frontend")
    assert (found.name, found.tenant_id, found.projects) == ("site", "acme", ("shop", "money"))
    (row,) = wired.audit.page(subject=found.id, limit=9)
    assert (row["action"], row["actor"], row["reason"]) == (
        "flag_token.added",
        "user:editor@example.com",
        "acme's page",
    )
    for path in ("/admin/flag-tokens", f"/admin/flag-tokens/{found.id}", "/admin/flag-tokens?format=json"):
        assert secret not in page.get(path).text
        assert found.prefix in page.page.text
    assert "backend" not in page.get("/admin/flag-tokens?tenant=acme").text


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"name": ""}, "required"),
        ({"projects": "a/b"}, "A project is 1-100 letters"),
        ({"environment": "pre.prod"}, "a part of the token"),
        ({"type": "client", "tenant": "acme"}, "cannot be a tenant"),
        ({"tenant": "nobody"}, "There is no tenant"),
        ({"reason": ""}, "needs a reason"),
    ],
)
def test_what_cannot_be_made_is_shown_again_with_why(
    wired: Services, visit: Visit, typed: dict[str, str], told: str
) -> None:
    page = visit("editor")
    page.get("/admin/flag-tokens")
    answer = page.send("add-flag-token", **{**NEW, **typed})
    assert answer.status_code in (400, 404)
    assert told in answer.text
    assert wired.flag_tokens.page(after=None, limit=9) == []


def test_a_token_is_revoked_with_a_reason(wired: Services, visit: Visit, token: FlagToken) -> None:
    page = visit("editor")
    page.get(f"/admin/flag-tokens/{token.id}")
    assert page.send("revoke", reason="leaked").status_code == 303
    page.follow()
    assert "Flag token revoked" in page.text
    assert "It opens nothing any more." in page.text
    with pytest.raises(InvalidApiKey):
        wired.flag_tokens.check_usable(token)


def test_a_viewer_sees_and_changes_nothing(wired: Services, visit: Visit, token: FlagToken) -> None:
    page = visit("viewer")
    assert "needs the role editor" in page.get("/admin/flag-tokens").text
    assert "needs the role editor" in page.get(f"/admin/flag-tokens/{token.id}").text
    assert page.get("/admin/flag-tokens/ftk_nobody").status_code == 404


def test_it_is_shown_who_asks_and_how_often_a_flag_was_on(wired: Services, visit: Visit) -> None:
    wired.state.refresh()
    now = int(time.time())
    hostile = "<b>web</b>"
    wired.flag_metrics.register(
        FlagClient("production", hostile, "i1", "unleash-x:1", ("default",), 15_000, now, now)
    )
    wired.flag_metrics.count("production", hostile, [Count(GENERATION, now, 1234, 5, {"blue": 6})])
    page = visit("viewer")
    page.get("/admin/flag-clients")
    assert "&lt;b&gt;web&lt;/b&gt;" in page.page.text
    assert "unleash-x:1" in page.text
    assert "unleash-x:1" not in page.get("/admin/flag-clients?environment=staging").text
    page.get(f"/admin/flag-metrics?flag={GENERATION}")
    assert "&lt;b&gt;web&lt;/b&gt;" in page.page.text
    assert "1,234" in page.text
    assert "blue" in page.text
    assert "Nobody asked for it" in page.get("/admin/flag-metrics?flag=other").text
    assert "Say which flag" in page.get("/admin/flag-metrics").text
    assert page.get("/admin/flag-metrics?flag=x&cursor=x").status_code == 400
    assert "blue" in page.get(f"/admin/flag-metrics?flag={GENERATION}&format=json").text
