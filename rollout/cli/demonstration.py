"""What `rollout demo` seeds, writes and prints. Seeding twice changes nothing; the keys of an earlier `demo.json` are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from rollout.cli import history
from rollout.core.audit import Actor
from rollout.core.catalogue import Catalogue
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.flag_tokens import KINDS, Kind, NewFlagToken
from rollout.core.sessions import sign_in_url
from rollout.core.tenants import Mode, NewKey, Tenant
from rollout.core.tokens import NewToken
from rollout.core.users import NewUser
from rollout.errors import InvalidApiKey, NotFound, RolloutError
from rollout.providers.base import Providers
from rollout.services import providers
from rollout.services.calls import Call
from rollout.services.generate import Asked
from rollout.services.ids import new_id
from rollout.services.registry import Services
from rollout.settings import Settings

ACTOR = Actor("system:demo")
REASON = "demo seed"
EMAIL = "admin@phasegate.example"
WIDE = {
    "image-day": 500,
    "image-month": 10_000,
    "money-month": 500_000_000,
    "request-minute": 600,
    "concurrent": 40,
}
SPENT = 900_000
"""What umbrella may spend in its life, and has spent, in micro-dollars."""

TENANTS = (
    Tenant("acme", "Acme Studios", "Europe/Berlin", attributes={"program": "beta"}),
    Tenant("globex", "Globex Media", "America/New_York"),
    Tenant("initech", "Initech", "Asia/Jakarta"),
    Tenant("umbrella", "Umbrella Press", "UTC"),
)
STORY = {
    "acme": "in the beta, wide quota",
    "globex": "not in the beta, has not asked",
    "initech": "in the beta, 3 images a day",
    "umbrella": "in the beta, money used up",
}
_UNITS = {
    "image-day": ("image", "day"), "image-month": ("image", "month"), "money-month": ("usd_micro", "month"),
    "money-life": ("usd_micro", "life"), "request-minute": ("request", "minute"), "concurrent": ("slot", "concurrent"),
}  # fmt: skip
_RED_SQUARE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mO4oKBAEmIY1TCqYfhqAABLfxAQegypMgAAAABJRU5ErkJggg=="
"""A 16x16 PNG, small enough to paste."""


def at_port(settings: Settings, port: int) -> Settings:
    host = settings.listen.rpartition(":")[0]
    return dataclasses.replace(settings, listen=f"{host}:{port}")


def file(settings: Settings) -> Path:
    return Path(settings.home).absolute() / "demo.json"


def seed(settings: Settings) -> dict[str, Any]:
    """Bring the demo's tenants, plan, grants, meters and keys about; returns what `demo.json` holds."""
    from rollout.wiring import build

    # Seeding must never spend money at a vendor, nor wait for an Unleash server: that is written to later.
    alone = dataclasses.replace(settings, sandbox="on", flags="embedded")
    with contextlib.closing(build(alone, connect=True)) as services:
        with services.changes.begin(ACTOR, REASON) as change:
            services.plans.ensure_plan(change)
        known = {tenant.id for tenant in services.tenants.page(after=None, limit=1000)}
        for tenant in TENANTS:
            if tenant.id not in known:
                _add_tenant(services, tenant)
        _add_flag(services)
        services.state.refresh()
        kept = _kept(settings)
        with_history = [tenant for tenant in history.TENANTS if tenant.id in known]
        tenants = {tenant.id: _access(services, tenant, kept) for tenant in (*TENANTS, *with_history)}
        token = kept.get("admin", {}).get("token")
        admin = {
            "email": EMAIL,
            "password": _password(services, kept.get("admin", {}).get("password")),
            "token": token if _opens(services.tokens.identify, token) else _new_token(services),
        }
        services.state.refresh()
        if "umbrella" not in known:
            _spend(services, tenants["umbrella"]["key"])
        return {
            "url": settings.url,
            "console": _console(services, settings),
            "models": _models(services.catalogue(), providers.connect(settings)),
            "admin": admin,
            "unleash": {"url": f"{settings.url}/api", **_flag_tokens(services, kept)},
            "tenants": tenants,
        }


def write_file(settings: Settings, seeded: dict[str, Any]) -> None:
    """`demo.json` in the home folder, readable by its owner only: it holds keys."""
    target = file(settings)
    fresh = target.with_suffix(".new")
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as out:
        json.dump(seeded, out, indent=2)
    fresh.replace(target)


