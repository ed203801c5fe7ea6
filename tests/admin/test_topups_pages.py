"""Top-ups on a meter's page, adjustments on a tenant's: given, taken back, refused beside the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor
from phases import hold_request

from rollout.core.decisions import GENERATION
from rollout.core.meters import Meter
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


@pytest.fixture
def image_day(wired: Services) -> Meter:
    return meter(wired)


def meter(services: Services, **fields: Any) -> Meter:
    stated = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 3, **fields}
    return services.meters.add(SEED, "acme", stated, "as agreed")


def standing(services: Services, one: Meter) -> tuple[int, int]:
    """(cap, used) now."""
    limit, _ = services.meters.standing(one.id)
    return limit.cap, limit.used


def hold_images(services: Services, images: int) -> None:
    facts = services.state.fresh_facts("acme")
    asked = hold_request("acme", meters=facts.meters, meter_rev=facts.meter_rev, amounts={"image": images})
    with services.ledger.hold(asked) as held:
        held.unknown("for the test")


def test_a_meter_is_topped_up_and_what_nobody_drew_is_taken_back(
    wired: Services, visit: Visit, image_day: Meter
) -> None:
    page = visit("editor")
    page.get(f"/admin/meters/{image_day.id}")
    page.send("topup", amount="5", reason="launch week")
    assert page.page.status_code == 303
    page.follow()
    assert "Topped up" in page.text
    assert "0 of 8" in page.text
    assert "launch week" in page.text
    hold_images(wired, 4)
    (topup,) = wired.topups.page(tenant="acme", meter=None, cursor=None, limit=9)
    page.send(f"void-{topup.id}", reason="moved to April")
    page.follow()
    assert standing(wired, image_day) == (4, 0)
    assert "void" in page.text
    assert not [form for form in page.forms() if form.name.startswith("void-")]
    assert wired.ledger.verify() == []


def test_dollars_are_topped_up_exactly(wired: Services, visit: Visit) -> None:
    money = meter(wired, unit="usd_micro", period="month", cap=20_000_000)
    page = visit("editor")
    page.get(f"/admin/meters/{money.id}")
    page.send("topup", amount="0.05", reason="a little")
    assert standing(wired, money) == (20_050_000, 0)


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("amount", "0"),
        ("amount", "-1"),
        ("amount", "many"),
        ("amount", "9" * 17),
        ("effective", "2020-01-01T00:00"),
        ("effective", "soon"),
        ("expires", "2020-01-01T00:00"),
        ("expires", "2150-01-01T00:00"),
        ("reason", " "),
    ],
)
def test_what_makes_no_sense_is_refused_and_kept_in_the_form(
    wired: Services, visit: Visit, image_day: Meter, field: str, typed: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/meters/{image_day.id}")
    refused = page.send("topup", **{"amount": "5", "reason": "launch week", field: typed})
    assert refused.status_code == 400
    assert f'id="topup-{field}-error"' in refused.text
    assert standing(wired, image_day) == (3, 0)
    (form,) = [form for form in page.forms() if form.name == "topup"]
    assert form.fields[field] == typed


def test_a_viewer_sees_top_ups_and_cannot_give_one(wired: Services, visit: Visit, image_day: Meter) -> None:
    page = visit("viewer")
    page.get(f"/admin/meters/{image_day.id}")
    assert "Top up needs the role editor" in page.text
    assert not [form for form in page.forms() if form.name == "topup"]


def test_a_meter_of_a_minute_has_no_top_ups(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get(f"/admin/meters/{meter(wired, period='minute').id}")
    assert page.page.status_code == 200
    assert "Top-ups" not in page.text


def test_a_tenants_use_is_adjusted_both_ways(wired: Services, visit: Visit, image_day: Meter) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    page.send("adjust", way="more", unit="image", amount="3", reason="found in their log")
    page.follow()
    assert "Use adjusted" in page.text
    assert "3 images charged" in page.text
    assert standing(wired, image_day) == (3, 3)
    page.send("adjust", way="back", unit="image", amount="1", reason="it was blurred")
    page.follow()
    assert "1 image given back" in page.text
    assert standing(wired, image_day) == (3, 2)


def test_more_than_was_used_is_not_given_back(wired: Services, visit: Visit, image_day: Meter) -> None:
    page = visit("editor")
    page.get("/admin/tenants/acme")
    refused = page.send("adjust", way="back", unit="image", amount="1", reason="it was blurred")
    assert refused.status_code == 400
    assert 'id="adjust-amount-error"' in refused.text
    assert "image-day" in page.text
    assert standing(wired, image_day) == (3, 0)
    assert wired.adjustments.page(tenant=None, cursor=None, limit=9) == []
