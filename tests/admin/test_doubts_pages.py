"""/admin/holds/{id} of an unknown hold, and home: all that is known of it, and who ends the doubt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from console import SEED, Visitor
from phases import hold_request

from rollout.core.catalogue import Cost
from rollout.core.decisions import GENERATION
from rollout.core.holds import Actual, Note, Unknown
from rollout.core.tokens import Role
from rollout.services.ledger import Held
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
CUT = "OutcomeUnknown: the stream was cut"


def lose(services: Services) -> str:
    services.meters.add(
        SEED, "acme", {"feature": GENERATION, "unit": "image", "period": "day", "cap": 9}, "x"
    )
    facts = services.state.fresh_facts("acme")
    asked = hold_request(
        "acme",
        meters=facts.meters,
        meter_rev=facts.meter_rev,
        amounts={"image": 2, "usd_micro": 40_000},
    )
    with services.ledger.hold(asked) as held:
        held.upstream_id = "req_7"
        held.unknown(CUT)
    return held.id


@pytest.fixture
def unknown(wired: Services) -> str:
    return lose(wired)


def review(services: Services, hold_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = services.ledger.get_hold(hold_id).model
    monkeypatch.setattr(services.ledger, "reviewed", lambda: {model})


def test_all_that_is_known_of_a_doubt_is_on_its_page(wired: Services, visit: Visit, unknown: str) -> None:
    wired.ledger.resolve(Note("acme", unknown, "system:reconciler", "openai is still at it"))
    page = visit("viewer")
    page.get(f"/admin/holds/{unknown}")
    for shown in (
        "US$0.04 stay reserved and are charged on",
        "on_unknown = charge",
        "The vendor's id req_7",
        f"{CUT} unknown",
        "system:reconciler openai is still at it",
    ):
        assert shown in page.text


def test_a_page_says_when_only_a_person_ends_the_doubt(
    wired: Services, visit: Visit, unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    review(wired, unknown, monkeypatch)
    page = visit("editor")
    page.get(f"/admin/holds/{unknown}")
    assert "US$0.04 stay reserved until a person decides" in page.text
    assert "on_unknown = review" in page.text
    page.send("settle", cost="0.05", reason="their invoice says so")
    assert "Charged: US$0.05." in page.follow().text
    assert "their invoice says so settled estimate_exceeded" in page.text


def test_home_tells_those_that_time_ends_from_those_that_wait_for_a_person(
    wired: Services, visit: Visit, unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit("viewer")
    assert "1 hold is unknown" in page.get("/admin").text
    assert "waits for your review" not in page.text
    review(wired, unknown, monkeypatch)
    page.get("/admin")
    assert "1 hold waits for your review" in page.text
    assert "hold is unknown" not in page.text
    wired.ledger.void_by_hand(SEED, unknown, "their log shows no call")
    assert "waits for your review" not in page.get("/admin").text


def test_work_that_turned_up_after_all_is_shown_as_late(wired: Services, visit: Visit) -> None:
    with wired.ledger.hold(hold_request("acme")) as held:
        wired.ledger.resolve(Unknown("acme", held.id, "system:sweeper", "the lease passed", 900))
        wired.ledger.void_by_hand(SEED, held.id, "their log shows no call")
        answer(held, 31_000)
    page = visit("viewer")
    page.get(f"/admin/holds/{held.id}")
    assert "Charged late: US$0.031. It was void when the work turned up after all." in page.text
    assert "the vendor answered settled late" in page.text


def test_an_answer_after_the_estimate_was_charged_is_shown(wired: Services, visit: Visit) -> None:
    with wired.ledger.hold(hold_request("acme")) as held:
        wired.ledger.resolve(Unknown("acme", held.id, "system:sweeper", "the lease passed", 900))
        wired.ledger.settle_by_hand(SEED, held.id, "their invoice", 9)
        answer(held, 31_000)
    page = visit("viewer")
    page.get(f"/admin/holds/{held.id}")
    assert "the vendor answered: 31000 micro-dollars, where 9 had been charged" in page.text


def test_what_was_found_is_shown_as_text(wired: Services, visit: Visit, unknown: str) -> None:
    wired.ledger.resolve(Note("acme", unknown, "system:reconciler", "<script>alert(1)</script>"))
    assert "<script>alert(1)" not in visit("viewer").get(f"/admin/holds/{unknown}").get_data(as_text=True)


def answer(held: Held, cost: int) -> None:
    held.settle(Actual(Cost(cost, "usage", "price_1"), 1), None)
