"""Users, preferences, passwords: what can be, and what is refused by field."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.core.sessions import network_of
from rollout.core.users import NewUser, Preferences, User, check_password, user_json
from rollout.errors import InvalidRequest


def refused_field(call: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        call()
    return str(caught.value.members["param"])


def test_an_email_is_kept_in_lower_case_without_spaces_around_it() -> None:
    assert NewUser("  Ana.Doe+x@Example.COM ", "Ana", "viewer").email == "ana.doe+x@example.com"
    assert NewUser("root@localhost", "Root", "admin").email == "root@localhost"


@pytest.mark.parametrize(
    "email",
    ["", "ana", "@example.com", "ana@", "ana@-example.com", "a b@example.com", "ana@exa mple.com", "ana@example..com",
     "ana@example.com\n.x", "ana@exämple.com", "ana@example.com,eve@example.com", "a" * 65 + "@example.com",
     "ana@" + "a" * 64 + ".com", "ana@" + "a." * 95 + "com", "<ana@example.com>", "ana\x00@example.com"],
)  # fmt: skip
def test_what_is_no_email_is_refused(email: str) -> None:
    assert refused_field(lambda: NewUser(email, "Ana", "viewer")) == "email"


@pytest.mark.parametrize(
    ("name", "role", "param"),
    [
        ("", "viewer", "name"),
        ("  ", "viewer", "name"),
        ("a" * 201, "viewer", "name"),
        ("Ana", "root", "role"),
    ],
)
def test_name_and_role_are_checked_for_new_users_and_for_changed_ones(
    name: str, role: Any, param: str
) -> None:
    assert refused_field(lambda: NewUser("ana@example.com", name, role)) == param
    assert refused_field(lambda: User("usr_1", "ana@example.com", name, role, 0)) == param


@pytest.mark.parametrize(
    ("preferences", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "Asia"}, "tz"),
        ({"tz": "../../etc/passwd"}, "tz"),
        ({"tz": ""}, "tz"),
        ({"theme": "pink"}, "theme"),
    ],
)
def test_a_preference_that_cannot_be_is_refused_by_field(preferences: Any, param: str) -> None:
    assert refused_field(lambda: Preferences(**preferences)) == param
    assert Preferences("id", "Asia/Jakarta", "dark", False).tz == "Asia/Jakarta"


@pytest.mark.parametrize("password", ["short", "a" * 11, "a" * 201, "ana@example.com", " ANA@Example.com "])
def test_a_password_that_is_too_short_too_long_or_the_email_is_refused(password: str) -> None:
    assert refused_field(lambda: check_password(password, "ana@example.com")) == "password"


@pytest.mark.parametrize("password", ["a" * 12, "a" * 200, "kata sandi 密碼 saya", "ana@example.com!"])
def test_any_characters_make_a_password(password: str) -> None:
    check_password(password, "ana@example.com")


def test_neither_json_nor_repr_of_a_user_tell_the_hash_of_the_password() -> None:
    user = User("usr_1", "ana@example.com", "Ana", "admin", 0, "$argon2id$secret")
    assert "secret" not in repr(user) + repr(user_json(user))
    assert user_json(user)["has_password"] is True


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_failures_of_an_ipv6_host_count_together(address: str, network: str) -> None:
    assert network_of(address) == network
