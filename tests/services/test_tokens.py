"""Admin tokens: made, recognised, revoked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, wire
from structlog.testing import capture_logs

from rollout.core.tenants import NewKey
from rollout.core.tokens import NewToken
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidApiKey, InvalidRequest, NotFound, StaleVersion
from rollout.services.tokens import Tokens


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def tokens(services: SimpleNamespace) -> Tokens:
    found: Tokens = services.tokens
    return found


def test_a_token_is_recognised_by_its_text_alone(tokens: Tokens) -> None:
    issued = tokens.add(ALICE, NewToken("carol", "editor"), "new colleague")
    assert issued.secret is not None
    assert tokens.identify(issued.secret) == issued.token
    with pytest.raises(InvalidApiKey, match="no such admin token"):
        tokens.identify(issued.secret[:-1] + ("a" if issued.secret[-1] != "a" else "b"))


@pytest.mark.parametrize(
    "text", ["", "ra_", "ra_" + "é" * 43, "sk-" + "a" * 43, "ra_" + "a" * 44, "ra_\x00" + "a" * 42]
)
def test_what_cannot_be_a_token_is_refused_as_no_admin_token(tokens: Tokens, text: str) -> None:
    with pytest.raises(InvalidApiKey, match="not an admin token") as caught:
        tokens.identify(text)
    assert "ra_" in caught.value.remedy_text


def test_a_tenants_key_is_no_admin_token(services: SimpleNamespace, tokens: Tokens) -> None:
    secret = services.keys.add(ALICE, "acme", NewKey("server"), "seed").secret
    with pytest.raises(InvalidApiKey, match="not an admin token"):
        tokens.identify(secret)


def test_a_revoked_and_an_expired_token_open_nothing(tokens: Tokens, clock: Any) -> None:
    revoked = tokens.add(ALICE, NewToken("carol", "editor"), "new colleague")
    expiring = tokens.add(ALICE, NewToken("dave", "viewer", int(clock()) + 60), "for an hour")
    tokens.revoke(ALICE, revoked.token.id, "left us")
    clock.advance(60)
    for issued in (revoked, expiring):
        assert issued.secret is not None
        with pytest.raises(InvalidApiKey, match="was revoked or has expired"):
            tokens.identify(issued.secret)


def test_a_name_belongs_to_one_usable_token_at_a_time(tokens: Tokens) -> None:
    first = tokens.add(ALICE, NewToken("carol", "editor"), "new colleague").token
    with pytest.raises(Conflict, match="carol"):
        tokens.add(ALICE, NewToken("carol", "viewer"), "twice")
    tokens.revoke(ALICE, first.id, "it leaked")
    second = tokens.add(ALICE, NewToken("carol", "editor"), "instead").token
    assert [token.id for token in tokens.page(after=None, limit=9)] == [first.id, second.id]
    assert [token.id for token in tokens.page(after=first.id, limit=9)] == [second.id]


def test_revoking_twice_changes_nothing_and_a_stale_version_is_refused(
    services: SimpleNamespace, tokens: Tokens
) -> None:
    token = tokens.add(ALICE, NewToken("carol", "editor"), "new colleague").token
    revoked = tokens.revoke(ALICE, token.id, "left us", based_on=1)
    assert tokens.revoke(ALICE, token.id, "again") == revoked
    with pytest.raises(StaleVersion):
        tokens.revoke(ALICE, token.id, "again", based_on=1)
    assert len(services.audit.page(subject=token.id, limit=9)) == 2


def test_the_text_of_a_token_reaches_neither_logs_nor_the_audit(
    services: SimpleNamespace, tokens: Tokens
) -> None:
    with capture_logs() as logs:
        issued = tokens.add(ALICE, NewToken("carol", "editor"), "new colleague")
    kept = repr([logs, services.audit.page(limit=99), issued])
    assert issued.secret is not None
    assert issued.secret not in kept
    assert issued.token.hash not in repr([logs, services.audit.page(limit=99)])


@pytest.mark.parametrize(
    ("name", "role", "param"),
    [
        ("", "viewer", "name"),
        ("Carol", "viewer", "name"),
        ("a" * 64, "viewer", "name"),
        ("carol", "root", "role"),
    ],
)
def test_a_token_that_cannot_be_is_refused_by_field(name: str, role: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        NewToken(name, role)
    assert caught.value.members["param"] == param


def test_an_end_in_the_past_is_refused_and_an_unknown_token_not_found(tokens: Tokens, clock: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tokens.add(ALICE, NewToken("carol", "editor", int(clock()) - 1), "late")
    assert caught.value.members["param"] == "expires_at"
    for call in (lambda: tokens.get("tok_none"), lambda: tokens.revoke(ALICE, "tok_none", "no")):
        with pytest.raises(NotFound):
            call()


def test_a_dry_run_makes_no_token(tokens: Tokens) -> None:
    assert tokens.add(ALICE, NewToken("carol", "editor"), "try", dry_run=True).secret is None
    assert tokens.page(after=None, limit=9) == []
