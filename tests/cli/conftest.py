"""Commands run in this process: their logs go nowhere, and they leave no logger behind that remembers their streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from rollout import log


@pytest.fixture(autouse=True)
def logs_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    sink = structlog.ReturnLoggerFactory()
    monkeypatch.setattr(log, "configure", lambda *_: structlog.configure(logger_factory=sink))
    yield
    structlog.reset_defaults()
