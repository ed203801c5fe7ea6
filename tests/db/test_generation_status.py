"""The status of a generation in SQL is the one that core computes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from clocks import Clock
from gateway import Gateway

from rollout.core.generation_jobs import STATUSES
from rollout.core.holds import ANSWERED
from rollout.db import generation_jobs
from rollout.db.engine import Database
from rollout.db.tables import generation_job, hold

STATES = ("held", "dispatched", "unknown", "void", "settled")
RESOLUTIONS = (None, ANSWERED, "a person said so")


def test_each_status_finds_the_generations_that_have_it(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    gateway = Gateway(database, clock, tmp_path)
    door = gateway.door()
    made = door.post("/api/v1/generations", {"prompt": "a fox"}).json["id"]
    assert door.generate().status_code == 200
    jobs = (
        {},
        {"task_id": "17"},
        {"error": {"code": "feature_killed"}},
        {"cancelled_at": 1},
        None,
    )
    for state, resolution, images, job in itertools.product(STATES, RESOLUTIONS, (0, 1), jobs):
        with database.write() as tx:
            lease = None if state in ("void", "settled") else 1
            settled = {"usage": {"images": images}} if state == "settled" else {"usage": None}
            tx.execute(
                sa.update(hold).values(state=state, lease_until=lease, resolution=resolution, **settled)
            )
            values: dict[str, Any] = {"task_id": None, "error": None, "cancelled_at": None, **(job or {})}
            tx.execute(sa.update(generation_job).values(**values))
        with database.read() as tx:
            everything = generation_jobs.page(tx, tenant="acme", before=None, limit=10)
            found = {
                status: {
                    one.generation.id
                    for one in generation_jobs.page(tx, tenant="acme", status=status, before=None, limit=10)
                }
                for status in STATUSES
            }
        assert len(everything) == 2
        for one in everything:
            assert [status for status in STATUSES if one.generation.id in found[status]] == [one.status]
        assert any(one.generation.id == made for one in everything)
