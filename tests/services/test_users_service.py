"""Users: added, changed, disabled, given passwords and links; the last admin stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, wire
from structlog.testing import capture_logs

from rollout.core.tokens import Role
from rollout.core.users import NewUser, Preferences, User
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, RolloutError, StaleVersion
from rollout.services.sessions import Sessions
from rollout.services.users import Users

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def users(services: SimpleNamespace) -> Users:
    found: Users = services.users
    return found


@pytest.fixture
def sessions(services: SimpleNamespace) -> Sessions:
    found: Sessions = services.sessions
    return found


def add(users: Users, name: str, role: Role = "viewer", password: str | None = PASSWORD) -> User:
    return users.add(ALICE, NewUser(f"{name}@example.com", name, role), "test", password=password)


def test_a_user_is_added_found_and_changed(users: Users) -> None:
    carol = add(users, "carol")
    assert users.get(carol.id) == users.by_email(" Carol@EXAMPLE.com") == carol
    changed = users.change(ALICE, carol.id, {"role": "editor", "name": "Carol D."}, "more work", based_on=1)
    assert (changed.role, changed.name, changed.version) == ("editor", "Carol D.", 2)
    assert users.change(ALICE, carol.id, {"role": "editor"}, "again") == changed
    with pytest.raises(StaleVersion) as stale:
        users.change(ALICE, carol.id, {"role": "viewer"}, "late", based_on=1)
    assert stale.value.members["current"]["role"] == "editor"
    dave = add(users, "dave")
    assert [user.id for user in users.page(after=None, limit=9)] == [carol.id, dave.id]
    assert [user.id for user in users.page(after=carol.id, limit=9)] == [dave.id]


def test_an_email_is_one_users_however_it_is_typed(users: Users) -> None:
    carol = add(users, "carol")
    users.disable(ALICE, carol.id, "left")
    with pytest.raises(Conflict, match="carol@") as caught:
        users.add(ALICE, NewUser("CAROL@example.com", "Carol", "viewer"), "again")
    assert caught.value.members["param"] == "email"


def test_neither_hashes_nor_links_reach_logs_or_the_audit_log(
    services: SimpleNamespace, users: Users
) -> None:
    with capture_logs() as logs:
        carol = add(users, "carol")
        secret = users.link(ALICE, carol.id, "forgot it")
        users.set_password(ALICE, carol.id, "another long password", "asked for it")
    kept = repr([logs, services.audit.page(limit=99)])
    assert "argon2" not in kept
    assert str(secret) not in kept
    actions = [row["action"] for row in services.audit.page(subject=carol.id, limit=9)]
    assert actions == ["user.password_set", "user.link_made", "user.added"]
    (row, *_) = services.audit.page(subject=carol.id, limit=1)
    assert (row["before"]["version"], row["after"]["version"]) == (1, 2)


def test_a_disabled_user_is_out_at_once_and_comes_back_without_old_sessions(
    users: Users, sessions: Sessions
) -> None:
    carol = add(users, "carol")
    secret = sessions.sign_in(carol.email, PASSWORD, HERE).secret
    link = users.link(ALICE, carol.id, "spare")
    disabled = users.disable(ALICE, carol.id, "left us", based_on=1)
    assert users.disable(ALICE, carol.id, "twice") == disabled
    assert sessions.identify(secret) is None
    with pytest.raises(InvalidRequest):
        sessions.sign_in(carol.email, PASSWORD, HERE)
    with pytest.raises(Conflict, match="disabled"):
        users.link(ALICE, carol.id, "no")
    enabled = users.enable(ALICE, carol.id, "came back")
    assert users.enable(ALICE, carol.id, "twice") == enabled
    assert sessions.identify(secret) is None
    with pytest.raises(NotFound):
        sessions.link_owner(str(link))
    assert sessions.sign_in(carol.email, PASSWORD, HERE).user == enabled


def test_a_new_password_ends_the_other_sessions_and_the_links(users: Users, sessions: Sessions) -> None:
    carol = add(users, "carol")
    mine, other = (sessions.sign_in(carol.email, PASSWORD, HERE).secret for _ in range(2))
    link = users.link(ALICE, carol.id, "spare")
    here = sessions.identify(mine)
    assert here is not None
    users.set_password(ALICE, carol.id, "another long password", "leaked", keep_session=here.hash)
    assert sessions.identify(other) is None
    assert sessions.identify(mine) is not None
    with pytest.raises(NotFound):
        sessions.link_owner(str(link))
    with pytest.raises(InvalidRequest):
        sessions.sign_in(carol.email, PASSWORD, HERE)
    sessions.sign_in(carol.email, "another long password", HERE)


def test_a_new_link_ends_the_one_before(users: Users, sessions: Sessions) -> None:
    carol = add(users, "carol")
    first, second = (str(users.link(ALICE, carol.id, "lost")) for _ in range(2))
    with pytest.raises(NotFound):
        sessions.sign_in_by_link(first, HERE)
    assert sessions.sign_in_by_link(second, HERE).user == carol


@pytest.mark.parametrize(
    "act",
    [
        lambda users, user: users.disable(ALICE, user.id, "tidy up"),
        lambda users, user: users.change(ALICE, user.id, {"role": "editor"}, "tidy up"),
    ],
    ids=["disable", "lower"],
)
def test_the_last_admin_who_can_sign_in_stays(
    users: Users, sessions: Sessions, clock: Any, act: Callable[[Users, User], User]
) -> None:
    root = add(users, "root", "admin")
    secret = sessions.sign_in(root.email, PASSWORD, HERE).secret
    add(users, "helper", "editor")
    gone = add(users, "gone", "admin")
    users.disable(ALICE, gone.id, "left")
    invited = add(users, "invited", "admin", password=None)
    with pytest.raises(Conflict, match="last admin"):
        act(users, root)
    assert users.get(root.id) == root
    assert sessions.identify(secret) is not None, "what was refused ended the session"
    users.link(ALICE, invited.id, "come in")
    clock.advance(86_400)
    with pytest.raises(Conflict, match="last admin"):
        act(users, root)
    users.link(ALICE, invited.id, "come in, please")
    assert act(users, root).version == root.version + 1


def test_of_two_admins_who_lower_each_other_at_once_one_stays(users: Users) -> None:
    admins = [add(users, name, "admin") for name in ("ana", "ben")]

    def lower(user: User) -> str:
        try:
            return users.change(ALICE, user.id, {"role": "viewer"}, "coup").role
        except RolloutError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(lower, admins))
    assert results == ["conflict", "viewer"]


def test_preferences_are_kept_beside_an_audited_change_and_make_no_version(
    services: SimpleNamespace, users: Users
) -> None:
    carol = add(users, "carol")
    kept = users.set_preferences(carol.id, Preferences("id", "Asia/Jakarta", "dark", shortcuts=False))
    changed = users.change(ALICE, carol.id, {"name": "Carol"}, "as she likes", based_on=carol.version)
    assert (changed.language, changed.tz, changed.theme, changed.shortcuts) == ("id", "Asia/Jakarta", "dark", False)  # fmt: skip
    assert kept.version == 1
    assert len(services.audit.page(subject=carol.id, limit=9)) == 2


def test_a_dry_run_keeps_nothing(users: Users, sessions: Sessions) -> None:
    assert users.add(ALICE, NewUser("x@example.com", "X", "viewer"), "try", dry_run=True).name == "X"
    assert users.page(after=None, limit=9) == []
    carol = add(users, "carol")
    assert users.link(ALICE, carol.id, "try", dry_run=True) is None
    users.set_password(ALICE, carol.id, "another long password", "try", dry_run=True)
    users.disable(ALICE, carol.id, "try", dry_run=True)
    assert sessions.sign_in(carol.email, PASSWORD, HERE).user == carol


def test_who_is_not_there_is_not_found(users: Users) -> None:
    for call in (
        lambda: users.get("usr_none"),
        lambda: users.by_email("none@example.com"),
        lambda: users.disable(ALICE, "usr_none", "no"),
        lambda: users.set_password(ALICE, "usr_none", PASSWORD, "no"),
        lambda: users.set_preferences("usr_none", Preferences()),
        lambda: users.link(ALICE, "usr_none", "no"),
    ):
        with pytest.raises(NotFound):
            call()
