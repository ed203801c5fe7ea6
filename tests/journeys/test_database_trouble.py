"""A database that is read-only, or away, before a call or in its middle: generation stops analysis goes on, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from processes import Service, Starter, call, upstream_calls, wait_until

pytestmark = pytest.mark.postgres

PICTURE = {"model": "gpt-image-2.6-flare", "prompt": "a boat", "size": "1024x1024", "quality": "low"}
QUESTION = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def url(new_database: Callable[..., str]) -> str:
    return new_database("postgresql")


@pytest.fixture
def service(starter: Starter, url: str) -> Service:
    return starter.service(url)


@contextmanager
def trouble(url: str, begins: str, ends: str) -> Iterator[None]:
    """Change the database's manners for the length of the block; its open connections are cut."""
    address = sa.make_url(url)
    engine = sa.create_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")

    def say(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text(statement.format(database=address.database)))
            connection.execute(
                sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
                {"name": address.database},
            )

    say(begins)
    try:
        yield
    finally:
        say(ends)
        engine.dispose()


def generate(service: Service) -> tuple[int, str | None]:
    status, headers, answer = service.call("POST", "/v1/images/generations", PICTURE, key=service.key("acme"))
    if status == 503:
        assert int(headers["retry-after"]) >= 1
    return status, answer.get("error", {}).get("code")


def analyse(service: Service, key: str) -> int:
    return service.call("POST", "/v1/messages", QUESTION, key=key)[0]


each_trouble = pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (
            'alter database "{database}" set default_transaction_read_only = on',
            'alter database "{database}" set default_transaction_read_only = off',
        ),
        (
            'alter database "{database}" allow_connections false',
            'alter database "{database}" allow_connections true',
        ),
    ],
    ids=["read-only", "away"],
)


@each_trouble
def test_without_the_books_generation_stops_and_analysis_goes_on(
    service: Service, url: str, begins: str, ends: str
) -> None:
    assert generate(service) == (200, None)
    assert analyse(service, service.key("acme")) == 200
    with trouble(url, begins, ends):
        assert generate(service) in ((503, "ledger_unavailable"), (403, "feature_not_enabled"))
        assert analyse(service, service.key("acme")) == 200
        assert call("GET", f"{service.url}/healthz")[0] == 200
        status, _, problem = service.call(
            "POST", "/admin/api/v1/tenants", {"id": "late", "name": "Late", "reason": "try"}
        )
        assert (status, problem["code"]) == (503, "ledger_unavailable")
    wait_until(lambda: generate(service) == (200, None), "generation to be back", service.log)
    assert service.call("GET", "/admin/api/v1/tenants/late")[0] == 404
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout
    assert "analysis_unbooked" in service.output()


@each_trouble
def test_trouble_in_the_middle_of_a_call_is_told_as_a_doubt_and_the_estimate_is_charged_once(
    starter: Starter, url: str, begins: str, ends: str
) -> None:
    vendor = starter.vendor()
    service = starter.service(url, vendor=vendor, hold_lease_seconds=3, unknown_grace_seconds=2)
    answers = []

    def slow() -> None:
        asked = {**PICTURE, "prompt": "sandbox:slow=2s a boat"}
        answers.append(service.call("POST", "/v1/images/generations", asked, key=service.key("acme")))

    caller = threading.Thread(target=slow)
    caller.start()
    wait_until(lambda: upstream_calls(vendor), "the call to reach the vendor")
    with trouble(url, begins, ends):
        caller.join()
    ((status, headers, problem),) = answers
    assert (status, problem["error"]["code"]) == (504, "outcome_unknown")
    assert headers["x-should-retry"] == "false"
    hold_id = problem["error"]["hold_id"]
    wait_until(
        lambda: service.call("GET", f"/admin/api/v1/holds/{hold_id}")[2].get("state") == "settled",
        "the estimate to be charged", service.log,
    )  # fmt: skip
    hold = service.admin("GET", f"/holds/{hold_id}")
    assert hold["settled_from"] == "estimate"
    assert [step["by"] for step in hold["evidence"]] == ["system:sweeper", "system:reconciler"]
    assert upstream_calls(vendor) == 1
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout
