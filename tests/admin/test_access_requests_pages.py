"""/admin/access-requests: who waits, what approving brings, and one decision on each."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from console import SEED, Visitor

from rollout.core.decisions import GENERATION, Decision
from rollout.core.grants import Asking
from rollout.core.steps import RollBack
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]

SCRIPT = "<script>alert(1)</script>"


def ask(services: Services, tenant: str = "acme", use_case: str = "covers for books") -> str:
    outside = Decision("dec_1", tenant, GENERATION, False, "not_granted", "private_beta", 1, 1)
    return services.access.ask(SEED, outside, Asking(use_case, 500))[0].request.id


def caps(services: Services, tenant: str = "acme") -> dict[str, int]:
    return {meter.name: meter.cap for meter in services.meters.page(tenant=tenant, after=None, limit=9)}


@pytest.fixture
def asked(wired: Services) -> str:
    return ask(wired)


def test_those_who_wait_are_listed_in_order_with_their_place(wired: Services, visit: Visit) -> None:
    first = ask(wired, "globex", SCRIPT)
    second = ask(wired, "acme", "long " * 100)
    page = visit("viewer")
    page.get("/admin/access-requests")
    assert page.page.text.index(first) < page.page.text.index(second)
    assert "1 globex Image generation &lt;script&gt;alert(1)&lt;/script&gt; 500" in page.text
    assert SCRIPT not in page.page.text
    wired.access.deny(SEED, first, "not now")
    page.get("/admin/access-requests")
    assert first not in page.page.text
    assert "1 acme Image generation long" in page.text
    for query, found in {
        "state=denied": [first],
        "state=any": [first, second],
        "state=any&tenant=globex": [first],
        f"feature={GENERATION}&tenant=&state=waiting": [second],
        "tenant=nope": [],
    }.items():
        page.get(f"/admin/access-requests?{query}")
        assert [one for one in (first, second) if one in page.page.text] == found, query
    rows = json.loads(page.get("/admin/access-requests?format=json&state=any").text)
    assert [(row["tenant"], row["state"], row["position"]) for row in rows] == [
        ("globex", "denied", None),
        ("acme", "waiting", 1),
    ]


def test_the_queue_goes_on_page_by_page_with_places_that_go_on(wired: Services, visit: Visit) -> None:
    ask(wired, "acme")
    ask(wired, "globex")
    page = visit("viewer")
    page.get("/admin/access-requests?limit=1")
    assert "1 acme" in page.text
    assert "globex" not in page.text
    (following,) = [part.split('"')[0] for part in page.page.text.split('rel="next" href="')[1:]]
    page.get(following.replace("&amp;", "&"))
    assert "2 globex" in page.text


def test_a_request_says_what_approving_it_brings(visit: Visit, asked: str) -> None:
    page = visit("viewer")
    page.get(f"/admin/access-requests/{asked}")
    assert "covers for books" in page.text
    assert "Place 1" in page.text
    assert "Images a month 500" in page.text
    assert "Opens Image generation to acme at once, in the phase Private beta" in page.text
    assert "Approve needs the role editor" in page.text
    assert "Deny needs the role editor" in page.text


def test_an_approval_gives_the_quota_of_the_phase_as_it_stands(
    wired: Services, visit: Visit, asked: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    assert page.form("approve").fields["meters.2.cap"] == "100", "dollars, not micro-dollars"
    assert page.send("approve", reason="a good use case").status_code == 303
    page.follow()
    assert "Access granted" in page.text
    assert "By user:editor@example.com" in page.text
    assert caps(wired) == {
        "image-day": 100, "image-month": 2_000, "money-month": 100_000_000, "minute": 60, "concurrent": 4,
    }  # fmt: skip


def test_an_approval_gives_another_quota_and_an_end(wired: Services, visit: Visit, asked: str) -> None:
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    typed = {"meters.0.cap": "5", "meters.1.cap": "", "meters.2.cap": "12.5"}
    page.send("approve", **typed, expires_at="2099-03-01T07:00", reason="a trial")
    assert page.page.status_code == 303
    assert caps(wired) == {
        "image-day": 5, "image-month": 2_000, "money-month": 12_500_000, "minute": 60, "concurrent": 4,
    }  # fmt: skip
    (grant,) = wired.grants.page(tenant="acme", feature=None, before=None, limit=9)
    assert (grant.state, grant.expires_at, grant.reason) == ("active", 4_076_031_600, "a trial")


def test_a_tenant_keeps_the_caps_that_it_has(wired: Services, visit: Visit, asked: str) -> None:
    own = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 7}
    wired.meters.add(SEED, "acme", own, "as agreed")
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    page.send("approve", reason="a good use case")
    assert caps(wired)["image-day"] == 7


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"meters.0.cap": "-1"}, "meters.0.cap is a whole number from 0."),
        ({"meters.0.cap": "many"}, "meters.0.cap is a whole number from 0."),
        ({"meters.0.cap": "1.5"}, "meters.0.cap is a whole number from 0."),
        ({"meters.0.cap": "9" * 16}, "A cap is a whole number from 0 to"),
        ({"meters.0.cap": "9" * 400}, "meters.0.cap is a whole number from 0."),
        ({"meters.2.cap": "1e99"}, "meters.2.cap is dollars from 0"),
        ({"meters.2.cap": "0.0000001"}, "meters.2.cap is dollars from 0"),
        ({"meters.0.unit": "gold"}, "Input should be"),
        ({"meters.0.name": "No Name"}, "A meter&#39;s name is at most 64"),
        ({"meters.0.colour": "red"}, "Extra inputs are not permitted"),
        ({"expires_at": "2020-01-01T00:00"}, "expires_at must lie in the future"),
        ({"reason": ""}, "A change needs a reason."),
    ],
)
def test_a_wrong_approval_changes_nothing_and_keeps_what_was_typed(
    wired: Services, visit: Visit, asked: str, typed: dict[str, str], told: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    sent = {"reason": "a good use case", "meters.1.cap": "77", **typed}
    assert page.send("approve", **sent).status_code == 400
    assert told in page.page.text
    assert page.form("approve").fields["meters.1.cap"] == "77"
    assert wired.access.get(asked).request.state == "waiting"
    assert caps(wired) == {}


def test_a_denial_tells_the_tenant_why(wired: Services, visit: Visit, asked: str) -> None:
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    assert page.send("deny", reason="").status_code == 400
    assert page.send("deny", reason="not in this phase").status_code == 303
    page.follow()
    assert "Access request denied" in page.text
    assert "Reason not in this phase" in page.text
    assert wired.access.get(asked).request.decision_reason == "not in this phase"


@pytest.mark.parametrize("second", ["approve", "deny"])
def test_a_second_decision_is_told_who_was_first_and_changes_nothing(
    wired: Services, visit: Visit, asked: str, second: str
) -> None:
    ana, bob = visit("editor"), visit("admin")
    ana.get(f"/admin/access-requests/{asked}")
    bob.get(f"/admin/access-requests/{asked}")
    ana.send("deny", reason="not in this phase")
    before = wired.audit.page(limit=1)
    answer = bob.send(second, reason="I think otherwise")
    assert answer.status_code == 409
    assert "Somebody was faster: this request is decided, and nothing of yours was changed." in bob.text
    assert "State denied By user:editor@example.com" in bob.text
    assert "Reason not in this phase" in bob.text
    assert wired.audit.page(limit=1) == before
    assert wired.grants.page(tenant="acme", feature=None, before=None, limit=9) == []


def test_of_two_decisions_at_once_one_wins(wired: Services, visit: Visit, asked: str) -> None:
    visitors = [visit("editor"), visit("admin")]
    for visitor in visitors:
        visitor.get(f"/admin/access-requests/{asked}")
    with ThreadPoolExecutor(2) as pool:
        decided = pool.map(lambda visitor: visitor.send("approve", reason="me first").status_code, visitors)
    assert sorted(decided) == [303, 409]
    actions = [row["action"] for row in wired.audit.page(limit=30)]
    assert (actions.count("grant.created"), actions.count("access_request.approved")) == (1, 1)


def test_a_phase_that_is_open_to_cohorts_alone_is_pointed_out(
    wired: Services, visit: Visit, asked: str
) -> None:
    page = visit("editor")
    page.get(f"/admin/access-requests/{asked}")
    assert "let nobody in by a mere grant" not in page.text
    wired.change_requests.submit(SEED, GENERATION, RollBack("internal"), "too early")
    page.get(f"/admin/access-requests/{asked}")
    assert "let nobody in by a mere grant" in page.text
    assert page.form("approve").fields["meters.0.cap"] == "20"


def test_a_request_that_is_not_there_is_404(visit: Visit, asked: str) -> None:
    page = visit("editor")
    assert page.get("/admin/access-requests/acc_nope").status_code == 404
    page.get(f"/admin/access-requests/{asked}")
    for form in ("approve", "deny"):
        sent = {**page.form(form).fields, "reason": "try"}
        assert page.client.post(f"/admin/access-requests/acc_nope/{form}", data=sent).status_code == 404


def test_a_viewers_forged_decision_is_refused(wired: Services, visit: Visit, asked: str) -> None:
    page = visit("viewer")
    page.get(f"/admin/access-requests/{asked}")
    sent = {**page.form("sign-out").fields, "reason": "forged"}
    for verb in ("approve", "deny"):
        assert page.client.post(f"/admin/access-requests/{asked}/{verb}", data=sent).status_code == 403
    assert wired.access.get(asked).request.state == "waiting"