def show(settings: Settings, seeded: dict[str, Any]) -> None:
    """Print the way into the console, whose keys there are, and commands to paste (lines that begin with `$`)."""
    tenants, url = seeded["tenants"], seeded["url"]
    click.echo(f"\nConsole (this link signs you in once, within a day):\n  {seeded['console']}\n")
    click.echo(f"Phasegate is on {url}    (docs: {url}/docs, reference: {url}/openapi.json)\n")
    for tenant in TENANTS:
        click.echo(f"  {tenant.id:<9} {STORY[tenant.id]:<34} {tenants[tenant.id]['key']}")
    click.echo("  hooli and soylent have three weeks behind them; their keys are in demo.json")
    click.echo(f"  {'admin':<9} {'token of the admin API':<34} {seeded['admin']['token']}\n")
    for what, command in _commands(settings, seeded):
        click.echo(f"{what}:\n  $ {command}\n")
    click.echo(
        f"Keys and addresses: {file(settings)}. Data: {Path(settings.home).absolute()}; delete it to begin anew."
    )
    if not any(
        getattr(settings, f"{vendor}_{what}")
        for vendor in providers.VENDORS
        for what in ("api_key", "base_url")
    ):
        click.echo("No vendor keys: the sandbox answers, its pictures say so, and nothing costs anything.")
    click.echo("Ctrl-C stops.")
    sys.stdout.flush()


def _commands(settings: Settings, seeded: dict[str, Any]) -> Iterator[tuple[str, str]]:
    url = seeded["url"]
    picture = {
        "prompt": "a lighthouse at dusk",
        "size": "1024x1024",
        "quality": "low",
        "response_format": "url",
    }
    source = {"type": "base64", "media_type": "image/png", "data": _RED_SQUARE}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    question = {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": content}],
    }
    wish = {"feature": GENERATION, "use_case": "covers for our magazine"}
    keys = {name: tenant["key"] for name, tenant in seeded["tenants"].items()}
    yield (
        "acme generates a picture (open the url in the answer)",
        _curl(url, "/v1/images/generations", keys["acme"], picture),
    )
    yield (
        "umbrella's money is spent, and it analyses all the same",
        _curl(url, "/v1/messages", keys["umbrella"], question),
    )
    yield "globex is refused, and told why", _curl(url, "/v1/images/generations", keys["globex"], picture)
    yield "globex asks for access", _curl(url, "/api/v1/access-requests", keys["globex"], wish)
    yield "you see who asks", f"{_rollout(settings)} access-requests list"
    yield (
        "you let globex in, and its next picture succeeds",
        f"{_rollout(settings)} grants add globex {GENERATION} --reason 'a good use case'",
    )
    yield "what initech has left", f"curl -s {url}/api/v1/quotas -H 'Authorization: Bearer {keys['initech']}'"
    asks = f"curl -s {url}/api/client/features -H 'Authorization: {seeded['unleash']['client_token']}'"
    yield "what Unleash's SDKs are given", asks
    yield "the books", f"{_rollout(settings)} ledger verify"


def _curl(url: str, path: str, key: str, body: dict[str, Any]) -> str:
    version = " -H 'anthropic-version: 2023-06-01'" if path == "/v1/messages" else ""
    return (
        f"curl -s {url}{path} -H 'Authorization: Bearer {key}'{version} -H 'Content-Type: application/json'"
        f" -d {shlex.quote(json.dumps(body))}"
    )


def _rollout(settings: Settings) -> str:
    """The command line on this demo's database, as it can be typed from here."""
    beside = Path(sys.executable).with_name("rollout")
    program = (
        os.path.relpath(beside) if beside.exists() else f"{shlex.quote(sys.executable)} -m rollout.cli.main"
    )
    home = Path(settings.home).absolute()
    return (
        program if home == Path(".rollout").absolute() else f"ROLLOUT_HOME={shlex.quote(str(home))} {program}"
    )


def _add_tenant(services: Services, tenant: Tenant) -> None:
    services.tenants.add(ACTOR, tenant, REASON)
    for name, cap in _caps(tenant.id).items():
        unit, period = _UNITS[name]
        fields = {"feature": GENERATION, "unit": unit, "period": period, "cap": cap, "name": name}
        services.meters.add(ACTOR, tenant.id, fields, REASON)
    analyses = {
        "feature": ANALYSIS,
        "unit": "request",
        "period": "minute",
        "cap": 600,
        "name": "analysis-minute",
    }
    services.meters.add(ACTOR, tenant.id, analyses, REASON)
    if tenant.id != "globex":
        services.grants.add(ACTOR, tenant.id, GENERATION, REASON)


