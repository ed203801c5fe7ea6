"""An admin lets in a partner who asked, and it generates: no restart, no other door."""

from __future__ import annotations

from collections.abc import Callable

import openai
from people import Person, new_partner
from places import GENERATION, Demo
from playwright.sync_api import expect
from processes import wait_until


def test_a_partner_asks_is_approved_and_generates(demo: Demo, arrive: Callable[..., Person]) -> None:
    globex = new_partner(demo, "Globex")
    status, _, refusal = globex.generate()
    assert (status, refusal["error"]["reason"]) == (403, "not_granted")
    wish = {"feature": GENERATION, "use_case": "covers for our magazine", "expected_volume": 500}
    assert globex.call("POST", "/api/v1/access-requests", wish)[0] == 201

    admin = arrive(signed_in=True)
    page = admin.page
    page.goto("/admin")
    admin.press(page.get_by_role("region", name="Needs you").get_by_role("link", name="Decide", exact=True))
    admin.press(page.get_by_role("link", name=globex.id, exact=True))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Access request of {globex.id} waiting")
    expect(page.get_by_role("main")).to_contain_text("covers for our magazine")
    approval = page.locator("form", has=page.get_by_role("button", name="Approve"))
    admin.fill(approval.get_by_label("images a day"), "40")
    admin.fill(approval.get_by_label("Reason"), "a good use case")
    admin.press(approval.get_by_role("button", name="Approve"))
    expect(page.get_by_role("status").first).to_contain_text("Access granted")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Access request of {globex.id} approved")

    wait_until(lambda: globex.generate()[0] == 200, "the partner to be let in", demo.process.log)
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key=globex.key, max_retries=0) as client:
        made = client.images.generate(prompt="a red fox", size="1024x1024", quality="low")
    assert made.data
    limits = {limit["name"]: limit for limit in globex.call("GET", "/api/v1/quotas")[2]["data"]}
    assert (limits["image-day"]["cap"], limits["image-day"]["used"]) == (40, 2)


def test_a_partner_is_denied_and_reads_why(demo: Demo, arrive: Callable[..., Person]) -> None:
    hopeful = new_partner(demo, "Hopeful")
    wish = {"feature": GENERATION, "use_case": "we would like to see"}
    asked = hopeful.call("POST", "/api/v1/access-requests", wish)[2]

    admin = arrive(signed_in=True)
    page = admin.page
    page.goto(f"/admin/tenants/{hopeful.id}")
    admin.press(page.get_by_role("link", name="Read and decide"))
    denial = page.locator("form", has=page.get_by_role("button", name="Deny"))
    admin.fill(denial.get_by_label("Reason"), "say what for, then ask again")
    admin.press(denial.get_by_role("button", name="Deny"))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Access request of {hopeful.id} denied")

    told = hopeful.call("GET", f"/api/v1/access-requests/{asked['id']}")[2]
    assert (told["state"], told["decision_reason"]) == ("denied", "say what for, then ask again")
    assert hopeful.generate()[0] == 403
