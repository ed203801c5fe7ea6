"""/admin and /admin/search: what needs somebody stands first with where to do it, and any id opens what it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from console import SEED, Visitor
from phases import hold_request
from uses import add_generation

from rollout.app import create_app
from rollout.cli import history
from rollout.core.decisions import ANALYSIS, GENERATION, Decision
from rollout.core.feedback import Opinion
from rollout.core.grants import Asking
from rollout.core.tenants import NewKey, Tenant
from rollout.core.tokens import Role
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Visit = Callable[[Role], Visitor]


def test_a_quiet_morning_says_that_nothing_needs_you(visit: Visit) -> None:
    page = visit("viewer")
    assert page.get("/admin").status_code == 200
    assert "Nothing needs you." in page.text
    assert "Image generation running Private beta 0 partners are in 0 calls are running" in page.text
    assert "No call was refused in the last 24 hours." in page.text
    assert "User added" in page.text, "the audit log's end is shown"


def test_what_needs_somebody_is_a_sentence_and_a_link_to_where_it_is_done(
    wired: Services, visit: Visit
) -> None:
    outside = Decision("dec_1", "globex", GENERATION, False, "not_granted", "private_beta", 1, 1)
    wired.access.ask(SEED, outside, Asking("covers"))
    pilot = {"feature": GENERATION, "unit": "image", "period": "life", "cap": 10, "name": "pilot"}
    wired.meters.add(SEED, "acme", pilot, "as agreed")
    facts = wired.state.fresh_facts("acme")
    with wired.ledger.hold(
        hold_request(
            "acme", meters=facts.meters, meter_rev=facts.meter_rev, amounts={"image": 9, "usd_micro": 40_000}
        )
    ) as held:
        held.unknown("no answer")
    add_generation(wired.database, "gen_1")
    wired.feedback.submit("acme", "gen_1", "reader", Opinion("down"))
    wired.features.kill(SEED, ANALYSIS, "too <b>loud</b>", tenant="globex")

    page = visit("editor")
    page.get("/admin")
    for sentence in (
        "1 access request waits: globex asked on",
        "acme has taken 90% of pilot .",
        "1 hold is unknown: nobody can tell whether the vendor did the work. US$0.04 is charged",
        "1 bad rating is open.",
        "Image analysis is stopped for globex , by system:seed since",
        "too &lt;b&gt;loud&lt;/b&gt;",
    ):
        assert sentence in page.text
    for address in (
        "/admin/access-requests?state=waiting",
        "/admin/meters/mtr_",
        "/admin/holds?state=unknown",
        "/admin/feedback?state=open&amp;rating=down",
        "/admin/kill",
    ):
        assert f'class="button" href="{address}' in page.page.text
    assert "Nothing needs you" not in page.text


def test_every_link_of_a_home_with_three_weeks_behind_it_leads_somewhere(
    tmp_path: Path, new_database: Callable[..., str]
) -> None:
    settings = Settings(home=str(tmp_path), database_url=new_database("sqlite"), secret_key="s" * 40)
    migrate.upgrade(settings.database)
    history.live_through(settings)
    services = build(settings)
    page = Visitor(create_app(services), services).sign_in("admin")
    page.get("/admin")
    assert "Nothing needs you" not in page.text
    links = {unescape(link) for link in re.findall(r'href="(/[^"#]*)"', page.page.text)}
    assert len(links) > 20
    for link in sorted(links):
        assert page.get(link).status_code == 200, link
    services.close()


def test_home_is_read_in_the_readers_language(visit: Visit) -> None:
    page = visit("viewer")
    assert page.get("/admin?lang=id").status_code == 200


@pytest.mark.parametrize(
    ("id_", "place"),
    [
        ("req_1", "/admin/requests/req_1"),
        ("gen_1", "/admin/requests/gen_1"),
        ("anl_1", "/admin/requests/anl_1"),
        ("hold_1", "/admin/requests/hold_1"),
        ("fb_1", "/admin/requests/fb_1"),
        ("img_1", "/admin/requests/img_1"),
        ("mtr_1", "/admin/meters/mtr_1"),
        ("acc_1", "/admin/access-requests/acc_1"),
        ("grt_1", "/admin/grants/grt_1"),
        ("usr_1", "/admin/users/usr_1"),
        ("acme", "/admin/tenants/acme"),
        ("req_../../x?y", "/admin/requests/req_..%2F..%2Fx%3Fy"),
    ],
)
def test_an_id_opens_what_it_names(visit: Visit, id_: str, place: str) -> None:
    answer = visit("viewer").client.get("/admin/search", query_string={"q": f"  {id_} "})
    assert (answer.status_code, answer.headers["Location"]) == (303, place)


def test_a_key_opens_its_page_whoever_has_it(wired: Services, visit: Visit) -> None:
    key = wired.keys.add(SEED, "acme", NewKey("main"), "test").key
    page = visit("viewer")
    page.get(f"/admin/search?q={key.id}")
    assert page.page.headers["Location"] == f"/admin/tenants/acme/keys/{key.id}"
    assert page.follow().status_code == 200
    assert "Nothing fits key_unknown ." in visited(page, "key_unknown")


def test_a_part_of_a_name_finds_tenants(wired: Services, visit: Visit) -> None:
    wired.tenants.add(SEED, Tenant("stark", "Acme & Söhne"), "test")
    page = visit("viewer")
    found = visited(page, "acm")
    assert "acme Acme Studios" in found
    assert "Acme &amp; Söhne" in found
    assert "globex" not in visited(page, "studios")


@pytest.mark.parametrize("wanted", ["", "   ", "%", "nobody", "_", "x" * 200, "<script>alert(1)</script>"])
def test_what_fits_nothing_is_told_what_can_be_looked_for(visit: Visit, wanted: str) -> None:
    page = visit("viewer")
    answer = page.client.get("/admin/search", query_string={"q": wanted})
    assert answer.status_code == 200
    assert "paste any id" in answer.text
    assert "<script>alert" not in answer.text


def test_a_search_longer_than_anything_is_refused(visit: Visit) -> None:
    assert visit("viewer").get(f"/admin/search?q={'x' * 201}").status_code == 400


def visited(page: Visitor, wanted: str) -> str:
    assert page.get(f"/admin/search?q={wanted}").status_code == 200
    return page.text
