"""`rollout demo` from nothing: what it prints works as pasted, what it writes is private, a second run keeps the keys."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import sqlalchemy as sa
from processes import REPOSITORY, Starter, base_environ, rollout

from rollout.cli import demonstration, history
from rollout.core.feedback import Wanted
from rollout.db import migrate
from rollout.db.tables import metadata
from rollout.settings import Settings
from rollout.wiring import build

DAY = 86_400

COMMAND = re.compile(r"^  \$ (.+)$", re.MULTILINE)


KEPT = ("tenants", "admin", "unleash")


def test_every_printed_command_works_as_pasted_and_a_second_run_keeps_the_keys(
    tmp_path: Path, starter: Starter
) -> None:
    running = starter.demo(tmp_path / "home")
    file = tmp_path / "home" / "demo.json"
    demo = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(demo["tenants"]) >= {"acme", "globex", "initech", "umbrella"}
    assert {"id", "name", "key", "test_key"} <= set(demo["tenants"]["acme"])
    assert demo["url"] in running.output()
    assert set(demo["admin"]) == {"email", "password", "token"}
    assert set(demo["unleash"]) == {"url", "client_token", "frontend_token"}
    assert demo["console"] in running.output()

    commands = COMMAND.findall(running.output())
    answers = [pasted(command) for command in commands]
    for expected, answer in zip(
        (
            "/api/v1/images/img_",
            "end_turn",
            "feature_not_enabled",
            "waiting",
            "globex",
            "active",
            "image-day",
            '"inlineSegmentConstraints":true',
            "clean",
        ),
        answers,
        strict=True,
    ):
        assert expected in answer, answers
    assert "/api/v1/images/img_" in pasted(commands[2]), "globex was let in and still cannot generate"

    assert running.stop(signal.SIGINT) == 0
    again = starter.demo(tmp_path / "home")
    assert again.stop(signal.SIGTERM) == 0
    kept = json.loads(file.read_text())
    demo["unleash"]["url"] = f"{kept['url']}/api"  # at another port
    assert [kept[name] for name in KEPT] == [demo[name] for name in KEPT]
    assert kept["console"] != demo["console"], "a link that was used would be printed again"


def test_two_partners_have_three_weeks_behind_them_and_the_others_have_not_begun(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    migrate.upgrade(settings.database)
    tenants = seeded(settings)
    with contextlib.closing(build(settings)) as services:
        assert tenants == {"acme", "globex", "initech", "umbrella", "hooli", "soylent"}
        now = time.time()
        said = list(services.feedback.every(Wanted()))
        assert 40 <= len(said) <= 60
        assert {item.tenant_id for item in said} == {"hooli", "soylent"}
        assert {item.phase for item in said} == {"internal", "private_beta"}
        assert len({item.model for item in said}) == 2
        assert {item.opinion.rating for item in said} == {"up", "down"}
        assert {item.state for item in said} == {"open", "resolved", "spam"}
        assert min(item.created_at for item in said) < now - 20 * DAY
        assert max(item.created_at for item in said) > now - DAY
        assert all(item.picture for item in services.feedback.inbox(Wanted(), before=None, limit=100))

        asked = [one.request for one in services.access.page(after=None, limit=100)]
        assert [(one.tenant_id, one.state) for one in asked] == [
            ("hooli", "approved"), ("soylent", "denied"), ("soylent", "approved"), ("soylent", "waiting"),
        ]  # fmt: skip
        unknown = services.ledger.holds(tenant=None, state="unknown", cursor=None, limit=100)
        assert sorted(hold.tenant_id for hold in unknown) == ["hooli", "soylent"]
        assert len({refusal.code for refusal in services.requests.page(limit=100)}) >= 4
        assert services.usage.overview("hooli", None, None, None).total.images >= 10
        for tenant in ("acme", "globex", "initech"):
            assert services.ledger.holds(tenant=tenant, state=None, cursor=None, limit=1) == []

        assert services.plans.list()[0]["run"]["phase"] == "private_beta"
        needs = services.overview.needs_you()
        assert all((needs.asked, needs.full, needs.doubt, needs.bad))
        times = [row["at"] for row in services.audit.page(limit=1000)]
        assert times == sorted(times, reverse=True)
        assert services.audit.verify() is None
        assert services.ledger.verify() == []


def test_seeding_twice_changes_nothing(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    migrate.upgrade(settings.database)
    seeded(settings)
    before = counts(settings)
    seeded(settings)
    assert counts(settings) == before


def seeded(settings: Settings) -> set[str]:
    history.live_through(settings)
    found = demonstration.seed(settings)
    demonstration.write_file(settings, found)
    return set(found["tenants"])


def counts(settings: Settings) -> dict[str, int]:
    """Rows by table, but those by which each start lets its admin in anew."""
    with contextlib.closing(build(settings)) as services, services.database.read() as tx:
        rows = {
            name: tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }
    return {
        name: count
        for name, count in rows.items()
        if name not in ("audit", "sign_in_link", "sign_in_failure")
    }


def pasted(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        env=base_environ(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_a_port_in_use_makes_the_demo_take_the_next_and_serve_refuse(
    tmp_path: Path, starter: Starter
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = rollout(
            "serve", environ={"ROLLOUT_HOME": str(tmp_path / "serve"), "ROLLOUT_LISTEN": f"127.0.0.1:{port}"}
        )
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
        assert "Traceback" not in refused.stderr
        running = starter.demo(tmp_path / "home", port)
        assert not running.url.endswith(f":{port}")
