"""What would change a decision is done by the services that people use, and the decision is another one."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock
from doors import ACME, ALICE, BOB, GLOBEX

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.plans import Percentage
from rollout.core.steps import Edit, Jump, Restart, RollBack
from rollout.core.times import epoch
from rollout.db import plans, tables
from rollout.errors import FeatureKilled, FeatureNotEnabled, InvalidRequest
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

WORLDS = 16
DAY = 86_400
PROGRAMS = ({}, {"program": "beta"}, {"program": "beta", "seats": "40"}, {"seats": "5"})
PHASES = [
    {"key": "internal", "title": "Internal", "audience": {"kind": "granted", "cohorts": ["internal"]}},
    {"key": "partners", "title": "Partners", "audience": {"kind": "granted"}},
    {
        "key": "beta",
        "title": "Beta",
        "audience": {
            "kind": "segment",
            "constraints": [
                {"contextName": "program", "operator": "STR_STARTS_WITH", "values": ["be"]},
                {"contextName": "seats", "operator": "NUM_GTE", "value": "20"},
            ],
        },
    },
    {
        "key": "share",
        "title": "Share",
        "audience": {
            "kind": "percentage",
            "basis_points": 3_000,
            "filter": [{"contextName": "seats", "operator": "NUM_GT", "value": "10"}],
        },
    },
    {"key": "half", "title": "Half", "audience": {"kind": "percentage", "basis_points": 5_000}},
    {"key": "all", "title": "All", "audience": {"kind": "all"}},
]


@contextlib.contextmanager
def world(file: Path, clock: Clock) -> Iterator[Services]:
    """The services on a copy: what is done in it is done to nobody else's."""
    copy = file.with_name("copy.db")
    shutil.copyfile(file, copy)
    with contextlib.closing(_services(copy, clock)) as services:
        yield services


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> list[Path]:
    """Plans and tenants, and what chance did to them; the same each time."""
    return [
        _made(tmp_path_factory.mktemp("world") / "world.db", sqlite_template, number)
        for number in range(WORLDS)
    ]


def _made(file: Path, template: Path, number: int) -> Path:
    shutil.copyfile(template, file)
    with contextlib.closing(_services(file, Clock())) as services:
        for tenant in (ACME, GLOBEX):
            services.tenants.add(ALICE, tenant, "begin")
        services.plans.add(ALICE, GENERATION, "begin", phases=PHASES)
        with services.database.write() as tx:
            tx.execute(sa.update(tables.plan).values(salt=f"salt {number}"))
        _begin(services, random.Random(number))
    return file


def _services(file: Path, clock: Clock) -> Services:
    settings = Settings(home=str(file.parent), database_url=f"sqlite:///{file}", secret_key="s" * 40)
    return build(settings, clock=clock)


def _begin(services: Services, chance: random.Random) -> None:
    for _ in range(chance.randint(0, 2)):
        with contextlib.suppress(InvalidRequest):
            target = chance.choice([phase["key"] for phase in PHASES])
            services.change_requests.submit(BOB, GENERATION, Jump(target), "begin")
    for tenant in ("acme", "globex"):
        services.tenants.change(ALICE, tenant, {"attributes": chance.choice(PROGRAMS)}, "begin")
        if chance.random() < 0.5:
            given = services.grants.add(
                ALICE,
                tenant,
                GENERATION,
                "pilot of initech, 4711 pictures",
                cohort=chance.choice([None, "internal", "early"]),
                expires_at=chance.choice([None, int(services.database.clock()) + DAY]),
            )
            if chance.random() < 0.2:
                services.grants.revoke(ALICE, given.id, "over")
        if chance.random() < 0.2:
            services.features.kill(BOB, GENERATION, "abuse by initech", tenant=tenant, wait=0)
    for feature in (GENERATION, ANALYSIS):
        if chance.random() < 0.2:
            services.features.kill(BOB, feature, "fire at initech", wait=0)


