"""Twenty items of feedback are sorted: by single keys, with the mouse in bulk, without scripts one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from people import Keyboard, Mouse, NoScript, Partner, admin, change, new_partner
from places import Demo
from playwright.sync_api import Locator, Page, expect

Visitor = Callable[..., Page]


@dataclass(frozen=True)
class Inbox:
    """What twenty readers said of four pictures of one partner; `ids` newest first, as the inbox shows them."""

    partner: Partner
    ids: list[str]

    @property
    def path(self) -> str:
        return f"/admin/feedback?tenant={self.partner.id}"

    def states(self) -> dict[str, str]:
        listed = admin(self.partner.demo, "GET", f"/feedback?tenant={self.partner.id}&limit=100")["data"]
        return {item["id"]: item["state"] for item in listed}

    def count(self) -> Counter[str]:
        return Counter(self.states().values())


@pytest.fixture
def inbox(demo: Demo) -> Inbox:
    acme = new_partner(demo, "Acme", is_in=True)
    said = []
    for number in range(4):
        by_handle = {"handle": acme.generate()[1]["x-rollout-feedback"]}
        first = acme.rate(by_handle, "up", f"picture {number}")
        same = {"generation": first["generation"]}
        others = [acme.rate({**same, "end_user": f"reader-{reader}"}, "down") for reader in range(4)]
        said += [item["id"] for item in (first, *others)]
    return Inbox(acme, said[::-1])


def item(page: Page, id_: str) -> Locator:
    return page.locator(f"article#{id_}")


def test_twenty_items_by_single_keys(inbox: Inbox, visitor: Visitor) -> None:
    page = visitor(signed_in=True)
    page.goto(inbox.path)
    press = page.keyboard.press
    press("j")
    expect(item(page, inbox.ids[0])).to_be_focused()
    press("j")
    expect(item(page, inbox.ids[1])).to_be_focused()
    press("k")
    expect(item(page, inbox.ids[0])).to_be_focused()
    for number, id_ in enumerate(inbox.ids):
        press("s" if number % 5 == 0 else "e")
        expect(item(page, id_)).to_have_count(0)
        if number + 1 < len(inbox.ids):
            expect(item(page, inbox.ids[number + 1])).to_be_focused()
    expect(page.get_by_text("Nothing here.")).to_be_visible()
    assert inbox.count() == {"resolved": 16, "spam": 4}

    press("z")
    expect(item(page, inbox.ids[-1])).to_be_focused()
    assert inbox.states()[inbox.ids[-1]] == "open"
    press("x")
    expect(item(page, inbox.ids[-1]).get_by_role("checkbox")).to_be_checked()
    press("Shift+S")
    expect(page.get_by_text("Nothing here.")).to_be_visible()
    assert inbox.count() == {"resolved": 15, "spam": 5}


def test_one_item_after_the_other_on_its_own_page_by_single_keys(inbox: Inbox, visitor: Visitor) -> None:
    page = visitor(signed_in=True)
    keyboard = Keyboard(page)
    page.goto(inbox.path)
    keyboard.press(page.get_by_role("link", name=inbox.ids[0]))
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(inbox.ids[0])
    for key, next_id in [("j", 1), ("k", 0), ("e", 1), ("s", 2), ("e", 3)]:
        page.keyboard.press(key)
        expect(heading).to_have_text(inbox.ids[next_id])
    assert [inbox.states()[id_] for id_ in inbox.ids[:4]] == ["resolved", "spam", "resolved", "open"]


def test_single_keys_are_letters_where_somebody_types_and_for_those_who_switched_them_off(
    inbox: Inbox, visitor: Visitor
) -> None:
    page = visitor(signed_in=True)
    page.goto(inbox.path)
    page.keyboard.press("j")
    expect(item(page, inbox.ids[0])).to_be_focused()
    Keyboard(page).fill(page.get_by_role("searchbox", name="Search"), "jesk")
    page.keyboard.press("Control+e")
    assert inbox.count() == {"open": 20}


def test_enter_opens_the_item_that_is_focused_and_on_a_link_it_is_the_links(visitor: Visitor) -> None:
    page = visitor(signed_in=True)
    page.goto("/admin/tenants")
    tenants = page.locator("tr[data-item] th a")
    second, third = (tenants.nth(position).get_attribute("href") for position in (1, 2))
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"{second}$"))
    page.go_back()
    Keyboard(page).press(tenants.nth(2))
    expect(page).to_have_url(re.compile(f"{third}$"))
    page.go_back()
    page.keyboard.press("j")
    Keyboard(page).press(page.get_by_role("link", name="Home"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Home")


def test_twenty_items_by_the_mouse_in_bulk_and_back(inbox: Inbox, visitor: Visitor) -> None:
    page = visitor(signed_in=True)
    mouse = Mouse(page)
    page.goto(inbox.path)
    bulk = page.locator("form#bulk")
    for id_ in inbox.ids[:10]:
        mouse.tick(item(page, id_).get_by_role("checkbox", name="Select"))
    mouse.press(bulk.get_by_role("button", name="Spam"))
    expect(page.locator("article")).to_have_count(10)
    assert inbox.count() == {"spam": 10, "open": 10}

    mouse.press(page.get_by_role("button", name="Undo"))
    expect(page.locator("article")).to_have_count(20)
    assert inbox.count() == {"open": 20}

    for id_ in inbox.ids:
        mouse.tick(item(page, id_).get_by_role("checkbox", name="Select"))
    mouse.press(bulk.get_by_role("button", name="Resolve"))
    expect(page.get_by_text("Nothing here.")).to_be_visible()
    assert inbox.count() == {"resolved": 20}


def test_twenty_items_without_scripts(inbox: Inbox, visitor: Visitor) -> None:
    page = visitor(signed_in=True, javascript=False)
    plain = NoScript(page)
    page.goto(inbox.path)
    for id_ in inbox.ids[:10]:
        plain.press(item(page, id_).get_by_role("button", name="Resolve"))
        expect(item(page, id_)).to_have_count(0)
    for id_ in inbox.ids[10:]:
        plain.tick(item(page, id_).get_by_role("checkbox", name="Select"))
    plain.press(page.locator("form#bulk").get_by_role("button", name="Spam"))
    expect(page.get_by_text("Nothing here.")).to_be_visible()
    assert inbox.count() == {"resolved": 10, "spam": 10}


def test_who_comes_second_sees_who_was_faster_and_changes_nothing(
    inbox: Inbox, demo: Demo, visitor: Visitor
) -> None:
    page = visitor(signed_in=True)
    page.goto(inbox.path)
    first = inbox.ids[0]
    page.keyboard.press("j")
    change(demo, f"/feedback/{first}", {"state": "spam"})
    page.keyboard.press("e")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Somebody was faster. Nothing of yours was saved.")
    expect(alert).to_contain_text("spam")
    expect(alert).to_be_focused()
    assert inbox.states()[first] == "spam"
