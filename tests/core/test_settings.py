"""Settings: one object, every problem at once, secrets from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.settings import Settings, SettingsError, source, unknown_variables


def test_defaults_are_an_embedded_service_on_loopback() -> None:
    settings = Settings.from_env({})
    assert settings.is_embedded
    assert settings.url == "http://127.0.0.1:8080"
    assert settings.database.startswith("sqlite:////")
    assert settings.places == {"generation": 56, "analysis": 32, "stream": 16}


def test_every_problem_is_reported_at_once_and_names_its_variable() -> None:
    environ = {
        "ROLLOUT_LISTEN": "nowhere",
        "ROLLOUT_WORKERS": "many",
        "ROLLOUT_SANDBOX": "perhaps",
        "ROLLOUT_DATABASE_URL": "mysql://db",
        "ROLLOUT_OPENAI_BASE_URL": "ftp://vendor",
        "ROLLOUT_BLOBS": "tape://1",
        "ROLLOUT_SECRET_KEY": "short",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "ROLLOUT_LISTEN",
        "ROLLOUT_DATABASE_URL",
        "ROLLOUT_WORKERS",
        "ROLLOUT_SANDBOX",
        "ROLLOUT_OPENAI_BASE_URL",
        "ROLLOUT_BLOBS",
        "ROLLOUT_SECRET_KEY",
    ]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"ROLLOUT_WORKERS": "4"}, "ROLLOUT_WORKERS above 1 needs PostgreSQL"),
        ({"ROLLOUT_DATABASE_URL": "postgresql+psycopg://db/x"}, "ROLLOUT_SECRET_KEY is required"),
        ({"ROLLOUT_THREADS": "16", "ROLLOUT_MAX_GENERATIONS": "16"}, "must stay below ROLLOUT_THREADS"),
        ({"ROLLOUT_UPSTREAM_CONNECT_SECONDS": "9", "ROLLOUT_UPSTREAM_READ_SECONDS": "3"}, "must not exceed"),
        ({"ROLLOUT_LLAMA_API_KEY": "k"}, "ROLLOUT_LLAMA_BASE_URL is required"),
        ({"ROLLOUT_COMPATIBLE_API_KEY": "k"}, "ROLLOUT_COMPATIBLE_BASE_URL is required"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_way_out(
    environ: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.from_env(environ)


UNLEASH = {
    "ROLLOUT_FLAGS": "unleash",
    "ROLLOUT_UNLEASH_URL": "https://unleash.test/api/",
    "ROLLOUT_UNLEASH_TOKEN": "*:production.secret",
    "ROLLOUT_UNLEASH_ADMIN_TOKEN": "*:*.secret",
}


def test_an_unleash_server_is_named_by_its_address_and_two_tokens() -> None:
    settings = Settings.from_env(UNLEASH)
    assert settings.has_upstream
    assert settings.unleash_url == "https://unleash.test/api"
    assert (settings.unleash_project, settings.unleash_environment) == ("default", "production")
    assert settings.flags_max_age == 60
    assert not Settings.from_env({}).has_upstream


def test_all_that_an_unleash_server_lacks_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"ROLLOUT_FLAGS": "unleash"})
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "ROLLOUT_UNLEASH_URL",
        "ROLLOUT_UNLEASH_TOKEN",
        "ROLLOUT_UNLEASH_ADMIN_TOKEN",
    ]
    token = tmp_path / "token"
    token.write_text("*:*.secret\n")
    wrong = {
        **UNLEASH,
        "ROLLOUT_UNLEASH_URL": "https://unleash.test",
        "ROLLOUT_UNLEASH_TOKEN": "*:development.secret",
        "ROLLOUT_UNLEASH_ADMIN_TOKEN": "default:production.secret",
        "ROLLOUT_FLAGS_MAX_AGE": "5",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "ROLLOUT_FLAGS_MAX_AGE",
        "ROLLOUT_UNLEASH_URL",
        "ROLLOUT_UNLEASH_TOKEN",
        "ROLLOUT_UNLEASH_ADMIN_TOKEN",
    ]
    del wrong["ROLLOUT_UNLEASH_ADMIN_TOKEN"], wrong["ROLLOUT_FLAGS_MAX_AGE"]
    wrong["ROLLOUT_UNLEASH_ADMIN_TOKEN_FILE"] = str(token)
    with pytest.raises(SettingsError, match="take a backend token"):
        Settings.from_env(wrong)
    legacy = {**UNLEASH, "ROLLOUT_UNLEASH_TOKEN": "user:0123456789"}
    assert Settings.from_env(legacy).unleash_token == "user:0123456789"


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s" * 40 + "\n")
    environ = {"ROLLOUT_SECRET_KEY_FILE": str(file)}
    assert Settings.from_env(environ).secret_key == "s" * 40
    assert source(environ, "secret_key") == "ROLLOUT_SECRET_KEY_FILE"
    assert source(environ, "listen") == "default"


def test_a_secret_set_twice_or_in_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    twice = {"ROLLOUT_SECRET_KEY": "s" * 40, "ROLLOUT_SECRET_KEY_FILE": str(tmp_path / "none")}
    with pytest.raises(SettingsError, match="are both set"):
        Settings.from_env(twice)
    with pytest.raises(SettingsError, match="No such file"):
        Settings.from_env({"ROLLOUT_SECRET_KEY_FILE": str(tmp_path / "none")})


def test_an_unknown_variable_is_named_with_the_nearest_setting() -> None:
    assert unknown_variables({"ROLLOUT_LISTEM": "x", "OTHER": "y"}) == [
        "ROLLOUT_LISTEM is not a setting; did you mean ROLLOUT_LISTEN?"
    ]
