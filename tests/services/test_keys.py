"""API keys: made, found by their text, rotated with an overlap, revoked; the text is nowhere but in the answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB, wire
from structlog.testing import capture_logs

from rollout.core.tenants import SCOPES, NewKey, parse_key
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidApiKey, InvalidRequest, NotFound, StaleVersion
from rollout.services.keys import Keys

DAY = 86_400


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def keys(services: SimpleNamespace) -> Keys:
    found: Keys = services.keys
    return found


@pytest.fixture
def opens(services: SimpleNamespace) -> Callable[[str | None], bool]:
    def ask(secret: str | None) -> bool:
        services.state.refresh()
        try:
            services.state.identify(secret or "")
        except InvalidApiKey:
            return False
        return True

    return ask


def test_a_new_key_opens_its_tenants_door(services: SimpleNamespace, keys: Keys) -> None:
    issued = keys.add(ALICE, "acme", NewKey(" server ", "test", ("read",)), "first key")
    assert issued.secret is not None
    assert parse_key(issued.secret) == "test"
    identity = services.state.identify(issued.secret)
    assert identity.facts.tenant.id == "acme"
    assert identity.key == keys.get("acme", issued.key.id)
    assert (identity.key.name, identity.key.mode, identity.key.scopes) == ("server", "test", ("read",))
    assert issued.secret.startswith(identity.key.prefix)
    assert len(identity.key.prefix) == 12


def test_the_text_of_a_key_reaches_neither_the_database_nor_logs_nor_the_audit(
    services: SimpleNamespace, keys: Keys
) -> None:
    with capture_logs() as logs:
        issued = keys.add(ALICE, "acme", NewKey("server"), "first key")
        rotated = keys.rotate(ALICE, "acme", issued.key.id, "yearly")
    kept = repr(
        [logs, services.audit.page(limit=500), keys.page("acme", after=None, limit=10), issued, rotated]
    )
    for made in (issued, rotated.issued):
        assert made.secret is not None
        assert made.secret not in kept
        assert made.secret[12:] not in kept
    audited = repr([logs, services.audit.page(limit=500)])
    assert issued.key.hash not in audited


def test_keys_are_listed_by_tenant_page_by_page(keys: Keys) -> None:
    made = [keys.add(ALICE, "acme", NewKey(f"k{n}"), "seed").key.id for n in range(3)]
    keys.add(ALICE, "globex", NewKey("theirs"), "seed")
    assert [key.id for key in keys.page("acme", after=None, limit=2)] == made[:2]
    assert [key.id for key in keys.page("acme", after=made[1], limit=2)] == made[2:]


def test_a_revoked_key_opens_nothing_and_can_be_revoked_again(
    services: SimpleNamespace, keys: Keys, opens: Callable[[str | None], bool]
) -> None:
    issued = keys.add(ALICE, "acme", NewKey("server"), "first key")
    assert opens(issued.secret)
    revoked = keys.revoke(BOB, "acme", issued.key.id, "it leaked")
    assert not opens(issued.secret)
    assert keys.revoke(BOB, "acme", issued.key.id, "to be sure") == revoked
    actions = [(row["action"], row["actor"]) for row in services.audit.page(subject=issued.key.id, limit=9)]
    assert actions == [("key.revoked", "token:bob"), ("key.added", "token:alice")]


def test_a_key_ends_at_its_expiry(keys: Keys, clock: Any, opens: Callable[[str | None], bool]) -> None:
    issued = keys.add(ALICE, "acme", NewKey("trial", expires_at=int(clock()) + DAY), "trial")
    assert opens(issued.secret)
    clock.advance(DAY)
    assert not opens(issued.secret)


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(
    keys: Keys, clock: Any, opens: Callable[[str | None], bool]
) -> None:
    old = keys.add(ALICE, "acme", NewKey("server", "test", ("read", "generate")), "first key")
    rotated = keys.rotate(ALICE, "acme", old.key.id, "yearly", overlap_seconds=3600)
    new = rotated.issued
    assert (new.key.name, new.key.mode, new.key.scopes) == ("server", "test", ("generate", "read"))
    assert rotated.old.expires_at == clock() + 3600
    assert new.key.expires_at is None
    assert opens(old.secret)
    assert opens(new.secret)
    clock.advance(3600)
    assert not opens(old.secret)
    assert opens(new.secret)


def test_the_overlap_is_a_day_unless_told_otherwise_and_may_be_nothing(
    keys: Keys, clock: Any, opens: Callable[[str | None], bool]
) -> None:
    first = keys.add(ALICE, "acme", NewKey("one"), "seed")
    second = keys.add(ALICE, "acme", NewKey("two"), "seed")
    assert keys.rotate(ALICE, "acme", first.key.id, "yearly").old.expires_at == clock() + DAY
    keys.rotate(ALICE, "acme", second.key.id, "it leaked", overlap_seconds=0)
    assert not opens(second.secret)


def test_an_overlap_never_lengthens_a_keys_life(keys: Keys, clock: Any) -> None:
    soon, later = int(clock()) + 60, int(clock()) + 90 * DAY
    old = keys.add(ALICE, "acme", NewKey("trial", expires_at=soon), "trial")
    rotated = keys.rotate(ALICE, "acme", old.key.id, "longer trial", expires_at=later)
    assert (rotated.old.expires_at, rotated.issued.key.expires_at) == (soon, later)


def test_a_key_with_an_end_is_not_replaced_by_one_without(keys: Keys, clock: Any) -> None:
    old = keys.add(ALICE, "acme", NewKey("trial", expires_at=int(clock()) + DAY), "trial")
    with pytest.raises(InvalidRequest) as caught:
        keys.rotate(ALICE, "acme", old.key.id, "yearly")
    assert caught.value.members["param"] == "expires_at"
    assert keys.page("acme", after=None, limit=9) == [old.key]


def test_an_ended_key_cannot_be_rotated(keys: Keys) -> None:
    old = keys.add(ALICE, "acme", NewKey("server"), "first key").key
    keys.revoke(ALICE, "acme", old.id, "it leaked")
    with pytest.raises(Conflict, match="was revoked"):
        keys.rotate(ALICE, "acme", old.id, "too late")


@pytest.mark.parametrize("overlap", [-1, 31 * DAY])
def test_an_overlap_that_cannot_be_is_refused_by_name(keys: Keys, overlap: int) -> None:
    old = keys.add(ALICE, "acme", NewKey("server"), "first key").key
    with pytest.raises(InvalidRequest) as caught:
        keys.rotate(ALICE, "acme", old.id, "yearly", overlap_seconds=overlap)
    assert caught.value.members["param"] == "overlap_seconds"


def test_a_key_that_would_have_ended_already_is_refused_by_name(keys: Keys, clock: Any) -> None:
    with pytest.raises(InvalidRequest, match="2026-11-22T12:00:00Z is past") as caught:
        keys.add(ALICE, "acme", NewKey("late", expires_at=int(clock())), "seed")
    assert caught.value.members["param"] == "expires_at"


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"name": " "}, "name"), ({"name": "x" * 201}, "name"), ({"name": "k", "scopes": ()}, "scopes")],
)
def test_a_key_that_cannot_be_is_refused_by_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        NewKey(**fields)
    assert caught.value.members["param"] == param


def test_another_tenants_key_and_an_unknown_tenant_are_not_found(keys: Keys) -> None:
    issued = keys.add(ALICE, "acme", NewKey("server"), "first key")
    for call in (
        lambda: keys.get("globex", issued.key.id),
        lambda: keys.revoke(ALICE, "globex", issued.key.id, "no"),
        lambda: keys.rotate(ALICE, "globex", issued.key.id, "no"),
        lambda: keys.add(ALICE, "nobody", NewKey("k"), "no"),
        lambda: keys.page("nobody", after=None, limit=9),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_stale_version_revokes_nothing(keys: Keys) -> None:
    old = keys.add(ALICE, "acme", NewKey("server"), "first key").key
    keys.rotate(ALICE, "acme", old.id, "yearly")
    with pytest.raises(StaleVersion):
        keys.revoke(BOB, "acme", old.id, "based on what I saw", based_on=1)
    assert keys.get("acme", old.id).revoked_at is None


def test_a_dry_run_shows_no_text_because_it_makes_no_key(keys: Keys) -> None:
    assert keys.add(ALICE, "acme", NewKey("server", scopes=SCOPES), "try", dry_run=True).secret is None
    assert keys.page("acme", after=None, limit=9) == []
    old = keys.add(ALICE, "acme", NewKey("server"), "now").key
    assert keys.rotate(ALICE, "acme", old.id, "try", dry_run=True).issued.secret is None
    assert keys.page("acme", after=None, limit=9) == [old]
