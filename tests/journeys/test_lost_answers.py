"""An answer is lost on its way from the vendor: the vendor is asked what became of the work, and nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from processes import Process, Service, Starter, call, wait_until

PICTURES, MESSAGES = "/v1/images/generations", "/v1/messages"


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def service(
    request: pytest.FixtureRequest,
    shared_starter: Starter,
    new_database: Callable[..., str],
    vendor: Process,
) -> Service:
    url = new_database(request.param)
    return shared_starter.service(url, vendor=vendor, sandbox_url=vendor.url, unknown_grace_seconds=600)


def generate(service: Service, prompt: str, key: str | None = None) -> tuple[int, Any]:
    body = {"model": "gpt-image-2.6-flare", "prompt": prompt, "size": "1024x1024", "quality": "low"}
    headers = {"idempotency-key": key} if key else None
    status, _, answer = service.call("POST", PICTURES, body, key=service.key("acme"), headers=headers)
    return status, answer


def analyse(service: Service, prompt: str) -> tuple[int, Any]:
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": prompt}],
    }
    status, _, answer = service.call("POST", MESSAGES, body, key=service.key("acme"))
    return status, answer


def calls(vendor: Process) -> int:
    return len(
        [one for one in call("GET", f"{vendor.url}/sandbox/journal")[2]["data"] if one["method"] == "POST"]
    )


def the_doubt(service: Service) -> str:
    """The id of the hold that was lost last."""
    (newest,) = service.admin("GET", "/holds?limit=1")["data"]
    assert newest["evidence"][0]["to"] == "unknown"
    return str(newest["id"])


def ended(service: Service, hold_id: str) -> Any:
    wait_until(
        lambda: service.admin("GET", f"/holds/{hold_id}")["state"] != "unknown",
        "the vendor's word",
        service.log,
    )
    return service.admin("GET", f"/holds/{hold_id}")


def test_a_picture_whose_answer_was_cut_is_charged_what_it_came_to_and_not_made_again(
    service: Service, vendor: Process
) -> None:
    before = calls(vendor)
    status, problem = generate(service, "sandbox:cut=0 boat", "cut")
    assert (status, problem["error"]["code"]) == (504, "outcome_unknown")
    hold = ended(service, the_doubt(service))
    assert (hold["state"], hold["settled_from"]) == ("settled", "usage")
    assert hold["upstream_id"].startswith("req_sandbox_")
    assert hold["evidence"][-1]["by"] == "vendor:openai"
    assert generate(service, "sandbox:cut=0 boat", "cut")[0] == 410
    assert calls(vendor) == before + 1
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout


def test_a_picture_that_the_vendor_never_made_is_given_back_and_its_key_runs_again(
    service: Service, vendor: Process
) -> None:
    before = calls(vendor)
    status, problem = generate(service, "sandbox:error=500 boat", "failed")
    assert (status, problem["error"]["code"]) == (502, "upstream_unavailable")
    hold = ended(service, the_doubt(service))
    assert (hold["state"], hold["cost_usd_micro"]) == ("void", 0)
    assert hold["resolution"] == "openai says that it never ran"
    assert generate(service, "sandbox:error=500 boat", "failed")[0] == 502
    assert calls(vendor) == before + 2


def test_an_analysis_whose_answer_was_cut_is_charged_by_its_usage(service: Service) -> None:
    assert analyse(service, "sandbox:cut=0 what is it?")[0] == 504
    hold = ended(service, the_doubt(service))
    assert (hold["feature"], hold["state"], hold["settled_from"]) == ("image-analysis", "settled", "usage")
    assert hold["evidence"][-1]["by"] == "vendor:anthropic"


@pytest.mark.parametrize("service", ["sqlite"], indirect=True)
def test_a_vendor_that_is_still_at_it_is_asked_again(service: Service) -> None:
    assert generate(service, "sandbox:cut=0,takes=3s boat")[0] == 504
    hold = ended(service, the_doubt(service))
    assert hold["state"] == "settled"
    assert "openai is still at it" in [step["found"] for step in hold["evidence"]]


def test_a_picture_that_nobody_can_name_waits_for_its_grace(service: Service) -> None:
    assert generate(service, "sandbox:drop boat")[0] == 504
    hold = service.admin("GET", f"/holds/{the_doubt(service)}")
    assert (hold["upstream_id"], hold["on_unknown"]) == (None, "charge")
    assert [step["found"].partition(":")[0] for step in hold["evidence"]] == ["OutcomeUnknown"]
    assert hold["id"] in service.rollout("holds", "list", "--state", "unknown").stdout