def carry_out(services: Services, clock: Clock, tenant: str, feature: str, act: Mapping[str, Any]) -> None:
    """By the service that a person would use; for time, by waiting."""
    match act:
        case {"do": "revive"}:
            services.features.revive(ALICE, act["feature"], "as told", tenant=act["tenant"], wait=0)
        case {"do": "kill"}:
            services.features.kill(ALICE, act["feature"], "as told", tenant=act["tenant"], wait=0)
        case {"do": "grant"}:
            if act["instead_of"]:
                services.grants.revoke(ALICE, act["instead_of"], "as told")
            services.grants.add(ALICE, tenant, feature, "as told", cohort=act["cohort"])
        case {"do": "revoke"}:
            services.grants.revoke(ALICE, act["grant"], "as told")
        case {"do": "wait"}:
            clock.now = epoch(act["at"])
        case {"do": "attribute"}:
            attributes = {**services.tenants.get(tenant).attributes, act["name"]: act["value"]}
            kept = {name: value for name, value in attributes.items() if value is not None}
            services.tenants.change(ALICE, tenant, {"attributes": kept}, "as told")
        case {"do": "reach"}:
            services.change_requests.submit(ALICE, feature, Jump(act["phase"]), "as told")
        case {"do": "rollback"}:
            services.change_requests.submit(ALICE, feature, RollBack(act["phase"]), "as told")
        case {"do": "share"}:
            _widen(services, feature, act["phase"], act["basis_points"])


def _widen(services: Services, feature: str, key: str, points: int) -> None:
    """A later phase by an edit, the one at which the plan stands by restarting it."""
    with services.database.read() as tx:
        running = plans.get(tx, feature)
    assert running is not None
    later = {
        phase.key: {"audience": {"basis_points": max(points, phase.audience.basis_points)}}
        for phase in running.plan.phases[running.plan.position(key) :]
        if isinstance(phase.audience, Percentage)
    }
    here = later.pop(running.phase.key, None)
    if later:
        services.change_requests.submit(ALICE, feature, Edit({"phases": later}), "as told")
    if here:
        services.change_requests.submit(ALICE, feature, Restart(here), "as told")


def test_each_way_is_true_when_people_carry_it_out(worlds: list[Path]) -> None:
    done: set[str] = set()
    for number, file in enumerate(worlds):
        feature = GENERATION if number % 6 else ANALYSIS
        with world(file, Clock()) as services:
            found = services.explain.explain("acme", feature)
        for way in random.Random(number).sample(found["ways"], min(3, len(found["ways"]))):
            acts = sorted(way["acts"], key=lambda act: act["do"] == "reach")
            clock = Clock()
            with world(file, clock) as services:
                for act in acts:
                    carry_out(services, clock, "acme", feature, act)
                after = services.explain.explain("acme", feature)["decision"]
            assert after["allowed"] is not found["decision"]["allowed"], (number, acts, after)
            done |= {act["do"] for act in acts}
    assert done == {"revive", "kill", "grant", "revoke", "attribute", "reach", "rollback", "share", "wait"}


def test_what_a_partner_reads_is_what_the_refusal_says_and_names_nobody_else(worlds: list[Path]) -> None:
    refused = set()
    for file in worlds:
        with world(file, Clock()) as services:
            services.state.refresh()
            for tenant, feature in (("acme", GENERATION), ("globex", GENERATION), ("acme", ANALYSIS)):
                facts = services.state.fresh_facts(tenant)
                told = services.features.describe(facts, feature)
                assert services.explain.explain(tenant, feature)["partner"]["detail"] == told["detail"]
                text = f"{told['detail']} {told.get('how_to_enable', '')}"
                other = "globex" if tenant == "acme" else "acme"
                for secret in (
                    other,
                    "initech",
                    "4711",
                    "%",
                    "3000",
                    "30",
                    "50",
                    "token:",
                    "seats",
                    "program",
                ):
                    assert secret not in text
                if told["enabled"]:
                    continue
                with pytest.raises((FeatureNotEnabled, FeatureKilled)) as refusal:
                    services.features.require(facts, feature)
                members = refusal.value.members
                assert (members["detail"], members["reason"]) == (told["detail"], told["reason"])
                assert members.get("how_to_enable") == told.get("how_to_enable")
                assert "initech" not in refusal.value.message
                refused.add(told["reason"])
    assert refused >= {"killed", "tenant_halted", "not_granted", "not_in_phase"}
