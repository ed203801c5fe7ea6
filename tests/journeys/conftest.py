"""Fixtures of the journeys: who starts, and stops, the processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Starter


@pytest.fixture(scope="session")
def shared_starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    starter = Starter(tmp_path_factory.mktemp("processes"))
    yield starter
    starter.stop()


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    """For a test that kills, breaks or configures its processes."""
    own = Starter(tmp_path)
    yield own
    own.stop()
