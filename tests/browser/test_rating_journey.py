"""An end user rates a picture by the link that came with it, thinks again, and takes the rating back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from people import Partner, Person, admin, new_partner
from places import Demo
from playwright.sync_api import expect


def said_of(partner: Partner) -> dict[str, Any]:
    (item,) = admin(partner.demo, "GET", f"/feedback?tenant={partner.id}")["data"]
    return dict(item)


def test_an_end_user_rates_changes_and_withdraws(demo: Demo, arrive: Callable[..., Person]) -> None:
    acme = new_partner(demo, "Acme", is_in=True)
    handle = acme.generate()[1]["x-rollout-feedback"]
    reader = arrive()
    page = reader.page
    page.goto(f"/f/{handle}?r=up")
    expect(page.get_by_role("heading", level=1)).to_have_text("What do you think of this picture?")
    expect(page.get_by_role("radio", name="Good")).to_be_checked()
    assert admin(demo, "GET", f"/feedback?tenant={acme.id}")["data"] == []

    reader.tick(page.get_by_role("radio", name="Bad"))
    reader.tick(page.get_by_role("checkbox", name="The text in it is wrong"))
    reader.fill(page.get_by_label("In your own words"), "The sign is misspelt.")
    reader.press(page.get_by_role("button", name="Send"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    said = said_of(acme)
    expect(page.get_by_role("status")).to_contain_text(said["id"])
    assert (said["rating"], said["reasons"], said["comment"]) == (
        "down",
        ["wrong-text"],
        "The sign is misspelt.",
    )

    expect(page.get_by_label("In your own words")).to_have_value("The sign is misspelt.")
    reader.tick(page.get_by_role("radio", name="Good"))
    reader.press(page.get_by_role("button", name="Send the change"))
    expect(page.get_by_role("radio", name="Good")).to_be_checked()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    changed = said_of(acme)
    assert (changed["id"], changed["rating"]) == (said["id"], "up")

    reader.press(page.get_by_role("button", name="Take my rating back"))
    expect(page.get_by_role("status")).to_contain_text("You took your rating back")
    expect(page.get_by_role("radio", name="Good")).not_to_be_checked()
    taken = said_of(acme)
    assert (taken["state"], taken["comment"]) == ("withdrawn", None)


def test_a_rating_without_a_thumb_is_asked_for_it_and_loses_no_word(
    demo: Demo, arrive: Callable[..., Person]
) -> None:
    acme = new_partner(demo, "Acme", is_in=True)
    reader = arrive()
    page = reader.page
    page.goto(f"/f/{acme.generate()[1]['x-rollout-feedback']}")
    page.locator("form").first.evaluate("form => { form.noValidate = true }")
    reader.fill(page.get_by_label("In your own words"), "Lovely.")
    reader.press(page.get_by_role("button", name="Send"))
    expect(page.get_by_text("Choose one of the two thumbs.")).to_be_visible()
    expect(page.get_by_label("In your own words")).to_have_value("Lovely.")
    reader.tick(page.get_by_role("radio", name="Good"))
    reader.press(page.get_by_role("button", name="Send"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    assert said_of(acme)["comment"] == "Lovely."
