"""Commands run in this process: their logs go nowhere."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quiet(logs_go_nowhere: None) -> None:
    """For every test of commands."""
