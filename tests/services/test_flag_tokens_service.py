"""Flag tokens: made once, known from memory, out at the next revision after they end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, SECRET, wire
from structlog.testing import capture_logs

from rollout.core.flag_tokens import Kind, NewFlagToken
from rollout.db.engine import Database, Tx
from rollout.db.tables import flag_token
from rollout.errors import (
    InvalidApiKey,
    InvalidRequest,
    LedgerUnavailable,
    NotFound,
    PermissionDenied,
    StaleVersion,
)
from rollout.services.changes import Changes
from rollout.services.flag_tokens import FlagTokens


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    found = wire(database, clock)
    found.flag_tokens = FlagTokens(database, Changes(database), found.state, SECRET, found.new_id, clock)
    return found


def add(services: SimpleNamespace, kind: Kind = "client", **wishes: Any) -> str:
    issued = services.flag_tokens.add(ALICE, NewFlagToken("sdk", kind, **wishes), "test")
    services.state.refresh()
    return str(issued.secret)


@contextmanager
def away() -> Iterator[Tx]:
    raise LedgerUnavailable
    yield


def test_only_its_hash_is_kept_and_nothing_logs_it(services: SimpleNamespace, database: Database) -> None:
    with capture_logs() as logs:
        secret = add(services)
    with database.read() as tx:
        row = tx.execute(sa.select(flag_token)).one()
    assert secret not in str(row)
    assert secret not in str(logs)
    (entry,) = [one for one in services.audit.page(limit=5) if one["action"] == "flag_token.added"]
    assert secret not in str(entry)
    assert row.hash not in str(entry)


def test_a_known_token_asks_no_database_until_the_next_revision(
    services: SimpleNamespace, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = add(services)
    services.flag_tokens.identify(secret, "client")
    with monkeypatch.context() as patch:
        patch.setattr(database, "read", away)
        for _ in range(3):
            services.flag_tokens.identify(secret, "client")
    services.tenants.change(ALICE, "acme", {"name": "Acme Ltd"}, "a revision")
    services.state.refresh()
    monkeypatch.setattr(database, "read", away)
    with pytest.raises(LedgerUnavailable):
        services.flag_tokens.identify(secret, "client")


def test_a_revoked_token_is_out_at_the_next_revision_and_stays_so(services: SimpleNamespace) -> None:
    secret = add(services)
    token = services.flag_tokens.identify(secret, "client")
    revoked = services.flag_tokens.revoke(ALICE, token.id, "leaked", based_on=1)
    assert services.flag_tokens.revoke(ALICE, token.id, "again") == revoked
    services.state.refresh()
    with pytest.raises(InvalidApiKey, match=r"\*:production\..{4}\.\.\. was revoked"):
        services.flag_tokens.identify(secret, "client")
    with pytest.raises(InvalidApiKey):
        services.flag_tokens.check_usable(token)
    with pytest.raises(StaleVersion):
        services.flag_tokens.revoke(ALICE, token.id, "too late", based_on=1)
    assert services.flag_tokens.known([secret]) == []


def test_an_expired_token_is_out_though_it_is_in_memory(services: SimpleNamespace, clock: Any) -> None:
    secret = add(services, expires_at=int(clock()) + 60)
    services.flag_tokens.identify(secret, "client")
    clock.advance(61)
    with pytest.raises(InvalidApiKey, match="expired"):
        services.flag_tokens.identify(secret, "client")


def test_a_token_of_the_wrong_kind_is_told_where_it_belongs(services: SimpleNamespace) -> None:
    with pytest.raises(PermissionDenied, match="frontend token"):
        services.flag_tokens.identify(add(services, "frontend"), "client")
    with pytest.raises(InvalidApiKey, match="client token"):
        services.flag_tokens.identify(add(services, "client"), "frontend")


def test_a_suspended_tenants_token_opens_nothing(services: SimpleNamespace) -> None:
    secret = add(services, "frontend", tenant_id="acme")
    assert services.flag_tokens.identify(secret, "frontend").tenant_id == "acme"
    services.tenants.set_state(ALICE, "acme", "suspended", "unpaid")
    services.state.refresh()
    with pytest.raises(PermissionDenied, match="suspended"):
        services.flag_tokens.identify(secret, "frontend")


def test_of_many_texts_those_are_known_that_are_good(services: SimpleNamespace) -> None:
    good, other = add(services), add(services, "frontend", projects=("a", "b"))
    found = services.flag_tokens.known([good, "x", other, good, "*:production." + "0" * 64])
    assert [(text, token.type, token.projects) for text, token in found] == [
        (good, "client", ("*",)),
        (other, "frontend", ("a", "b")),
    ]


def test_what_cannot_be_made_leaves_nothing(services: SimpleNamespace, clock: Any) -> None:
    with pytest.raises(NotFound):
        add(services, "frontend", tenant_id="nobody")
    with pytest.raises(InvalidRequest) as past:
        add(services, expires_at=int(clock()))
    assert past.value.members["param"] == "expires_at"
    dry = services.flag_tokens.add(ALICE, NewFlagToken("sdk", "client"), "try", dry_run=True)
    assert dry.secret is None
    assert services.flag_tokens.page(after=None, limit=9) == []
    with pytest.raises(NotFound):
        services.flag_tokens.get("ftk_nobody")


def test_a_tenants_tokens_are_listed_alone(services: SimpleNamespace) -> None:
    add(services)
    add(services, "frontend", tenant_id="acme")
    (only,) = services.flag_tokens.page(tenant="acme", after=None, limit=9)
    assert only.tenant_id == "acme"
    first, second = services.flag_tokens.page(after=None, limit=9)
    assert services.flag_tokens.page(after=first.id, limit=9) == [second]
