"""What `python3 dev.py screenshots` runs: a picture of every page, light and dark. Not collected with the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from places import PLACES, Demo, Place
from playwright.sync_api import Page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_picture(
    place: Place, theme: str, demo: Demo, visitor: Callable[..., Page], pytestconfig: pytest.Config
) -> None:
    page = visitor(theme=theme, signed_in=place.signed_in)
    page.goto(place.on(demo), wait_until="networkidle")
    folder: Path = pytestconfig.getoption("screenshots")
    page.screenshot(path=folder / f"{place.name}-{theme}.png", full_page=True)
