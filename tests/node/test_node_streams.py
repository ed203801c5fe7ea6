"""A stream that the vendor breaks, as the official SDKs for Node raise it: at once, after one call upstream."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from broken_streams import ROUTES, ROWS, Row, body, png
from node import run_script
from processes import Starter, clear_journal, upstream_calls

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def told(shared_starter: Starter, new_database: Callable[..., str]) -> dict[str, Any]:
    """What each SDK made of each row; and how many calls there were upstream."""
    vendor = shared_starter.vendor()
    service = shared_starter.service(new_database("sqlite"), vendor=vendor, breaker_failures=1_000)
    clear_journal(vendor)
    bodies = {route: {row.fault: body(route, row) for row in ROWS} for route in ROUTES}
    picture = base64.b64encode(png()).decode()
    environ = {
        "PHASEGATE_URL": service.url,
        "ACME": service.key("acme"),
        "PICTURE": picture,
        "BODIES": bodies,
    }
    return run_script("streams.mjs", environ) | {"upstream_calls": upstream_calls(vendor)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
@pytest.mark.parametrize("route", ROUTES)
def test_a_broken_stream_is_the_sdks_own_error_after_one_call(
    told: dict[str, Any], route: str, row: Row
) -> None:
    raised = told[route][row.fault]
    assert (raised.get("error_code") or raised["code"]) == row.code
    assert ("InternalServerError" if row.status else "APIError") in raised["kinds"]
    assert raised.get("status") == row.status
    assert raised["calls"] == 1
    assert raised["hold_id"].startswith("hold_")


def test_no_call_was_sent_upstream_twice(told: dict[str, Any]) -> None:
    assert told["upstream_calls"] == len(ROWS) * len(ROUTES)
