"""An admin sets a partner to five pictures a day while it is calling: five it gets, not one more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from people import Answer, Person, new_partner, steadily
from places import Demo
from playwright.sync_api import expect
from processes import wait_until

REFUSED = (429, "insufficient_quota")


def outcome(answer: Answer) -> tuple[int, str | None]:
    status, _, told = answer
    return status, told.get("error", {}).get("code")


def test_a_cap_set_under_fire_holds_to_the_picture(demo: Demo, arrive: Callable[..., Person]) -> None:
    initech = new_partner(demo, "Initech", is_in=True, a_day=3)
    admin = arrive(signed_in=True)
    page = admin.page
    with steadily(initech.generate) as answers:

        def seen() -> Counter[tuple[int, str | None]]:
            return Counter(map(outcome, answers))

        wait_until(lambda: seen()[REFUSED] > 0, "the first refusal", demo.process.log)
        assert seen()[200, None] == 3
        page.goto("/admin")
        admin.fill(page.get_by_role("searchbox", name="Search"), initech.id)
        page.keyboard.press("Enter")
        expect(page.get_by_role("main")).to_contain_text("3 of 3 used up")
        admin.press(page.get_by_text("Change the cap"))
        change = page.locator("form", has=page.get_by_label("Cap", exact=True))
        admin.fill(change.get_by_label("Cap", exact=True), "5")
        admin.fill(change.get_by_label("Reason"), "they asked for two more")
        admin.press(change.get_by_role("button", name="Change"))
        expect(page.get_by_role("status").first).to_contain_text("Meter changed")

        wait_until(lambda: seen()[200, None] >= 5, "the two new pictures", demo.process.log)
        already = seen()[REFUSED]
        wait_until(lambda: seen()[REFUSED] > already + 2, "refusals of what is more", demo.process.log)
    assert seen()[200, None] == 5
    assert set(seen()) == {(200, None), REFUSED}
    page.reload()
    expect(page.get_by_role("main")).to_contain_text("5 of 5 used up")
