"""What `rollout demo` seeds, writes and prints. Seeding twice changes nothing; the keys of an earlier `demo.json` are kept."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from rollout.core.audit import Actor
from rollout.core.decisions import ANALYSIS, FEATURES, GENERATION
from rollout.core.tenants import SCOPES, Tenant
from rollout.errors import InvalidApiKey
from rollout.services.registry import Services
from rollout.settings import Settings

ACTOR = Actor("system:demo")
REASON = "demo seed"
WIDE = {"image-day": 500, "image-month": 10_000, "money-month": 500_000_000, "request-minute": 600, "concurrent": 40}
SPENT = 1_000_000
"""What umbrella may spend in its life, and has spent: one dollar in micro-dollars."""

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
_RED_SQUARE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mO4oKBAEmIY1TCqYfhqAABLfxAQegypMgAAAABJRU5ErkJggg=="
)
"""A 16x16 PNG, small enough to paste."""


def at_port(settings: Settings, port: int) -> Settings:
    host = settings.listen.rpartition(":")[0]
    return dataclasses.replace(settings, listen=f"{host}:{port}")


def file(settings: Settings) -> Path:
    return Path(settings.home).absolute() / "demo.json"


def seed(settings: Settings) -> dict[str, Any]:
    """Bring the demo's tenants, plan, grants, meters and keys about; returns what `demo.json` holds."""
    from rollout.app import build

    services = build(settings, connect=True)
    try:
        services.plans.ensure_seed()
        kept = _kept(services, settings)
        for tenant in TENANTS:
            _seed_tenant(services, tenant)
        services.state.refresh()
        keys = {tenant.id: _keys(services, tenant, kept.get("tenants", {}).get(tenant.id, {})) for tenant in TENANTS}
        token = kept.get("admin", {}).get("token") or _token(services)
        services.state.refresh()
        _spend(services, keys["umbrella"]["key"])
        models = {
            kind: [model.name for model in services.catalogue.models if model.feature == feature and services.providers.answers(model)]
            for kind, feature in (("generation", GENERATION), ("analysis", ANALYSIS))
        }
        return {"url": settings.url, "models": models, "admin": {"token": token}, "tenants": keys}
    finally:
        services.close()


def write_file(settings: Settings, seeded: dict[str, Any]) -> None:
    """Readable by its owner only: it holds keys."""
    target = file(settings)
    fresh = target.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(seeded, out, indent=2)
    fresh.replace(target)


def _seed_tenant(services: Services, tenant: Tenant) -> None:
    if services.tenants.page(after=None, limit=1000) and tenant.id in {known.id for known in services.tenants.page(after=None, limit=1000)}:
        return
    services.tenants.add(ACTOR, tenant, REASON)
    for name, cap in _caps(tenant.id).items():
        _meter(services, tenant, GENERATION, name, cap)
    _meter(services, tenant, ANALYSIS, "request-minute", 600)
    if tenant.id != "globex":
        services.grants.add(ACTOR, tenant.id, GENERATION, REASON)
