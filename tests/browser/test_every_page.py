"""Every page, in both languages, light and dark, wide and narrow: usable by all, quiet, light to load."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from places import PLACES, Demo, Place
from playwright.sync_api import Page

from rollout.app import create_app
from rollout.settings import Settings
from rollout.wiring import build

WIDE, ZOOMED, NARROW = 1280, 640, 375
"""ZOOMED is what a page has of WIDE at 200 %."""

LOOKS = ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light"))
"""Colours do not depend on the width, nor either on the language."""

FIRST_LOAD, LATER_LOAD, RATING = 60_000, 20_000, 15_000
"""Bytes on the wire, headers included, pictures that were generated not."""

SHORTEN = """
document.querySelectorAll("tbody tr:nth-child(n+6), [data-item]:nth-of-type(n+6)").forEach((row) => row.remove())
"""
"""The fiftieth row of a list is like the fifth, and axe takes its time for each."""

Visitor = Callable[..., Page]

every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


def test_the_list_of_pages_is_complete(demo: Demo) -> None:
    app = create_app(build(Settings.from_env({"ROLLOUT_HOME": str(demo.home)})))
    with app.test_request_context():
        address = app.url_map.bind("localhost")
        listed = {address.match(place.on(demo).partition("?")[0])[0] for place in PLACES}
    pages = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.rule.startswith(("/admin", "/docs", "/f/"))
        if not rule.rule.startswith(("/admin/api/", "/admin/static/"))
    }
    no_pages = {"admin.pages.kill.show_acks", "admin.pages.imports.export_flags"}
    assert pages - listed == no_pages, "a part of a page, and a file"


@every_place
@pytest.mark.parametrize("language", ["en", "id"])
def test_a_page_hinders_nobody_light_and_dark_wide_and_narrow(
    place: Place, language: str, demo: Demo, visitor: Visitor, axe: Callable[[Page], list[str]]
) -> None:
    """Nor does it scroll sideways on a narrow screen, or at twice the size."""
    page = visitor(language=language, signed_in=place.signed_in)
    page.goto(place.on(demo))
    assert page.locator("html").get_attribute("lang") == (language if place.translated else "en")
    for width in (ZOOMED, NARROW):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    page.evaluate(SHORTEN)
    hindrances = set()
    for width, theme in LOOKS if language == "en" else LOOKS[:1]:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        hindrances |= {f"{width} px, {theme}: {line}" for line in axe(page)}
    assert not hindrances, "\n".join(sorted(hindrances))


@every_place
def test_a_page_is_light_to_load_and_lighter_the_second_time(
    place: Place, demo: Demo, visitor: Visitor
) -> None:
    page = visitor(signed_in=place.signed_in)
    path = place.on(demo)
    requests, transferred = weigh(page, path)
    assert requests <= 6
    assert transferred <= (RATING if place.name == "rate" else FIRST_LOAD)
    # A browser stores what it loaded behind the page's back: the look right after may come too early for it.
    assert min(weigh(page, path)[1] for _ in range(3)) <= LATER_LOAD


def weigh(page: Page, path: str) -> tuple[int, int]:
    """(requests, bytes) that went over the wire for a page."""
    wire = page.context.new_cdp_session(page)
    urls: dict[str, str] = {}
    loaded: dict[str, int] = {}
    wire.on(
        "Network.requestWillBeSent", lambda event: urls.update({event["requestId"]: event["request"]["url"]})
    )
    wire.on(
        "Network.loadingFinished",
        lambda event: loaded.update({event["requestId"]: event["encodedDataLength"]}),
    )
    wire.send("Network.enable")
    page.goto(path)
    wire.detach()
    weights = [
        size for request, size in loaded.items() if size and "/api/v1/images/" not in urls.get(request, "")
    ]
    return len(weights), sum(weights)
