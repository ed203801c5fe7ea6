"""A vendor that documents that it bills no answer of 5xx: such an answer gives back what was reserved, and nothing else does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from clocks import Clock
from gateway import Gateway, on_sqlite
from sandboxes import seed

from rollout.core.catalogue import Catalogue, Faults
from rollout.db.engine import Database
from rollout.providers.base import Fault, OutcomeUnknown, error_by_status

FAILED = error_by_status(500, "boom", vendor_request_id="req_7")


def gateway(
    database: Database, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> Gateway:
    rows = [dataclasses.replace(model, faults=faults) for model in seed().models]
    monkeypatch.setattr("rollout.services.catalogue.load_seed", lambda: Catalogue(rows, seed().aliases))
    opened = Gateway(database, clock, folder)
    opened.limit("image", "day", 5)
    return opened


@pytest.mark.parametrize(
    ("faults", "error", "status", "state"),
    [
        ("not_billed", FAILED, 503, "void"),
        ("not_billed", error_by_status(503, "busy"), 503, "void"),
        ("not_billed", error_by_status(408, "too slow"), 502, "unknown"),
        ("not_billed", Fault("an answer that is none"), 502, "unknown"),
        ("not_billed", OutcomeUnknown("timed out"), 504, "unknown"),
        ("unknown", FAILED, 502, "unknown"),
    ],
)
def test_only_a_complete_5xx_of_such_a_vendor_gives_back(
    database: Database,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: Faults,
    error: Exception,
    status: int,
    state: str,
) -> None:
    opened = gateway(database, clock, tmp_path, monkeypatch, faults)
    opened.vendor.answers = [error]
    answer = opened.door().generate()
    hold = opened.the_hold()
    assert (answer.status_code, hold.state) == (status, state)
    assert answer.headers.get("x-should-retry") == ("false" if state == "unknown" else None)
    assert hold.upstream_id == (getattr(error, "vendor_request_id", None) if state == "unknown" else None)
    assert opened.ledger.verify() == []


@on_sqlite
@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_then_runs_again(
    database: Database, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    opened = gateway(database, clock, tmp_path, monkeypatch, "not_billed")
    opened.vendor.answers = [FAILED]
    door = opened.door()
    assert door.generate(idem_key="k", stream=stream).status_code == 503
    assert door.generate(idem_key="k", stream=stream).status_code == 200
    assert [hold.state for hold in opened.holds()] == ["void", "settled"]


@on_sqlite
def test_an_analysis_is_given_back_likewise(
    database: Database, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = gateway(database, clock, tmp_path, monkeypatch, "not_billed")
    opened.vendor.answers = [FAILED]
    assert opened.door().analyze().status_code in (503, 529)
    assert opened.the_hold().state == "void"
