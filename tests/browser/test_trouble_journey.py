"""What goes wrong in a browser: nothing typed is lost, nothing is changed behind anybody's back, and the page says what happened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
from people import Keyboard, Mouse, Person, admin, change, new_colleague, new_partner
from places import GENERATION, Demo
from playwright.sync_api import Dialog, Locator, Page, expect
from processes import wait_until

REFRESHES = 50
COUNT_CHANGES = """panel => {
  window.changes = 0
  const within = (record) => record.type !== "attributes" || record.target !== panel
  new MutationObserver((records) => { window.changes += records.filter(within).length })
    .observe(panel, {attributes: true, characterData: true, childList: true, subtree: true})
}"""
"""Of what stands in a panel: its own marks, such as that it is asking again, are no change."""


@pytest.fixture
def stopped(demo: Demo) -> str:
    """The page of a stop for one partner whose last call goes on and on, so that its panel does."""
    acme = new_partner(demo, "Acme", is_in=True)
    assert acme.generate()[0] == 200

    def call_that_hangs() -> None:
        with contextlib.suppress(OSError):  # the service ends before it does
            acme.generate("sandbox:slow=60s a boat")

    threading.Thread(target=call_that_hangs, daemon=True).start()
    running = f"/holds?tenant={acme.id}&state=open"
    wait_until(lambda: admin(demo, "GET", running)["data"], "the call to begin", demo.process.log)
    why = {"tenant": acme.id, "reason": "wrong pictures"}
    admin(demo, "POST", f"/features/{GENERATION}/kill", why)
    return f"/admin/kill/{GENERATION}?tenant={acme.id}"


def cap(demo: Demo, meter: str) -> int:
    return int(admin(demo, "GET", f"/meters/{meter}")["cap"])


def meter_of(demo: Demo, tenant: str) -> str:
    (meter,) = admin(demo, "GET", f"/meters?tenant={tenant}")["data"]
    return str(meter["id"])


def cap_form(page: Page) -> Locator:
    return page.locator("form", has=page.get_by_label("Cap", exact=True))


def test_a_stale_form_shows_both_values_and_can_be_sent_again(
    demo: Demo, arrive: Callable[..., Person]
) -> None:
    meter = meter_of(demo, new_partner(demo, "Acme", a_day=100).id)
    pm = arrive(signed_in=True)
    page = pm.page
    page.goto(f"/admin/meters/{meter}")
    pm.fill(cap_form(page).get_by_label("Cap", exact=True), "300")
    pm.fill(cap_form(page).get_by_label("Reason"), "as agreed")
    change(demo, f"/meters/{meter}", {"cap": 500})
    pm.press(cap_form(page).get_by_role("button", name="Change"))

    expect(page.get_by_role("alert")).to_contain_text("Somebody changed this while you were at it.")
    expect(page.get_by_role("alert")).to_contain_text("now 500, you wanted 300")
    assert cap(demo, meter) == 500
    expect(cap_form(page).get_by_label("Reason")).to_have_value("as agreed")
    pm.press(cap_form(page).get_by_role("button", name="Change"))
    expect(page.get_by_role("status").first).to_contain_text("Meter changed")
    assert cap(demo, meter) == 300


def test_a_session_that_ends_in_mid_form_keeps_what_was_typed(
    demo: Demo, arrive: Callable[..., Person]
) -> None:
    ana, meter = new_colleague(demo), meter_of(demo, new_partner(demo, "Acme", a_day=100).id)
    person = arrive()
    page = person.page
    page.goto(f"/admin/meters/{meter}")
    ana.sign_in(person)
    person.fill(cap_form(page).get_by_label("Cap", exact=True), "321")
    person.fill(cap_form(page).get_by_label("Reason"), "as agreed on the phone")
    ana.lose_sessions()
    person.press(cap_form(page).get_by_role("button", name="Change"))

    expect(page.get_by_role("status")).to_contain_text("What you typed is kept")
    assert cap(demo, meter) == 100
    ana.sign_in(person)
    expect(page.get_by_role("heading", level=1)).to_have_text("Send it now?")
    expect(page.get_by_role("main")).to_contain_text("as agreed on the phone")
    assert cap(demo, meter) == 100
    person.press(page.get_by_role("button", name="Send it now"))
    expect(page.get_by_role("status").first).to_contain_text("Meter changed")
    assert cap(demo, meter) == 321


def test_a_browser_without_cookies_is_told_so(demo: Demo, arrive: Callable[..., Person]) -> None:
    ana = new_colleague(demo)
    person = arrive()
    page = person.page
    page.goto("/admin/sign-in")
    page.context.clear_cookies()  # what such a browser brings back
    ana.sign_in(person)
    expect(page.get_by_role("alert")).to_contain_text("Your browser keeps no cookies")
    expect(page.get_by_label("Email")).to_have_value(ana.email)


def test_a_comment_with_a_script_is_text_wherever_it_is_read(
    demo: Demo, visitor: Callable[..., Page]
) -> None:
    words = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}"
    acme = new_partner(demo, "Acme", is_in=True)
    handle = acme.generate(prompt="a <b>bold</b> sign")[1]["x-rollout-feedback"]
    said = acme.rate({"handle": handle}, "down", words)["id"]
    page, shown = visitor(signed_in=True), list[Dialog]()
    page.on("dialog", lambda dialog: shown.append(dialog))
    for path in (f"/admin/feedback?tenant={acme.id}", f"/admin/feedback/{said}", f"/admin/requests/{said}"):
        page.goto(path)
        expect(page.get_by_text(words).first).to_be_visible()
    assert shown == []


def test_a_live_panel_whose_session_has_ended_leads_to_the_sign_in_page_and_back(
    stopped: str, demo: Demo, visitor: Callable[..., Page]
) -> None:
    ana = new_colleague(demo)
    person = Mouse(visitor())
    page = person.page
    page.goto(stopped)
    ana.sign_in(person)
    expect(page.locator("#acks")).to_contain_text("1 running")
    ana.lose_sessions()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    ana.sign_in(person)
    expect(page).to_have_url(f"{demo.url}{stopped}")


def test_focus_and_half_typed_words_stay_over_live_refreshes_and_an_unchanged_panel_is_not_touched(
    stopped: str, visitor: Callable[..., Page]
) -> None:
    page = visitor(signed_in=True)
    page.clock.install()
    page.goto(stopped)
    panel = page.locator("#acks")
    expect(panel).to_contain_text("1 running")
    panel.evaluate(COUNT_CHANGES)
    reason = page.get_by_label("Reason")
    Keyboard(page).fill(reason, "half a sen")
    for _ in range(REFRESHES):
        with page.expect_response("**/acks*"):
            page.clock.run_for(1500)
    expect(reason).to_be_focused()
    page.keyboard.type("tence")
    expect(reason).to_have_value("half a sentence")
    assert page.evaluate("window.changes") == 0
