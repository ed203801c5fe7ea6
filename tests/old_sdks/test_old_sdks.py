"""The SDKs of former generations, which partners still run, by base URL and key alone; and on streams that the vendor breaks."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_streams import ROUTES, ROWS, Row, body, png
from processes import Starter, base_environ, give_up

import dev

NOT_FOUND = {"error": "NotFoundError", "code": "not_found"}
GIVEN = {
    "versions": ["1.109.1", "0.125.0"],
    "generate": 2,
    "generate, streamed": ["image_generation.partial_image", "image_generation.completed"],
    "edit": 1,
    "edit, streamed": ["image_edit.completed"],
    "message, raw events": "message_stop",
    "chat, streamed": [True, 0],
    "moderations": [1, 2, 1],
    "models": [True, True],
    "variation": NOT_FOUND,
    "files": NOT_FOUND,
    "batches": NOT_FOUND,
    "message batches": NOT_FOUND,
    "message files": NOT_FOUND,
    "used up": {"error": "RateLimitError", "code": "insufficient_quota"},
}


@pytest.fixture(scope="module")
def told(shared_starter: Starter, new_database: Callable[..., str]) -> dict[str, Any]:
    """What each call of calls.py gave."""
    if not dev.old_sdks_stamp().exists():
        give_up("NOT TESTED WITH OLD SDKS: `python3 dev.py test` fetches them")
    service = shared_starter.service(
        new_database("sqlite"), vendor=shared_starter.vendor(), breaker_failures=1_000
    )
    environ = base_environ() | {
        "PYTHONPATH": str(dev.OLD_SDKS),
        "PHASEGATE_URL": service.url,
        "ACME": service.key("acme"),
        "UMBRELLA": service.key("umbrella"),
        "PICTURE": base64.b64encode(png()).decode(),
        "BODIES": json.dumps({route: {row.fault: body(route, row) for row in ROWS} for route in ROUTES}),
    }
    done = subprocess.run(
        [sys.executable, "-"], input=Path(__file__).with_name("calls.py").read_text(), env=environ,
        cwd=dev.OLD_SDKS, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", GIVEN)
def test_each_call_gives_what_todays_sdks_get(told: dict[str, Any], name: str) -> None:
    assert told[name] == GIVEN[name]


@pytest.mark.parametrize("name", ["message", "message, streamed", "llama-3.2-90b-vision", "grok-4"])
def test_an_analysis_tells_what_is_in_the_picture(told: dict[str, Any], name: str) -> None:
    assert "64x64 pixels" in told[name]


def test_tokens_of_a_message_are_counted(told: dict[str, Any]) -> None:
    assert told["tokens"] > 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
@pytest.mark.parametrize("route", ROUTES)
def test_a_broken_stream_is_the_sdks_own_error(told: dict[str, Any], route: str, row: Row) -> None:
    within = "APIStatusError" if route == "messages" else "APIError"
    assert told["broken"][route][row.fault] == {
        "error": "InternalServerError" if row.status else within,
        "code": row.code,
    }
