"""/admin/holds: what is reserved, and ending by hand what nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from console import SEED, Visitor
from phases import hold_request

from rollout.core.decisions import GENERATION
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


@pytest.fixture
def unknown(wired: Services) -> str:
    """An unknown hold of acme over 2 images and 0.04 dollars."""
    stated = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 9}
    wired.meters.add(SEED, "acme", stated, "as agreed")
    return hold(wired)


def hold(services: Services, tenant: str = "acme") -> str:
    facts = services.state.fresh_facts(tenant)
    asked = hold_request(
        tenant,
        meters=facts.meters,
        meter_rev=facts.meter_rev,
        amounts={"image": 2, "usd_micro": 40_000},
    )
    with services.ledger.hold(asked) as held:
        held.unknown("the vendor did not answer")
    return held.id


def void(services: Services, tenant: str = "acme") -> str:
    with services.ledger.hold(hold_request(tenant)) as held:
        held.void("refused")
    return held.id


def test_the_list_shows_what_is_open_with_its_age(wired: Services, visit: Visit, unknown: str) -> None:
    over = void(wired)
    page = visit("viewer")
    page.get("/admin/holds")
    assert unknown in page.text
    assert over not in page.text
    assert re.search(r"\b\d+ seconds?\b", page.text)
    assert over in page.get("/admin/holds?state=all").text


def test_the_list_is_filtered_by_state_and_tenant(wired: Services, visit: Visit, unknown: str) -> None:
    theirs = hold(wired, "globex")
    page = visit("viewer")
    for query, shown in (
        ("state=unknown", {unknown, theirs}),
        ("state=unknown&tenant=globex", {theirs}),
        ("state=held", set()),
        ("tenant=acme&state=", {unknown}),
    ):
        text = page.get(f"/admin/holds?{query}").text
        assert {name for name in (unknown, theirs) if name in text} == shown
    for wrong in ("state=lost", "limit=0", "colour=red"):
        assert page.get(f"/admin/holds?{wrong}").status_code == 400
    assert "rollout holds list" in page.get("/admin/holds?state=held").text


def test_the_list_goes_on_and_can_be_taken_away(wired: Services, visit: Visit, unknown: str) -> None:
    newer = hold(wired)
    page = visit("viewer")
    first = page.get("/admin/holds?limit=1").text
    assert newer in first
    assert unknown not in first
    assert unknown in page.get(f"/admin/holds?limit=1&cursor={newer}").text
    rows = page.get("/admin/holds?format=json&limit=1").get_json()
    assert [row["id"] for row in rows] == [newer, unknown]


def test_a_hold_shows_its_lines_by_the_meters_names(wired: Services, visit: Visit, unknown: str) -> None:
    page = visit("viewer")
    page.get(f"/admin/holds/{unknown}")
    assert "image-day images 2" in page.text
    assert "the vendor did not answer" in page.text
    assert "needs the role editor" in page.text
    assert page.get("/admin/holds/hold_nothing").status_code == 404


@pytest.mark.parametrize(("cost", "charged"), [("0.031", 31_000), ("", 40_000), ("0", 0)])
def test_an_unknown_hold_is_charged_in_dollars(
    wired: Services, visit: Visit, unknown: str, cost: str, charged: int
) -> None:
    page = visit("editor")
    page.get(f"/admin/holds/{unknown}")
    page.send("settle", cost=cost, reason="their invoice says so")
    page.follow()
    assert "Hold settled" in page.text
    ended = wired.ledger.get_hold(unknown)
    assert (ended.state, ended.cost_usd_micro) == ("settled", charged)
    assert not {"settle", "void"} & {form.name for form in page.forms()}
    assert wired.ledger.verify() == []


def test_an_unknown_hold_is_voided(wired: Services, visit: Visit, unknown: str) -> None:
    page = visit("editor")
    page.get(f"/admin/holds/{unknown}")
    page.send("void", reason="their log shows no call")
    assert "Nothing was charged." in page.follow().text
    assert wired.ledger.get_hold(unknown).state == "void"


@pytest.mark.parametrize("cost", ["-1", "1,5", "much", "9" * 30, "0.0000001", "9" * 11])
def test_a_cost_that_makes_no_sense_is_refused(
    wired: Services, visit: Visit, unknown: str, cost: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/holds/{unknown}")
    page.send("settle", cost=cost, reason="their invoice")
    assert page.page.status_code == 400
    assert next(form for form in page.forms() if form.name == "settle").fields["cost"] == cost
    page.send("settle", cost="0.01", reason="")
    assert page.page.status_code == 400
    assert wired.ledger.get_hold(unknown).state == "unknown"


@pytest.mark.parametrize("second", ["settle", "void"])
def test_of_two_at_once_the_second_sees_what_the_first_did(
    wired: Services, visit: Visit, unknown: str, second: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/holds/{unknown}")
    wired.ledger.settle_by_hand(SEED, unknown, "I was first", 7)
    page.send(second, reason="me too")
    assert page.page.status_code == 409
    assert "The hold is settled; only an unknown one is ended by hand." in page.text
    assert "system:seed I was first" in page.text
    assert wired.ledger.get_hold(unknown).cost_usd_micro == 7


def test_a_viewer_ends_nothing_and_neither_does_a_forged_form(
    wired: Services, visit: Visit, unknown: str
) -> None:
    viewer, editor = visit("viewer"), visit("editor")
    viewer.get(f"/admin/holds/{unknown}")
    token = next(form for form in viewer.forms() if form.name == "sign-out").fields["_token"]
    for verb in ("settle", "void"):
        path = f"/admin/holds/{unknown}/{verb}"
        assert viewer.client.post(path, data={"reason": "x", "_token": token}).status_code == 403
        assert editor.client.post(path, data={"reason": "x"}).status_code == 403
    assert wired.ledger.get_hold(unknown).state == "unknown"
