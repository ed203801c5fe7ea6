"""One frozen object for every setting, read once from `ROLLOUT_*` (or `ROLLOUT_*_FILE`, for secrets).

All problems are reported together, each with its remedy. `docs` of a field is its entry in the documentation and in `rollout config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "ROLLOUT_"
_PLANNED_THREADS = 128


class SettingsError(Exception):
    """`problems`: a sentence each, naming the variable and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(default: Any, parse: Callable[[str], Any], docs: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "docs": docs, "secret": secret})


def _text(value: str) -> str:
    return value.strip()


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value.strip().lower()

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"must be a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return number

    return parse


def _listen(value: str) -> str:
    host, colon, port = value.strip().rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:8080")
    return value.strip()


def _database_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must begin with sqlite:/// or postgresql+psycopg://")
    return value.strip()


def _http_url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value.strip().rstrip("/")


def _unleash_url(value: str) -> str:
    url = _http_url(value)
    if not url.endswith("/api"):
        raise ValueError("must be the address that Unleash's SDKs are given: it ends with /api")
    return url


def _certificates(value: str) -> str:
    try:
        ssl.create_default_context(cafile=value.strip())
    except OSError as error:
        raise ValueError(f"must name a readable PEM file of certificates: {error}") from None
    return value.strip()


def _hosts(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if not all(re.fullmatch(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)+", name) for name in names):
        raise ValueError("must be names of hosts, separated by commas")
    return ",".join(names)


def _blobs(value: str) -> str:
    if not value.startswith("file:///"):
        raise ValueError("must begin with file:/// and name a folder")
    return value.strip()


def _secret(value: str) -> str:
    if len(value.strip()) < 32:
        raise ValueError(
            "must have at least 32 characters; make one with `python3 -c 'import secrets; print(secrets.token_hex(32))'`"
        )
    return value.strip()


@dataclass(frozen=True)
class Settings:
    home: str = _setting(".rollout", _text, "Folder for the embedded database, pictures and the secret key.")
    listen: str = _setting("127.0.0.1:8080", _listen, "Address and port of the service.")
    public_url: str = _setting(
        "", _http_url, "Address under which callers reach the service; default: from `LISTEN`."
    )
    trusted_proxies: int = _setting(0, _whole(0, 10), "How many proxies in front set X-Forwarded-* headers.")
    database_url: str = _setting(
        "", _database_url, "SQLite (one machine) or PostgreSQL; default: `rollout.db` in `HOME`.", secret=True
    )
    workers: int = _setting(1, _whole(1, 256), "Worker processes; more than 1 needs PostgreSQL.")
    threads: int = _setting(_PLANNED_THREADS, _whole(8, 8192), "Threads a worker; one holds one call.")
    max_generations: int = _setting(0, _whole(0, 8192), "Generations at once a worker; 0: 7/16 of `THREADS`.")
    max_analyses: int = _setting(0, _whole(0, 8192), "Analyses at once a worker; 0: a quarter of `THREADS`.")
    max_streams: int = _setting(
        0, _whole(0, 8192), "Event streams at once a worker; 0: an eighth of `THREADS`."
    )
    max_body_mb: int = _setting(64, _whole(1, 1024), "Largest request body in MB; Messages take at most 32.")
    drain_seconds: int = _setting(0, _whole(0, 600), "How long /readyz says 503 before the service stops.")
    hold_lease_seconds: int = _setting(
        120, _whole(1, 3600), "How long a reservation lives without a sign of its owner."
    )
    unknown_grace_seconds: int = _setting(
        900, _whole(1, 86400), "How long a call of unknown outcome waits before its estimate is charged."
    )
    jobs: str = _setting(
        "inside",
        _choice("inside", "apart"),
        "Who does the background jobs: `inside` every serving worker, or `apart` only `rollout worker`.",
    )
    flags: str = _setting(
        "embedded",
        _choice("embedded", "unleash"),
        "Whose flags decide: `embedded`, our own, or those of an `unleash` server too, to which our phases are written.",
    )
    flags_max_age: int = _setting(
        60,
        _whole(10, 3600),
        "With `unleash`: seconds without a word from the server after which generation is denied.",
    )
    unleash_url: str = _setting("", _unleash_url, "Address of Unleash's API, with /api.")
    unleash_token: str = _setting(
        "", _text, "Unleash's token for a backend (client), of `UNLEASH_ENVIRONMENT`.", secret=True
    )
    unleash_admin_token: str = _setting(
        "", _text, "Unleash's token for its Admin API: our phases are written by it.", secret=True
    )
    unleash_project: str = _setting("default", _text, "Unleash's project that our phases are written to.")
    unleash_environment: str = _setting(
        "production", _text, "Unleash's environment that decides, and that our phases are written to."
    )
    unleash_streaming: str = _setting(
        "off",
        _choice("on", "off"),
        "`on`: changes are learnt of by Unleash's stream too, where it has one; it is polled in any case.",
    )
    webhooks_private: str = _setting(
        "off", _choice("on", "off"), "`on`: webhooks may be sent to private addresses too, for trying out."
    )
    sandbox: str = _setting(
        "off",
        _choice("auto", "on", "off"),
        "`auto`: the sandbox answers for vendors without a key; `on`: for all; `off`.",
    )
    openai_api_key: str = _setting("", _text, "Key for OpenAI's API: pictures, moderations.", secret=True)
    openai_base_url: str = _setting(
        "", _http_url, "Address of the OpenAI API, with /v1; default: OpenAI's own."
    )
    anthropic_api_key: str = _setting("", _text, "Key for the Anthropic Messages API.", secret=True)
    anthropic_base_url: str = _setting(
        "", _http_url, "Address of the Anthropic API, without /v1; default: Anthropic's own."
    )
    gemini_api_key: str = _setting("", _text, "Key for the Gemini API.", secret=True)
    gemini_base_url: str = _setting("", _http_url, "Address of the Gemini API; default: Google's own.")
    xai_api_key: str = _setting("", _text, "Key for the xAI API.", secret=True)
    xai_base_url: str = _setting("", _http_url, "Address of the xAI API, with /v1; default: xAI's own.")
    cometapi_api_key: str = _setting(
        "", _text, "Key for CometAPI: Midjourney, and others' models.", secret=True
    )
    cometapi_base_url: str = _setting("", _http_url, "Address of CometAPI, without /v1; default: its own.")
    llama_api_key: str = _setting("", _text, "Key for the host of the Llama models.", secret=True)
    llama_base_url: str = _setting(
        "",
        _http_url,
        "Address of the host of the Llama models, with /v1: any that speaks OpenAI's chat completions.",
    )
    compatible_api_key: str = _setting(
        "", _text, "Key for another endpoint that speaks OpenAI's API.", secret=True
    )
    compatible_base_url: str = _setting("", _http_url, "Address of that endpoint, with /v1.")
    bedrock_api_key: str = _setting(
        "", _text, "Key for Amazon Bedrock: a bearer token, or ACCESS_KEY_ID:SECRET_ACCESS_KEY.", secret=True
    )
    bedrock_base_url: str = _setting(
        "", _http_url, "Address of Bedrock's runtime, which names its region; default: us-east-1."
    )
    sandbox_url: str = _setting(
        "",
        _http_url,
        "Sandbox behind the vendors' addresses: it tells what became of calls whose answers were lost.",
    )
    upstream_connect_seconds: int = _setting(5, _whole(1, 120), "How long to wait for a vendor's connection.")
    upstream_read_seconds: int = _setting(300, _whole(1, 3600), "How long to wait for a vendor's answer.")
    upstream_stream_seconds: int = _setting(
        120, _whole(1, 3600), "How long a vendor's stream of text may be silent."
    )
    upstream_look_seconds: int = _setting(
        15, _whole(1, 3600), "How long to wait when a vendor's task is looked at."
    )
    upstream_moderation_seconds: int = _setting(10, _whole(1, 3600), "How long to wait for a moderation.")
    breaker_failures: int = _setting(
        10,
        _whole(0, 100_000),
        "So many failures of a vendor in a minute, if they are half of its calls, keep calls from it for a while; 0: never.",
    )
    upstream_proxy: str = _setting(
        "",
        _http_url,
        "Proxy to all vendors; default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY. NO_PROXY holds for either.",
        secret=True,
    )
    upstream_ca_file: str = _setting(
        "",
        _certificates,
        "PEM file of authorities that vendors' certificates may be of, beside the public ones.",
    )
    upstream_picture_hosts: str = _setting(
        ".cometapi.com,.discordapp.com,.discordapp.net,.midjourney.com",
        _hosts,
        "Whence pictures are fetched that vendors answer with by address: hosts, by commas; `.example.com` is all below it.",
    )
    sync_wait_seconds: int = _setting(
        170,
        _whole(1, 600),
        "How long a call waits for pictures of a vendor that works by tasks; then it is told `still_running`.",
    )
    blobs: str = _setting("", _blobs, "Where pictures are kept; default: `blobs` in `HOME`.")
    retention_days: int = _setting(30, _whole(1, 3650), "How long pictures and results are kept.")
    secret_key: str = _setting(
        "", _secret, "Signs picture links and hashes API keys; made in `HOME` when embedded.", secret=True
    )
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "Least level that is logged."
    )
    log_format: str = _setting(
        "console", _choice("console", "json"), "`json` for machines, `console` for people."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **defaults: Any) -> Settings:
        """Settings from variables over `defaults`. Raises SettingsError with every problem."""
        values, problems = dict(defaults), list[str]()
        for field in dataclasses.fields(cls):
            name = variable(field.name)
            try:
                text = _read(environ, name)
                if text is not None:
                    values[field.name] = field.metadata["parse"](text)
            except (ValueError, OSError) as error:
                problems.append(f"{name} {error}")
        settings, named = cls(**values), {problem.split()[0] for problem in problems}
        problems += [problem for problem in settings._contradictions() if problem.split()[0] not in named]
        if problems:
            raise SettingsError(problems)
        return settings

    @property
    def is_embedded(self) -> bool:
        return not self.database_url.startswith("postgresql")

    @property
    def has_upstream(self) -> bool:
        """Whether an Unleash server decides with us."""
        return self.flags == "unleash"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{Path(self.home).absolute() / 'rollout.db'}"

    @property
    def blob_folder(self) -> Path:
        return (
            Path(self.blobs.removeprefix("file://")) if self.blobs else Path(self.home).absolute() / "blobs"
        )

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.listen}"

    @property
    def places(self) -> dict[str, int]:
        """Calls at once in one worker by class; together below `threads`, so that the rest always finds one."""
        return {
            "generation": self.max_generations or self.threads * 7 // 16,
            "analysis": self.max_analyses or self.threads // 4,
            "stream": self.max_streams or self.threads // 8,
        }

    def _contradictions(self) -> list[str]:
        problems = []
        if self.workers > 1 and self.is_embedded:
            problems.append(
                "ROLLOUT_WORKERS above 1 needs PostgreSQL: set ROLLOUT_DATABASE_URL, or ROLLOUT_WORKERS=1"
            )
        if not self.is_embedded and not self.secret_key:
            problems.append("ROLLOUT_SECRET_KEY is required with PostgreSQL, so that all machines share it")
        if sum(self.places.values()) >= self.threads:
            problems.append(
                "ROLLOUT_MAX_GENERATIONS, ROLLOUT_MAX_ANALYSES and ROLLOUT_MAX_STREAMS together must stay below"
                f" ROLLOUT_THREADS ({sum(self.places.values())} of {self.threads})"
            )
        if self.upstream_connect_seconds > self.upstream_read_seconds:
            problems.append("ROLLOUT_UPSTREAM_CONNECT_SECONDS must not exceed ROLLOUT_UPSTREAM_READ_SECONDS")
        problems += [
            f"{variable(vendor)}_BASE_URL is required with {variable(vendor)}_API_KEY: there is no address that all its hosts share"
            for vendor in ("llama", "compatible")
            if getattr(self, f"{vendor}_api_key") and not getattr(self, f"{vendor}_base_url")
        ]
        return problems + (self._problems_with_unleash() if self.has_upstream else [])

    def _problems_with_unleash(self) -> list[str]:
        problems = [
            f"{variable(name)} is required with ROLLOUT_FLAGS=unleash"
            for name in ("unleash_url", "unleash_token", "unleash_admin_token")
            if not getattr(self, name)
        ]
        wanted, found = self.unleash_environment, _token_environment(self.unleash_token)
        if found is not None and found != wanted:
            problems.append(
                f"ROLLOUT_UNLEASH_TOKEN is a token for the environment {found!r}, not {wanted!r}: take a backend token"
                " of that environment, or set ROLLOUT_UNLEASH_ENVIRONMENT"
            )
        if _token_environment(self.unleash_admin_token) not in (None, "*"):
            problems.append("ROLLOUT_UNLEASH_ADMIN_TOKEN is a token for SDKs: take one for the Admin API")
        return problems


def variable(field: str) -> str:
    return PREFIX + field.upper()


def source(environ: Mapping[str, str], field: str) -> str:
    """Where a setting's value comes from: the variable's name, or `default`."""
    name = variable(field)
    return next((candidate for candidate in (name, f"{name}_FILE") if candidate in environ), "default")


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each `ROLLOUT_*` variable that means nothing here."""
    known = {variable(field.name) for field in dataclasses.fields(Settings)}
    known |= {f"{name}_FILE" for name in known}
    sentences = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences


def _token_environment(token: str) -> str | None:
    """Of `project:environment.secret`; None where the token says nothing of it."""
    scope, dot, _ = token.partition(".")
    _, colon, environment = scope.partition(":")
    return environment if dot and colon else None


def _read(environ: Mapping[str, str], name: str) -> str | None:
    file = environ.get(f"{name}_FILE")
    if file is None:
        return environ.get(name)
    if name in environ:
        raise ValueError(f"and {name}_FILE are both set: remove one")
    return Path(file).read_text(encoding="utf-8")
