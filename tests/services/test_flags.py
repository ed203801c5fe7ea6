"""Flags beyond plans: what is written is served and decided at once; each slip is refused or asked about, with a pointer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from clocks import Clock
from doors import ALICE, wire

from rollout.core.decisions import GENERATION
from rollout.core.flags import PRODUCTION
from rollout.db.engine import Database
from rollout.services.changes import Changes
from rollout.services.flags import Flags
from rollout.services.segments import Segments

EVERYBODY = {"name": "default"}


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    wired = wire(database, clock)
    wired.flags, wired.segments = Flags(database, Changes(database)), Segments(database, Changes(database))
    return wired


def flag(name: str = "new-editor", *strategies: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": name, "enabled": True, "strategies": list(strategies) or [EVERYBODY], **members}


def limited(**constraint: Any) -> dict[str, Any]:
    return {"name": "default", "constraints": [{"contextName": "userId", **constraint}]}


def is_on(services: SimpleNamespace, name: str, environment: str = PRODUCTION, **context: Any) -> bool | None:
    services.state.refresh()
    answer = services.state.snapshot.flags[environment].answer(name, context)
    return None if answer is None else bool(answer["feature_enabled"])


def test_a_flag_is_served_and_decided_at_once(services: SimpleNamespace) -> None:
    services.flags.add(ALICE, flag("new-editor", limited(operator="IN", values=["ana"])), "beta")
    assert is_on(services, "new-editor", userId="ana") is True
    assert is_on(services, "new-editor", userId="bob") is False
    served = services.state.snapshot.gates.document["features"]
    assert [one["name"] for one in served] == [GENERATION, "new-editor"]
    assert served[1] == services.flags.get("new-editor").document
