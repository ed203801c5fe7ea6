"""Unleash's SDK for Node, by address and token alone, as tests/journeys/test_unleash_sdk.py does with the one for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from node import run_script
from processes import Starter, wait_until

from rollout.core.audit import Actor
from rollout.core.flag_tokens import NewFlagToken
from rollout.settings import Settings
from rollout.wiring import build

pytestmark = pytest.mark.node

ANA = Actor("token:ana", "admin")
FLAG = "colours"
OFF = {"name": "disabled", "feature_enabled": False}
BLUE = {"name": "blue", "feature_enabled": True, "payload": {"type": "string", "value": "#00f"}}


def document(user: str) -> dict[str, Any]:
    return {
        "name": FLAG,
        "enabled": True,
        "strategies": [{
            "name": "flexibleRollout",
            "parameters": {"rollout": "100", "stickiness": "default", "groupId": FLAG},
            "constraints": [{"contextName": "userId", "operator": "IN", "values": [user]}],
            "variants": [{
                "name": "blue", "weight": 1000, "weightType": "fix", "stickiness": "default",
                "payload": {"type": "string", "value": "#00f"},
            }],
        }],
    }  # fmt: skip


@pytest.fixture(scope="module")
def seen(shared_starter: Starter, new_database: Callable[..., str]) -> dict[str, Any]:
    """What unleash.mjs saw: ann is let in until both SDKs have said that they are there, then bob is."""
    service = shared_starter.service(new_database("sqlite"))
    with (
        contextlib.closing(build(Settings.from_env(service.environ))) as operator,
        ThreadPoolExecutor(1) as pool,
    ):
        token = operator.flag_tokens.add(ANA, NewFlagToken("node", "client"), "test").secret
        operator.flags.add(ANA, document("ann"), "test", accept_warnings=True)
        environ = {"PHASEGATE_URL": service.url, "TOKEN": str(token), "FLAG": FLAG}
        running = pool.submit(run_script, "unleash.mjs", environ)
        asked = "/flag-clients?environment=production"
        wait_until(
            lambda: running.done() or len(service.admin("GET", asked)["data"]) == 2, "both SDKs", service.log
        )
        operator.flags.put(ANA, FLAG, document("bob"), "test", accept_warnings=True)
        found = running.result()
        metrics = f"/flag-metrics?flag={FLAG}"
        wait_until(lambda: len(apps(service.admin("GET", metrics))) == 2, "their counts", service.log)
        return {**found, "apps": apps(service.admin("GET", metrics))}


def apps(answer: dict[str, Any]) -> set[str]:
    return {row["app_name"] for row in answer["data"]}


@pytest.mark.parametrize("mode", ["polling", "streaming"])
def test_an_sdk_follows_a_change_without_a_warning(seen: dict[str, Any], mode: str) -> None:
    assert seen[mode] == {
        "before": {"ann": True, "bob": False, **BLUE},
        "after": {"ann": False, "bob": True, **OFF},
        "warnings": [],
    }


def test_what_both_counted_is_shown(seen: dict[str, Any]) -> None:
    assert seen["apps"] == {"node-polling", "node-streaming"}
