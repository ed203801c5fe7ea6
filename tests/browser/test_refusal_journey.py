"""A partner says "request so-and-so was refused": an admin pastes its id into the search, and reads why."""

from __future__ import annotations

from collections.abc import Callable

from people import Answer, Person, new_partner
from places import Demo
from playwright.sync_api import Page, expect


def look_up(admin: Person, answer: Answer) -> Page:
    """The story of what was refused, found from anywhere by what the partner was told."""
    page, request_id = admin.page, answer[2]["error"]["request_id"]
    assert answer[1]["x-request-id"] == request_id
    page.goto("/admin/plans")
    admin.fill(page.get_by_role("searchbox", name="Search"), request_id)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Request {request_id}")
    return page


def test_who_is_not_in_is_found_and_what_would_let_it_in(demo: Demo, arrive: Callable[..., Person]) -> None:
    outside = new_partner(demo, "Outside")
    refused = outside.generate()
    assert refused[0] == 403
    admin = arrive(signed_in=True)
    page = look_up(admin, refused)
    expect(page.get_by_text("Refused: not granted.")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("403 feature_not_enabled")
    admin.press(page.get_by_role("link", name="See what would let it in"))
    expect(page.get_by_role("main")).to_contain_text("not granted")


def test_a_full_limit_is_found_with_its_figures(demo: Demo, arrive: Callable[..., Person]) -> None:
    initech = new_partner(demo, "Initech", is_in=True, a_day=1)
    assert initech.generate()[0] == 200
    refused = initech.generate()
    assert refused[0] == 429
    admin = arrive(signed_in=True)
    page = look_up(admin, refused)
    expect(page.get_by_role("main")).to_contain_text(
        "Refused: the limit image-day had no room for 1 image, with 1 used and 0 held of 1."
    )
    admin.press(page.get_by_role("link", name="Look at the limit, or change it"))
    expect(page.get_by_role("heading", level=1)).to_have_text("image-day")
    expect(page.get_by_role("main")).to_contain_text(f"{initech.id} may use 1 image")
