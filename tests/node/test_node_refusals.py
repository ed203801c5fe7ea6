"""Each reason to be turned away, as the official SDKs for Node raise it; and how often each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from node import run_script
from processes import Service, Starter
from refused_calls import ROWS, Row, Turned, image, killed, message, put_in_flight, turned_away

pytestmark = pytest.mark.node

CLASSES = {
    403: "PermissionDeniedError",
    409: "ConflictError",
    429: "RateLimitError",
    502: "InternalServerError",
    503: "InternalServerError",
    504: "InternalServerError",
    529: "InternalServerError",
}


@pytest.fixture(scope="module")
def told(shared_starter: Starter, new_database: Callable[..., str]) -> dict[str, Any]:
    """What both SDKs made of each row."""
    service = shared_starter.service(new_database("sqlite"), vendor=shared_starter.vendor())
    turned = turned_away(service)
    with killed(service):
        found = run(service, {"killed": turned.pop("killed")})
    put_in_flight(service, turned["in flight"], "image", "message")
    return found | run(service, {"in flight": turned.pop("in flight")}) | run(service, turned)


def run(service: Service, turned: dict[str, Turned]) -> dict[str, Any]:
    rows = {
        why: {
            "key": how.key,
            "image": image(how.prompt),
            "message": message(how.prompt),
            "headers": how.headers,
        }
        for why, how in turned.items()
    }
    return run_script("refusals.mjs", {"PHASEGATE_URL": service.url, "TURNED": rows})


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_each_refusal_is_the_sdks_own_error_after_as_many_calls_as_make_sense(
    told: dict[str, Any], row: Row, sdk: str
) -> None:
    if (sdk, row.why) == ("anthropic", "not in"):
        return  # analysis is open to all
    raised = told[row.why][sdk]
    status = (row.overloaded if sdk == "anthropic" else None) or row.status
    assert (raised["status"], raised["calls"]) == (status, row.calls)
    assert CLASSES[status] in raised["kinds"]
    assert len(raised["pauses"]) == row.calls - 1
    assert all(0 < pause <= row.pause for pause in raised["pauses"])
    if sdk == "openai":
        members = raised["body"]
        assert (raised["code"], raised["type"]) == (row.code, row.openai)
    else:
        members = raised["body"]["error"]["details"]
        assert (members["error_code"], raised["body"]["error"]["type"]) == (row.code, row.anthropic)
    assert set(row.members) <= set(members)
    assert members["remedy"]
    assert raised["request_id"] == members["request_id"] == raised["headers"]["request-id"]