def _add_flag(services: Services) -> None:
    """A flag beyond the plans, for whom a segment names and a quarter of the others."""
    if any(services.flags.page(archived=archived, cursor=None, limit=1) for archived in (False, True)):
        return
    named = {"contextName": "userId", "operator": "IN", "values": ["ana", "budi"]}
    testers = {
        "name": "testers",
        "description": "Who tries things first",
        "constraints": [named],
    }
    segment = services.segments.add(ACTOR, testers, REASON).segment
    document = {
        "name": "new-editor",
        "description": "The editor with layers",
        "enabled": True,
        "strategies": [
            {"name": "default", "segments": [segment.id]},
            {"name": "flexibleRollout", "parameters": {"rollout": "25"}},
        ],
    }
    services.flags.add(ACTOR, document, REASON)


def _caps(tenant: str) -> dict[str, int]:
    """What its generation may use; globex gets its quota when it is let in, from the phase."""
    if tenant == "globex":
        return {}
    return WIDE | {"initech": {"image-day": 3}, "umbrella": {"money-life": SPENT}}.get(tenant, {})


def _access(services: Services, tenant: Tenant, kept: dict[str, Any]) -> dict[str, str]:
    """A live and a test key; those of an earlier demo stay as long as they open."""
    before = kept.get("tenants", {}).get(tenant.id, {})
    modes: dict[str, Mode] = {"key": "live", "test_key": "test"}
    keys = {
        name: before[name]
        if _opens(services.state.identify, before.get(name))
        else _new_key(services, tenant, mode)
        for name, mode in modes.items()
    }
    return {"id": tenant.id, "name": tenant.name, **keys}


def _new_key(services: Services, tenant: Tenant, mode: Mode) -> str:
    return str(services.keys.add(ACTOR, tenant.id, NewKey(f"demo {mode}", mode), REASON).secret)


def _new_token(services: Services) -> str:
    return str(services.tokens.add(ACTOR, NewToken("demo", "admin"), REASON).secret)


def _flag_tokens(services: Services, kept: dict[str, Any]) -> dict[str, str]:
    """A token for servers, and one for acme's frontends; those of an earlier demo stay as long as they open."""
    before, found = kept.get("unleash", {}), dict[str, str]()
    for kind in KINDS:
        text = before.get(f"{kind}_token")
        opens = _opens(functools.partial(services.flag_tokens.identify, kind=kind), text)
        found[f"{kind}_token"] = text if opens else _new_flag_token(services, kind)
    return found


def _new_flag_token(services: Services, kind: Kind) -> str:
    new = NewFlagToken(f"demo {kind}", kind, tenant_id="acme" if kind == "frontend" else None)
    return str(services.flag_tokens.add(ACTOR, new, REASON).secret)


def _password(services: Services, kept: str | None) -> str:
    """The password of the demo's admin: the one of an earlier demo as long as it opens."""
    try:
        user = services.users.by_email(EMAIL)
    except NotFound:
        user = services.users.add(ACTOR, NewUser(EMAIL, "Demo admin", "admin"), REASON)
    services.users.enable(ACTOR, user.id, REASON)
    if kept is not None:
        with contextlib.suppress(RolloutError):
            services.sessions.check(EMAIL, kept, "demo")
            return kept
    fresh = secrets.token_urlsafe(12)
    services.users.set_password(ACTOR, user.id, fresh, REASON)
    return fresh


def _console(services: Services, settings: Settings) -> str:
    user = services.users.by_email(EMAIL)
    return sign_in_url(settings.url, str(services.users.link(ACTOR, user.id, REASON)))


def _opens(identify: Callable[[str], object], text: str | None) -> bool:
    try:
        return bool(text and identify(text))
    except InvalidApiKey:
        return False


def _spend(services: Services, key: str) -> None:
    """Umbrella's money goes the way all money goes: by a generation that costs all of it."""
    call = Call(services.state.identify(key), new_id("req"), fingerprint="demo")
    prompt = f"sandbox:cost={SPENT} the picture that took all the money"
    members = {"prompt": prompt, "size": "1024x1024", "quality": "low", "n": 1}
    asked = Asked(
        "generate", {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}
    )
    services.generate.run(call, asked)


def _models(catalogue: Catalogue, vendors: Providers) -> dict[str, list[str]]:
    """The models that somebody answers for, by what they are for."""
    return {
        kind: [
            model.name
            for model in catalogue.models
            if model.feature == feature and model.is_open and vendors.answers(model)
        ]
        for kind, feature in (("generation", GENERATION), ("analysis", ANALYSIS))
    }


def _kept(settings: Settings) -> dict[str, Any]:
    """What an earlier demo wrote; nothing when there is none or it cannot be read."""
    try:
        found = json.loads(file(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
