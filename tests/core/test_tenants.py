"""Tenants and the texts of their keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.tenants import Key, Tenant, check_scopes, key_text, parse_key, secret_hash
from rollout.errors import InvalidApiKey, InvalidRequest


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["live", "test"]))
def test_a_key_survives_its_own_checksum_and_one_typo_never_does(random: bytes, mode: str) -> None:
    text = key_text(mode, random)  # type: ignore[arg-type]
    assert parse_key(text) == mode
    wrong = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    with pytest.raises(InvalidApiKey, match="mistyped"):
        parse_key(wrong)


@pytest.mark.parametrize(
    "text", ["", "sk-123", "rk_live_short", "rk_prod_" + "a" * 49, "rk_live_" + "é" * 49]
)
def test_what_is_not_a_key_of_ours_is_told_so(text: str) -> None:
    with pytest.raises(InvalidApiKey, match="not a Phasegate API key"):
        parse_key(text)


def test_the_stored_hash_depends_on_the_secret() -> None:
    assert secret_hash(b"a", "key") != secret_hash(b"b", "key")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"id": "Acme"}, "id"),
        ({"id": "-acme"}, "id"),
        ({"id": "a" * 64}, "id"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "../etc/passwd"}, "tz"),
        ({"attributes": {"region": 5}}, "attributes.region"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused_by_field(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Tenant(**{"id": "acme", "name": "Acme", **fields})  # type: ignore[arg-type]
    assert caught.value.members["param"] == param


def test_scopes_are_known_and_kept_in_one_order() -> None:
    assert check_scopes(["read", "generate"]) == ("generate", "read")
    for wrong in ([], ["root"]):
        with pytest.raises(InvalidRequest):
            check_scopes(wrong)


def test_a_key_stops_at_its_expiry_and_at_its_revocation() -> None:
    key = Key(
        "key_1",
        "acme",
        "ci",
        "live",
        "rk_live_ab12",
        "h",
        ("read",),
        created_at=0,
        expires_at=100,
        revoked_at=50,
    )
    key.check_usable(49)
    with pytest.raises(InvalidApiKey, match="revoked"):
        key.check_usable(50)
    with pytest.raises(InvalidApiKey, match="expired"):
        Key(
            "key_1", "acme", "ci", "live", "rk_live_ab12", "h", ("read",), created_at=0, expires_at=100
        ).check_usable(100)
