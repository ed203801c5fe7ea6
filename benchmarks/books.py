"""A large database to ask: what a busy month leaves behind, written by bulk inserts.

The schema is migrated as anywhere; its indexes are set aside while rows are written, and made anew afterwards. Shares are those of a
service in use: a few tenants make most of the calls, a third of them generate, three pictures in ten are rated, one call in twelve is
refused. Only entries are fewer: two a hold, where one with five limits has ten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from rollout.core.audit import Actor, Entry
from rollout.core.decisions import ANALYSIS, FEATURES, GENERATION
from rollout.core.flag_tokens import NewFlagToken
from rollout.core.grants import AccessRequest, Grant, RequestState
from rollout.core.holds import State
from rollout.core.meters import Meter, Period, Unit, window
from rollout.core.steps import Advance, Edit
from rollout.core.tenants import SCOPES, Key, Tenant
from rollout.core.users import NewUser
from rollout.db import access_requests, audit, grants, keys, meters, migrate, revision, tenants
from rollout.services.ids import first_id
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Row = Mapping[str, Any]

ACTOR = Actor("system:benchmark")
EMAIL, PASSWORD = "bench@phasegate.example", "correct horse battery staple"
REASON = "benchmark"
DAY = 86_400
CHUNK = 20_000

WORDS = ("Acme", "Globex", "Initech", "Umbrella", "Hooli", "Soylent", "Stark", "Wayne", "Tyrell", "Cyberdyne")
ZONES = ("UTC", "Asia/Jakarta", "Europe/Berlin")
LIMITS: tuple[tuple[str, Unit, Period, int], ...] = (
    ("image-day", "image", "day", 400),
    ("money-month", "usd_micro", "month", 900_000_000),
    ("minute", "request", "minute", 600),
)
MODELS = {
    GENERATION: (("openai", "gpt-image-2"), ("openai", "gpt-image-2.5-flare")),
    ANALYSIS: (("anthropic", "claude-haiku-5-5"), ("anthropic", "claude-sonnet-5-5")),
}
PROMPT = "a %s at %s, %s, with room for a headline on the left and no people in it"
SUBJECTS, MOMENTS, STYLES = ("fox", "lighthouse", "city"), ("dusk", "noon"), ("oil on canvas", "woodcut")
CODES = {
    "rate_limit_exceeded": (429, 50),
    "insufficient_quota": (429, 20),
    "feature_not_enabled": (403, 20),
    "invalid_request": (400, 10),
}
"""By code the status, and how many of a hundred."""


@dataclass(frozen=True)
class Sizes:
    tenants: int = 500
    holds: int = 1_000_000
    feedback: int = 100_000
    refusals: int = 80_000
    audit: int = 50_000
    access_requests: int = 2_000
    flags: int = 200
    days: int = 30


@dataclass(frozen=True)
class Call:
    """One call as its rows need it; `at` in UTC epoch seconds."""

    number: int
    at: int
    tenant: str
    feature: str
    vendor: str
    model: str
    state: State
    cost: int

    def id(self, prefix: str) -> str:
        return id_at(prefix, self.at, self.number)

    @property
    def made_a_picture(self) -> bool:
        return self.feature == GENERATION and self.state == "settled"


def settings(home: Path) -> Settings:
    return Settings(home=str(home), secret_key="b" * 40, sandbox="on")


def last_call(home: Path) -> int:
    """When the month ended, UTC epoch seconds."""
    with contextlib.closing(sqlite3.connect(_file(home))) as db:
        return int(db.execute("select max(created_at) from hold").fetchone()[0])


def make(home: Path, sizes: Sizes, now: int) -> None:
    """A database in `home` whose month ends at `now`, UTC epoch seconds."""
    home.mkdir(parents=True)
    migrate.upgrade(settings(home).database)
    month = _Month(sizes, now)
    with contextlib.closing(build(settings(home))) as services:
        month.people(services)
        month.flags(services)
    with contextlib.closing(sqlite3.connect(_file(home), isolation_level=None)) as db:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000000", "temp_store=MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        with _indexes_set_aside(db):
            month.calls(db)
            _insert(db, "feedback", month.ratings())
            _insert(db, "figure", month.figures())
            _insert(db, "refusal", month.refusals())
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=WAL")


def id_at(prefix: str, at: int, number: int) -> str:
    """An id made at `at`, another for each number."""
    return f"{prefix}_{_moment(at)}{number:016x}"


class _Month:
    """What is known of the month while its rows are written."""

    def __init__(self, sizes: Sizes, now: int) -> None:
        self.sizes, self.now, self.began = sizes, now, now - sizes.days * DAY
        self.chance = random.Random(7)
        self.tenants = [f"{WORDS[n % len(WORDS)].lower()}-{n:03}" for n in range(sizes.tenants)]
        self.busy = list(accumulate(1 / (rank + 5) for rank in range(sizes.tenants)))
        self.keys = {tenant: id_at("key", self.began, n) for n, tenant in enumerate(self.tenants)}
        self.limits = {tenant: [*self._limits(tenant)] for tenant in self.tenants}
        self.used: Counter[tuple[str, str, int, int | None, int]] = Counter()
        self.pictures: list[Call] = []
        self.thumbs: dict[tuple[Any, ...], list[int]] = {}

    def any_tenant(self) -> str:
        return self.chance.choices(self.tenants, cum_weights=self.busy)[0]

    # -- by the project's own functions ------------------------------------------------------------------------

    def people(self, services: Services) -> None:
        """A user, tenants with keys and limits, grants, access requests, and a long audit chain."""
        services.users.add(ACTOR, NewUser(EMAIL, "Bench", "admin"), REASON, password=PASSWORD)
        with services.changes.begin(ACTOR, REASON) as change:
            services.plans.ensure_plan(change)
        with services.database.write() as tx:
            for number, tenant in enumerate(self.tenants):
                name = f"{WORDS[number % len(WORDS)]} Studios {number}"
                tenants.add(tx, Tenant(tenant, name, ZONES[number % 3], created_at=self.began))
                hash_ = hashlib.sha256(tenant.encode()).hexdigest()
                key = Key(
                    self.keys[tenant], tenant, "main", "live", "rk_live_abcd", hash_, SCOPES, self.began
                )
                keys.add(tx, key)
                for meter in self.limits[tenant]:
                    meters.add(tx, meter)
                if number % 5:
                    id_ = id_at("grt", self.began, number)
                    grants.add(tx, Grant(id_, tenant, GENERATION, "active", self.began, None, REASON))
            for number in range(self.sizes.access_requests):
                access_requests.add(tx, self._wish(number))
            number, end = revision.lock(tx)
            entries = list(self._changes(number, audit.last_seq(tx), end))
            audit.add(tx, entries)
            revision.set_to(tx, number + len(entries), entries[-1].hash())

    def flags(self, services: Services) -> None:
        """Flags, a segment that they use, who asks for them, who is told of changes, and a step that waits for a second person."""
        by_plan = {"contextName": "plan", "operator": "IN", "values": ["pro", "team"]}
        segment = services.segments.add(
            ACTOR, {"name": "paying", "constraints": [by_plan]}, REASON, accept_warnings=True
        ).segment
        for number in range(self.sizes.flags):
            name = f"flag-{number:03}"
            share = {"rollout": "50", "stickiness": "default", "groupId": name}
            strategy = {"name": "flexibleRollout", "parameters": share, "segments": [segment.id]}
            services.flags.add(
                ACTOR, {"name": name, "enabled": True, "strategies": [strategy]}, REASON, accept_warnings=True
            )
        services.flag_tokens.add(ACTOR, NewFlagToken("sdk", "client"), REASON)
        told = services.webhooks.add(
            ACTOR, self.tenants[0], "https://hooks.example/phasegate", [], REASON
        ).webhook
        services.webhooks.test(ACTOR, told.id, REASON)
        services.change_requests.submit(ACTOR, GENERATION, Edit({"four_eyes": True}), REASON)
        services.change_requests.submit(ACTOR, GENERATION, Advance(), REASON)

    def _limits(self, tenant: str) -> Iterator[Meter]:
        for feature in FEATURES:
            for name, unit, period, cap in LIMITS:
                own = name if feature == GENERATION else f"analysis-{name}"
                yield Meter(f"mtr_{tenant}_{own}", tenant, own, "feature", feature, unit, period, "UTC", cap)

    def _wish(self, number: int) -> AccessRequest:
        """Every tenth one waits, of a tenant without a grant, until all of these wait."""
        at = self.began + number * self.sizes.days * DAY // self.sizes.access_requests
        id_, wish = id_at("acc", at, number), "covers for our magazine"
        if number % 10 == 0 and number // 2 < len(self.tenants):
            return AccessRequest(id_, self.tenants[number // 2], GENERATION, "waiting", wish, at)
        answers: tuple[RequestState, ...] = ("approved", "denied", "withdrawn")
        state = self.chance.choice(answers)
        decided = {"decided_by": ACTOR.name, "decided_at": at + 60, "decision_reason": REASON}
        return AccessRequest(id_, self.any_tenant(), GENERATION, state, wish, at, **decided)  # type: ignore[arg-type]

    def _changes(self, number: int, seq: int, end: str) -> Iterator[Entry]:
        for step in range(1, self.sizes.audit + 1):
            meter = self.chance.choice(self.limits[self.any_tenant()])
            at = self.began + step * self.sizes.days * DAY // self.sizes.audit
            entry = Entry(
                seq=seq + step,
                revision=number + step,
                at=at,
                actor=f"user:{step % 20}@phasegate.example",
                action="meter.changed",
                subject=meter.id,
                tenant_id=meter.tenant_id,
                before={"cap": step, "version": step},
                after={"cap": step + 1, "version": step + 1},
                reason="a larger campaign",
                request_id=id_at("req", at, step),
                previous_hash=end,
            )
            end = entry.hash()
            yield entry

    # -- in bulk -----------------------------------------------------------------------------------------------

    def calls(self, db: sqlite3.Connection) -> None:
        """Holds, what was made, their entries, and the buckets that they fill."""
        for first in range(0, self.sizes.holds, CHUNK):
            chunk = [self._call(number) for number in range(first, min(first + CHUNK, self.sizes.holds))]
            lines = [self._lines(call) for call in chunk]
            _insert(db, "hold", map(self._hold, chunk, lines))
            _insert(db, "entry", chain.from_iterable(map(_entries, chunk, lines)))
            generations = [call for call in chunk if call.feature == GENERATION]
            _insert(db, "generation", map(self._generation, generations))
            _insert(db, "analysis", (self._use("anl", call) for call in chunk if call.feature == ANALYSIS))
            _insert(db, "image", map(_image, (call for call in generations if call.made_a_picture)))
            self.pictures += (call for call in generations if call.made_a_picture)
        _insert(db, "bucket", self._buckets())

    def _call(self, number: int) -> Call:
        at = self.began + number * self.sizes.days * DAY // self.sizes.holds
        feature = GENERATION if self.chance.random() < 0.35 else ANALYSIS
        vendor, model = self.chance.choice(MODELS[feature])
        state = self._state(at)
        cost = 0 if state == "void" else self.chance.randrange(2_000, 60_000)
        return Call(number, at, self.any_tenant(), feature, vendor, model, state, cost)

    def _state(self, at: int) -> State:
        if at > self.now - 20:
            return "dispatched"
        chance = self.chance.random()
        if chance < 0.001 and at > self.now - 3_000:
            return "unknown"
        return "void" if chance < 0.04 else "settled"

    def _lines(self, call: Call) -> list[list[Any]]:
        """As a hold keeps them; counted into the buckets on the way."""
        lines: list[list[Any]] = []
        for meter in self.limits[call.tenant]:
            if meter.feature == call.feature and (meter.unit != "image" or call.feature == GENERATION):
                start, ends = _window(meter.period, call.at - call.at % 60)
                amount = call.cost if meter.unit == "usd_micro" else 1
                self.used[call.tenant, meter.id, start, ends, meter.cap] += amount
                lines.append([meter.id, "", start, meter.unit, amount])
        return lines

    def _hold(self, call: Call, lines: list[list[Any]]) -> Row:
        is_open, is_settled = call.state in ("dispatched", "unknown"), call.state == "settled"
        used = {"input": 20, "output": 1_056, "images": 1 if call.made_a_picture else 0}
        return {
            "tenant_id": call.tenant, "id": call.id("hold"), "state": call.state, "feature": call.feature,
            "decision_id": call.id("dec"), "request_id": call.id("req"), "api_key_id": self.keys[call.tenant],
            "attempt": 1, "fingerprint": "v1:" + "0" * 40, "lines": json.dumps(lines), "vendor": call.vendor,
            "model": call.model, "price_id": "price-1", "cost_usd_micro": call.cost,
            "settled_from": "usage" if is_settled else None, "usage": json.dumps(used) if is_settled else None,
            "lease_until": self.now + 3_600 if is_open else None, "upstream_id": f"vendor_{call.number}",
            "created_at": call.at, "settled_at": None if is_open else call.at + 8,
        }  # fmt: skip

    def _use(self, prefix: str, call: Call) -> Row:
        return {
            "tenant_id": call.tenant, "id": call.id(prefix), "hold_id": call.id("hold"), "request_id": call.id("req"),
            "decision_id": call.id("dec"), "api_key_id": self.keys[call.tenant], "feature": call.feature,
            "phase": "private_beta", "run": 1, "vendor": call.vendor, "model": call.model,
            "requested_model": call.model, "mode": "live", "created_at": call.at,
        }  # fmt: skip

    def _generation(self, call: Call) -> Row:
        prompt = PROMPT % tuple(self.chance.choice(words) for words in (SUBJECTS, MOMENTS, STYLES))
        return {**self._use("gen", call), "operation": "generate", "prompt": prompt, "images_asked": 1}

    def _buckets(self) -> Iterator[Row]:
        names = ("tenant_id", "meter_id", "start", "ends", "cap")
        for bucket, used in self.used.items():
            yield {**dict(zip(names, bucket, strict=True)), "subject": "", "used": used, "held": 0}

    def ratings(self) -> Iterator[Row]:
        """Of random pictures, up to two hours after they were made; nearly all that are older than a week are sorted."""
        rated = self.chance.sample(self.pictures, min(self.sizes.feedback, len(self.pictures)))
        for number, call in enumerate(sorted(rated, key=lambda call: call.at)):
            at = min(call.at + self.chance.randrange(60, 7_200), self.now)
            is_bad = self.chance.random() < 0.12
            weights = (30, 65, 5) if at > self.now - 7 * DAY else (2, 93, 5)
            state = self.chance.choices(("open", "resolved", "spam"), weights)[0]
            made_with = (GENERATION, "private_beta", 1, call.vendor, call.model)
            if state != "spam":
                self.thumbs.setdefault((call.tenant, *made_with, at - at % DAY), [0, 0])[is_bad] += 1
            yield {
                "tenant_id": call.tenant, "id": id_at("fb", at, number), "generation_id": call.id("gen"),
                "end_user": f"user-{number % 5_000}", "rating": "down" if is_bad else "up",
                "reasons": '["wrong_text"]' if is_bad else "[]",
                "comment": "the sign says something else" if number % 3 == 0 else None, "state": state,
                **dict(zip(("feature", "phase", "run", "vendor", "model"), made_with, strict=True)),
                "version": 1, "created_at": at, "updated_at": at,
            }  # fmt: skip

    def figures(self) -> Iterator[Row]:
        names = ("tenant_id", "feature", "phase", "run", "vendor", "model", "day", "up", "down")
        for cell, counts in self.thumbs.items():
            yield dict(zip(names, (*cell, *counts), strict=True))

    def refusals(self) -> Iterator[Row]:
        weights = [share for _, share in CODES.values()]
        for number in range(self.sizes.refusals):
            at = self.began + number * self.sizes.days * DAY // self.sizes.refusals
            tenant, code = self.any_tenant(), self.chance.choices(list(CODES), weights)[0]
            yield {
                "tenant_id": tenant, "request_id": id_at("req", at, 10_000_000 + number), "at": at, "method": "POST",
                "route": self.chance.choice(("/v1/images/generations", "/v1/messages")), "status": CODES[code][0],
                "code": code, "message": "image-day is 400 images a day: 400 used, 0 held, and this needs 1.",
                "members": '{"remedy": "Wait for the reset."}', "api_key_id": self.keys[tenant],
            }  # fmt: skip


def _entries(call: Call, lines: list[list[Any]]) -> Iterator[Row]:
    meter_id, subject, start, _, amount = lines[0]
    for kind, d_used, d_held in (("reserve", 0, amount), ("settle", amount, -amount)):
        yield {
            "tenant_id": call.tenant, "id": f"{call.id('ent')}_{kind}", "hold_id": call.id("hold"), "meter_id": meter_id,
            "subject": subject, "start": start, "kind": kind, "d_used": d_used, "d_held": d_held,
            "actor": "system:ledger", "at": call.at,
        }  # fmt: skip


def _image(call: Call) -> Row:
    return {
        "tenant_id": call.tenant, "id": call.id("img"), "generation_id": call.id("gen"), "position": 0,
        "sha256": f"{call.number:064x}", "media_type": "image/png", "bytes": 40_000, "created_at": call.at + 8,
        "expires_at": call.at + 30 * DAY,
    }  # fmt: skip


@lru_cache(maxsize=4_096)
def _moment(at: int) -> str:
    """How ids made then begin, behind their prefix."""
    return first_id("id", at)[3:-16]


@lru_cache(maxsize=4_096)
def _window(period: Period, minute: int) -> tuple[int, int | None]:
    return window(period, "UTC", minute)


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """All rows have the same columns; those that are not named are null."""
    found = iter(rows)
    first = next(found, None)
    if first is None:
        return
    columns, values = ", ".join(f'"{name}"' for name in first), ", ".join(f":{name}" for name in first)
    db.executemany(f'insert into "{table}" ({columns}) values ({values})', chain([first], found))


@contextlib.contextmanager
def _indexes_set_aside(db: sqlite3.Connection) -> Iterator[None]:
    query = "select name, sql from sqlite_master where type = 'index' and sql is not null"
    kept = db.execute(query).fetchall()
    for name, _ in kept:
        db.execute(f'drop index "{name}"')
    yield
    for _, sql in kept:
        db.execute(sql)


def _file(home: Path) -> str:
    return settings(home).database.removeprefix("sqlite:///")
