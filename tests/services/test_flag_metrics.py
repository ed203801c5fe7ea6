"""What SDKs tell is taken in memory, bounded, and written down soon after; nothing that was counted counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from doors import wire

from rollout.core.decisions import GENERATION
from rollout.core.flag_metrics import MAX_VARIANTS, Count, FlagClient
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest, LedgerUnavailable
from rollout.services import flag_metrics
from rollout.services.flag_metrics import FlagMetrics, client_cursor, metric_cursor

PRODUCTION = "production"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def metrics(services: SimpleNamespace, database: Database, clock: Any) -> FlagMetrics:
    return FlagMetrics(database, services.state, clock)


def client(name: str = "web", instance: str = "i1", **told: Any) -> FlagClient:
    values: dict[str, Any] = {
        "sdk": None,
        "strategies": (),
        "interval": None,
        "first_seen_at": 1,
        "seen_at": 1,
    }
    return FlagClient(PRODUCTION, name, instance, **{**values, **told})


def count(clock: Any, flag: str = GENERATION, yes: int = 1, no: int = 0, **variants: int) -> Count:
    return Count(flag, int(clock()), yes, no, variants)


def shown(metrics: FlagMetrics, flag: str = GENERATION, **wishes: Any) -> list[Any]:
    rows = metrics.page(PRODUCTION, flag, **{"hours": 24, "limit": 100, **wishes})
    return [(row.app_name, row.yes, row.no, dict(row.variants)) for row in rows]


def test_counts_of_an_hour_add_up_whoever_writes_them_down(
    metrics: FlagMetrics, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    other = FlagMetrics(database, services.state, clock)
    metrics.count(PRODUCTION, "web", [count(clock, yes=2, blue=1), count(clock, no=3, yes=0)])
    other.count(PRODUCTION, "web", [count(clock, yes=5, blue=2, red=1)])
    assert (metrics.flush(), other.flush(), other.flush()) == (1, 1, 0)
    metrics.count(PRODUCTION, "app", [count(clock)])
    assert shown(metrics) == [("app", 1, 0, {}), ("web", 7, 3, {"blue": 3, "red": 1})]
    assert metrics.page("development", GENERATION, hours=24, limit=9) == []


def test_processes_that_write_at_once_lose_nothing(
    services: SimpleNamespace, database: Database, clock: Any
) -> None:
    workers = [FlagMetrics(database, services.state, clock) for _ in range(4)]
    for worker in workers:
        for app in ("a", "b", "c"):
            worker.register(client(app))
            worker.see(client(f"{app}2"))
            worker.count(PRODUCTION, app, [count(clock, flag=f"flag-{n}", blue=1) for n in range(20)])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(FlagMetrics.flush, workers)) == [60] * 4
    assert shown(workers[0], "flag-7") == [(app, 4, 0, {"blue": 4}) for app in ("a", "b", "c")]
    assert len(workers[0].clients(limit=99)) == 6


def test_many_flags_are_written_in_one_go(
    metrics: FlagMetrics, services: SimpleNamespace, clock: Any
) -> None:
    for app in range(100):
        metrics.count(PRODUCTION, f"app-{app:03}", [count(clock, flag=f"flag-{n}") for n in range(5)])
    assert metrics.flush() == 500
    assert len(shown(metrics, "flag-3")) == 100


def test_a_late_count_counts_in_its_hour_a_very_late_one_a_day_ago_and_one_to_come_now(
    metrics: FlagMetrics, clock: Any
) -> None:
    hour, now = 3600, int(clock())
    for at in (now - hour, now - 90 * 86_400, now + 90 * 86_400):
        metrics.count(PRODUCTION, "web", [Count(GENERATION, at, 1, 0, {})])
    rows = metrics.page(PRODUCTION, GENERATION, hours=48, limit=9)
    assert [row.hour for row in rows] == [now, now - hour, now - 86_400]


def test_pages_follow_one_another(metrics: FlagMetrics, clock: Any) -> None:
    for app in ("a", "b:c", "d"):
        metrics.count(PRODUCTION, app, [count(clock)])
        metrics.see(client(app))
    clock.advance(3600)
    metrics.count(PRODUCTION, "a", [count(clock)])
    first = metrics.page(PRODUCTION, GENERATION, hours=24, limit=3)
    rest = metrics.page(PRODUCTION, GENERATION, hours=24, limit=3, cursor=metric_cursor(first[-1]))
    assert [row.app_name for row in (*first, *rest)] == ["a", "a", "b:c", "d"]
    some = metrics.clients(limit=2)
    assert [one.app_name for one in metrics.clients(limit=2, cursor=client_cursor(some[-1]))] == ["d"]


@pytest.mark.parametrize("cursor", ["", "x", "[]", '["a"]', '["a", "b", 3]', "{"])
def test_what_is_no_cursor_is_refused(metrics: FlagMetrics, cursor: str) -> None:
    for ask in (
        lambda: metrics.clients(limit=1, cursor=cursor),
        lambda: metrics.page(PRODUCTION, "f", hours=1, limit=1, cursor=cursor),
    ):
        with pytest.raises(InvalidRequest, match="no cursor"):
            ask()


def test_what_a_process_told_of_itself_stays_while_it_only_counts(metrics: FlagMetrics) -> None:
    metrics.register(client(sdk="unleash-x:1", strategies=("default",), interval=15_000, seen_at=100))
    metrics.see(client(seen_at=200, first_seen_at=200))
    (found,) = metrics.clients(limit=9)
    assert (found.sdk, found.strategies, found.interval) == ("unleash-x:1", ("default",), 15_000)
    assert (found.first_seen_at, found.seen_at) == (1, 200)
    metrics.register(client(sdk="unleash-x:2", first_seen_at=300, seen_at=300))
    (found,) = metrics.clients(environment=PRODUCTION, limit=9)
    assert (found.sdk, found.first_seen_at, found.seen_at) == ("unleash-x:2", 1, 300)
    assert metrics.clients(environment="development", limit=9) == []


def test_names_that_callers_make_up_are_bounded_and_known_flags_are_not(
    metrics: FlagMetrics, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flag_metrics, "UNKNOWN_FLAGS", 3)
    monkeypatch.setattr(flag_metrics, "APPS", 2)
    monkeypatch.setattr(flag_metrics, "INSTANCES", 2)
    for n in range(10):
        metrics.count(PRODUCTION, "web", [count(clock, flag=f"no-such-{n}")])
        metrics.register(client(instance=f"i{n}"))
    metrics.count(PRODUCTION, "web", [count(clock), count(clock)])
    for app in ("second", "third"):
        metrics.count(PRODUCTION, app, [count(clock)])
    assert metrics.flush() == 5
    assert [len(shown(metrics, f"no-such-{n}")) for n in range(4)] == [1, 1, 1, 0]
    assert shown(metrics) == [("second", 1, 0, {}), ("web", 2, 0, {})]
    assert len(metrics.clients(limit=9)) == 2
    clock.advance(3600)
    metrics.register(client(instance="next hour"))
    assert len(metrics.clients(limit=9)) == 3


def test_variants_that_callers_make_up_are_bounded(metrics: FlagMetrics, clock: Any) -> None:
    for part in range(3):
        metrics.count(PRODUCTION, "web", [count(clock, **{f"v{part}-{n}": 1 for n in range(MAX_VARIANTS)})])
        metrics.flush()
    ((_, _, _, variants),) = shown(metrics)
    assert len(variants) == MAX_VARIANTS


@contextmanager
def away() -> Iterator[Tx]:
    raise LedgerUnavailable
    yield


def test_what_the_database_does_not_take_waits_and_is_written_once(
    metrics: FlagMetrics, database: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.register(client(sdk="unleash-x:1"))
    metrics.count(PRODUCTION, "web", [count(clock, yes=2, blue=2)])
    with monkeypatch.context() as patch:
        patch.setattr(database, "write", away)
        assert (metrics.flush(), metrics.flush()) == (0, 0)
        metrics.count(PRODUCTION, "web", [count(clock, yes=1, blue=1)])
    assert metrics.flush() == 1
    assert shown(metrics) == [("web", 3, 0, {"blue": 3})]
    assert len(metrics.clients(limit=9)) == 1


def test_memory_is_bounded_while_the_database_is_away(
    metrics: FlagMetrics, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flag_metrics, "MEMORY", 4)
    for hour in range(9):
        metrics.count(PRODUCTION, "web", [Count(GENERATION, int(clock()) - 3600 * hour, 1, 0, {})])
    assert metrics.flush() == 4


def test_what_is_old_is_forgotten(metrics: FlagMetrics, clock: Any) -> None:
    metrics.count(PRODUCTION, "web", [count(clock)])
    metrics.see(client(seen_at=int(clock())))
    metrics.flush()
    clock.advance(8 * 86_400)
    metrics.forget()
    assert metrics.clients(limit=9) == []
    assert len(metrics.page(PRODUCTION, GENERATION, hours=744, limit=9)) == 1
    clock.advance(24 * 86_400)
    metrics.forget()
    assert metrics.page(PRODUCTION, GENERATION, hours=10_000, limit=9) == []
