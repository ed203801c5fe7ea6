"""An admin opens the feature to more partners, and knows beforehand to how many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from people import Mouse, Person, admin, new_partner
from places import GENERATION, Demo
from playwright.sync_api import Page, expect
from processes import wait_until

PLAN = f"/admin/plans/{GENERATION}"
PROGRAM = {"program": "beta"}
"""What the phase after the private beta lets in."""


@pytest.fixture
def in_private_beta(demo: Demo) -> Iterator[Demo]:
    """The shared demo, which is brought back to where all tests expect it."""
    outside = new_partner(demo, "Outside", attributes=PROGRAM)
    wait_until(lambda: outside.generate()[0] == 403, "the phase to be a private one", demo.process.log)
    yield demo
    if admin(demo, "GET", f"/plans/{GENERATION}")["run"]["phase"] != "private_beta":
        back = {"to": "private_beta", "reason": "the journey is over"}
        admin(demo, "POST", f"/plans/{GENERATION}/rollback", back)


def number_before(words: str, page: Page) -> int:
    found = re.search(rf"(\d+) {words}", page.get_by_role("main").inner_text())
    assert found, words
    return int(found[1])


def test_advancing_shows_who_gains_and_then_they_are_in(
    in_private_beta: Demo, arrive: Callable[..., Person]
) -> None:
    hopeful = new_partner(in_private_beta, "Hopeful", attributes=PROGRAM)
    assert hopeful.generate()[0] == 403
    pm = arrive(signed_in=True)
    page = pm.page
    page.goto("/admin")
    pm.press(page.get_by_role("link", name="Plans", exact=True))
    pm.press(page.get_by_role("link", name="Image generation"))
    expect(page.get_by_role("listitem").filter(has_text="Private beta")).to_contain_text("running")
    were_in = number_before("tenants? ·", page)

    pm.press(page.get_by_role("link", name="Advance…"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Advance Image generation to Wider beta?")
    expect(page.get_by_role("main")).to_contain_text("0 tenants lose it.")
    gained = number_before("tenants? gains? access", page)
    assert gained >= 1
    assert hopeful.generate()[0] == 403
    pm.fill(page.get_by_label("Reason"), "three weeks of good ratings")
    pm.press(page.get_by_role("button", name="Advance"))
    expect(page.get_by_role("status").first).to_contain_text("Plan advanced")
    expect(page.locator("[aria-current=step]")).to_contain_text("Wider beta")
    assert number_before("tenants? ·", page) == were_in + gained
    wait_until(lambda: hopeful.generate()[0] == 200, "the partner to be let in", in_private_beta.process.log)


def test_of_two_admins_the_second_sees_where_it_stands(
    in_private_beta: Demo, arrive: Callable[..., Person], visitor: Callable[..., Page]
) -> None:
    first, second = Mouse(visitor(signed_in=True)), arrive(signed_in=True)
    for person in (first, second):
        person.page.goto(f"{PLAN}/advance")
        person.fill(person.page.get_by_label("Reason"), "it is time")
    first.press(first.page.get_by_role("button", name="Advance"))
    expect(first.page.locator("[aria-current=step]")).to_contain_text("Wider beta")

    page = second.page
    second.press(page.get_by_role("button", name="Advance"))
    expect(page.get_by_role("alert")).to_contain_text("Nothing of yours was saved.")
    expect(page.locator("[aria-current=step]")).to_contain_text("Wider beta")
    plan = admin(in_private_beta, "GET", f"/plans/{GENERATION}")
    assert plan["run"]["phase"] == "wider_beta"
