"""What a worker keeps in memory: it follows every change, and serves on while the database is away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, SECRET
from phases import wire_phases

from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.tenants import NewKey
from rollout.db import facts
from rollout.db.engine import Database, Tx
from rollout.db.tables import revision
from rollout.errors import InvalidApiKey, LedgerUnavailable, NotFound, PermissionDenied
from rollout.services import state as state_module
from rollout.services.state import State
from rollout.sync.embedded import FlagsRefused


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


@contextmanager
def away(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While the database cannot be reached."""

    @contextmanager
    def refuse() -> Iterator[Tx]:
        raise LedgerUnavailable
        yield

    with monkeypatch.context() as patch:
        patch.setattr(database, "read", refuse)
        patch.setattr(database, "write", refuse)
        yield


def count_reads(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reads, read = [], database.read

    @contextmanager
    def counted() -> Iterator[Tx]:
        reads.append("read")
        with read() as tx:
            yield tx

    monkeypatch.setattr(database, "read", counted)
    return reads


def key_of(services: SimpleNamespace, tenant: str = "acme", **wishes: Any) -> str:
    secret: str = services.keys.add(ALICE, tenant, NewKey("a key", **wishes), "first key").secret
    services.state.refresh()
    return secret


def test_a_key_says_who_is_calling(services: SimpleNamespace) -> None:
    found = services.state.identify(key_of(services))
    assert (found.facts.tenant.id, found.key.name) == ("acme", "a key")


def test_a_tenant_that_called_before_costs_no_look_at_the_database(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = key_of(services)
    first = services.state.identify(secret)
    reads = count_reads(services.database, monkeypatch)
    assert services.state.identify(secret).facts is first.facts
    assert services.features.decide(first.facts, GENERATION) is services.features.decide(
        first.facts, GENERATION
    )
    assert reads == []


@pytest.mark.parametrize("text", ["", "sk-1234", "rk_live_short"])
def test_what_cannot_be_a_key_is_refused_without_a_look(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    reads = count_reads(services.database, monkeypatch)
    with pytest.raises(InvalidApiKey):
        services.state.identify(text)
    assert reads == []


def test_an_unknown_key_is_refused(services: SimpleNamespace) -> None:
    dry = State(services.database, b"another secret of the right length")
    with pytest.raises(InvalidApiKey, match="not known here"):
        dry.identify(key_of(services))


def test_a_revoked_key_opens_nothing_after_the_next_look(services: SimpleNamespace) -> None:
    secret = key_of(services)
    key = services.state.identify(secret).key
    services.keys.revoke(ALICE, "acme", key.id, "leaked")
    services.state.refresh()
    with pytest.raises(InvalidApiKey, match="revoked"):
        services.state.identify(secret)


def test_a_key_in_memory_ends_by_the_clock(services: SimpleNamespace, clock: Any) -> None:
    secret = key_of(services, expires_at=int(clock()) + 60)
    services.state.identify(secret)
    clock.advance(61)
    with pytest.raises(InvalidApiKey, match="expired"):
        services.state.identify(secret)


def test_a_suspended_tenant_is_told_so(services: SimpleNamespace) -> None:
    secret = key_of(services)
    services.state.identify(secret)
    services.tenants.set_state(ALICE, "acme", "suspended", "unpaid")
    services.state.refresh()
    with pytest.raises(PermissionDenied, match="acme is suspended"):
        services.state.identify(secret)


def test_there_are_no_facts_of_nobody(services: SimpleNamespace) -> None:
    with pytest.raises(NotFound):
        services.state.facts("nobody")


def test_a_change_forgets_only_the_tenants_that_it_touched(services: SimpleNamespace) -> None:
    state = services.state
    acme, globex = state.facts("acme"), state.facts("globex")
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    state.refresh()
    assert state.facts("globex") is globex
    assert state.facts("acme") is not acme
    assert state.facts("acme").grants[GENERATION].state == "active"


def test_a_look_without_a_change_swaps_nothing(services: SimpleNamespace) -> None:
    before = services.state.snapshot
    assert services.state.refresh() is False
    assert services.state.snapshot is before


def test_what_was_read_before_a_change_is_not_kept_after_it(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow reader: it read the tenant, then the grant was given and the worker saw it, then it comes to store."""
    state, get = services.state, facts.get

    def slowly(tx: Tx, tenant_id: str) -> TenantFacts | None:
        found = get(tx, tenant_id)
        monkeypatch.setattr(state_module.facts, "get", get)
        services.grants.add(ALICE, "acme", GENERATION, "partner")
        state.refresh()
        return found

    monkeypatch.setattr(state_module.facts, "get", slowly)
    assert state.facts("acme").grants == {}
    assert state.facts_in_memory("acme") is None
    assert GENERATION in state.facts("acme").grants


def test_with_the_database_away_known_keys_are_served_and_unknown_ones_wait(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = key_of(services), key_of(services, "globex")
    services.state.identify(known)
    with away(services.database, monkeypatch):
        assert services.state.identify(known).facts.tenant.id == "acme"
        with pytest.raises(LedgerUnavailable):
            services.state.identify(unknown)
        with pytest.raises(LedgerUnavailable):
            services.state.refresh()


def test_the_age_grows_from_the_last_look_that_confirmed_the_revision(
    services: SimpleNamespace, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = services.state
    assert state.age() == 0
    clock.advance(5)
    assert state.is_fresh()
    clock.advance(1)
    with away(services.database, monkeypatch), pytest.raises(LedgerUnavailable):
        state.refresh()
    assert state.age() == 6
    assert not state.is_fresh()
    state.refresh()
    assert state.is_fresh()


def test_before_the_first_look_nothing_is_confirmed(services: SimpleNamespace) -> None:
    fresh = State(services.database, SECRET)
    assert fresh.age() == math.inf
    assert fresh.snapshot.revision == 0


def test_flags_that_do_not_load_leave_the_old_ones_but_a_kill_binds(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = services.state
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    state.refresh()
    old = state.snapshot

    def refuse(_document: object, _revision: int) -> None:
        raise FlagsRefused("features.0.strategies: broken")

    monkeypatch.setattr(state_module.embedded, "load", refuse)
    services.tenants.change(ALICE, "globex", {"name": "Globex Ltd"}, "their wish")
    state.refresh()
    assert state.snapshot.revision > old.revision
    assert state.snapshot.gates.ask == old.gates.ask
    assert services.features.decide(state.facts("acme"), GENERATION).reason == "granted"
    services.features.kill(ALICE, GENERATION, "emergency")
    state.refresh()
    assert services.features.decide(state.facts("acme"), GENERATION).reason == "killed"


def test_after_a_restore_to_an_older_revision_everything_is_read_again(services: SimpleNamespace) -> None:
    state = services.state
    before = state.facts("acme")
    with services.database.write() as tx:
        tx.execute(sa.update(revision).values(number=1))
    assert state.refresh() is True
    assert state.snapshot.revision == 1
    assert state.facts("acme") is not before
