"""/admin/meters: how limits stand, what they mean, and changing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import SEED, Visitor
from phases import hold_request

from rollout.core.decisions import GENERATION
from rollout.core.meters import Meter
from rollout.core.tokens import NewToken, Role
from rollout.errors import InsufficientQuota
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


def meter(services: Services, tenant: str = "acme", **fields: Any) -> Meter:
    stated = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 3, **fields}
    return services.meters.add(SEED, tenant, stated, "as agreed")


def use(services: Services, limit: Meter, amount: int) -> str:
    """So much of it is held and stays so."""
    facts = services.state.fresh_facts(limit.tenant_id)
    asked = hold_request(
        limit.tenant_id, meters=facts.meters, meter_rev=facts.meter_rev, amounts={limit.unit: amount}
    )
    with services.ledger.hold(asked) as held:
        held.unknown("for the test")
    return held.id


def last_change(services: Services) -> dict[str, Any]:
    return dict(services.audit.page(limit=1)[0])


def test_the_list_says_how_each_meter_stands(wired: Services, visit: Visit) -> None:
    use(wired, meter(wired), 2)
    meter(wired, "globex", unit="usd_micro", period="month", cap=20_000_000)
    page = visit("viewer")
    page.get("/admin/meters")
    assert page.page.status_code == 200
    assert "0 + 2 held of 3" in page.text
    assert "0 of $20.00" in page.text.replace("US$", "$")
    assert "window of Asia/Jakarta" in page.text


def test_the_list_is_filtered_by_tenant_feature_unit_and_how_full_it_is(
    wired: Services, visit: Visit
) -> None:
    use(wired, meter(wired, name="full"), 3)
    meter(wired, name="empty", period="life")
    meter(wired, "globex", unit="usd_micro", period="month", cap=1, name="money")
    page = visit("viewer")
    for query, shown in (
        ("tenant=acme", {"full", "empty"}),
        ("unit=usd_micro", {"money"}),
        (f"feature={GENERATION}&tenant=", {"full", "empty", "money"}),
        ("nearly=on", {"full"}),
        ("tenant=nobody", set()),
    ):
        text = page.get(f"/admin/meters?{query}").text
        assert {name for name in ("full", "empty", "money") if f">{name}</a>" in text} == shown
    assert "rollout meters add" in page.text
    for wrong in ("unit=apples", "feature=image-dreaming", "nearly=perhaps", "limit=0", "colour=red"):
        assert page.get(f"/admin/meters?{wrong}").status_code == 400


def test_the_next_page_goes_on_where_this_one_ended(wired: Services, visit: Visit) -> None:
    for number in range(3):
        meter(wired, name=f"m{number}", period=("day", "month", "life")[number])
    page = visit("viewer")
    first = page.get("/admin/meters?limit=2").text
    cursor = first.split("cursor=", 1)[1].split("&", 1)[0]
    second = page.get(f"/admin/meters?limit=2&cursor={cursor}").text
    shown = [name for name in ("m0", "m1", "m2") for text in (first, second) if f">{name}</a>" in text]
    assert shown == ["m0", "m1", "m2"]


def test_the_list_can_be_taken_away(wired: Services, visit: Visit) -> None:
    use(wired, meter(wired), 2)
    meter(wired, "globex")
    page = visit("viewer")
    rows = page.get("/admin/meters?format=json&tenant=acme").get_json()
    assert [(row["tenant"], row["name"], row["held"], row["remaining"]) for row in rows] == [
        ("acme", "image-day", 2, 1)
    ]
    lines = page.get("/admin/meters?format=csv").text.splitlines()
    assert lines[0].startswith("tenant,meter,name,feature,unit,period,tz,cap,used,held,remaining")
    assert len(lines) == 3


def test_a_meter_is_told_in_a_sentence_with_what_counted_and_who_changed_it(
    wired: Services, visit: Visit
) -> None:
    added = meter(wired)
    held = use(wired, added, 2)
    page = visit("viewer")
    page.get(f"/admin/meters/{added.id}")
    assert "Image generation: acme may use 3 images a day, counted in Asia/Jakarta." in page.text
    assert "What does not fit is refused." in page.text
    assert held in page.text
    assert "Meter added 3 system:seed as agreed" in page.text
    assert not [form for form in page.forms() if form.name.startswith("cap-")]
    assert page.get("/admin/meters/mtr_nothing").status_code == 404


def test_a_cap_is_changed_from_the_next_call_on(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send(f"cap-{added.id}", cap="5", reason="they asked")
    assert page.page.status_code == 303
    page.follow()
    assert "Meter changed" in page.text
    assert wired.meters.get(added.id).cap == 5
    assert "3, then 5" in page.text


def test_dollars_are_typed_and_kept_exactly(wired: Services, visit: Visit) -> None:
    added = meter(wired, unit="usd_micro", cap=20_000_000)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    name = f"cap-{added.id}"
    assert next(form for form in page.forms() if form.name == name).fields["cap"] == "20"
    page.send(name, cap="20.10", reason="they asked")
    assert wired.meters.get(added.id).cap == 20_100_000
    page.follow()
    page.send(name, cap="9007199254.740992", reason="all there is")
    assert wired.meters.get(added.id).cap == 2**53


@pytest.mark.parametrize(
    "cap", ["-1", "1,5", "1.5", "many", "9" * 16, "9" * 400, "", "1e3", "0x10", " ", "5 images"]
)
def test_a_cap_that_makes_no_sense_is_refused_beside_the_field(
    wired: Services, visit: Visit, cap: str
) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send(f"cap-{added.id}", cap=cap, reason="they asked")
    assert page.page.status_code == 400
    assert f'id="cap-{added.id}-cap-error"' in page.page.text
    assert wired.meters.get(added.id) == added


@pytest.mark.parametrize("cap", ["-1", "1,50", "0.0000001", "9007199254.740993", "$5"])
def test_dollars_that_make_no_sense_are_refused(wired: Services, visit: Visit, cap: str) -> None:
    added = meter(wired, unit="usd_micro", cap=20_000_000)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    assert page.send(f"cap-{added.id}", cap=cap, reason="they asked").status_code == 400
    assert wired.meters.get(added.id) == added


def test_a_cap_below_what_is_used_is_said_before_and_after_and_is_no_error(
    wired: Services, visit: Visit
) -> None:
    added = meter(wired)
    use(wired, added, 3)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    assert "Now 3 used or held. A lower cap cancels nothing" in page.text
    page.send(f"cap-{added.id}", cap="1", reason="too much")
    page.follow()
    assert page.page.status_code == 200
    assert "More is used and held than the cap allows: 3 of 1." in page.text
    assert "Nothing new fits until the window ends" in page.text
    assert "over the cap" in page.get("/admin/meters").text


def test_a_meter_is_made_soft_and_hard_again(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send(f"cap-{added.id}", hard="no", reason="watch only")
    assert wired.meters.get(added.id).hard is False
    assert "It only counts" in page.follow().text


def test_a_form_from_elsewhere_leads_back_there_but_never_off_the_console(
    wired: Services, visit: Visit
) -> None:
    added = meter(wired)
    page = visit("editor")
    for cap, next_page, target in (
        ("4", "/admin/tenants/acme", "/admin/tenants/acme?"),
        ("5", "https://elsewhere.example/", "/admin?"),
        ("6", "", f"/admin/meters/{added.id}?"),
    ):
        page.get(f"/admin/meters/{added.id}")
        answer = page.send(f"cap-{added.id}", cap=cap, reason="they asked", next=next_page)
        assert answer.headers["Location"].startswith(target)


def test_of_two_at_once_the_second_sees_both_values_and_changes_nothing(
    wired: Services, visit: Visit
) -> None:
    added = meter(wired, unit="usd_micro", cap=20_000_000)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    wired.meters.change(SEED, added.id, {"cap": 7_500_000}, "faster")
    page.send(f"cap-{added.id}", cap="9", reason="slower")
    assert page.page.status_code == 409
    assert "now 7.5, you wanted 9" in page.text
    assert wired.meters.get(added.id).cap == 7_500_000
    page.send(f"cap-{added.id}")
    assert wired.meters.get(added.id).cap == 9_000_000


def test_a_meter_is_added_with_what_was_left_out_filled_in(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/meters?tenant=acme")
    page.send("add-meter", unit="usd_micro", period="month", cap="0.05", reason="a try")
    assert page.page.status_code == 303, page.text
    (added,) = wired.meters.page(tenant="acme", after=None, limit=2)
    assert (added.name, added.cap, added.tz, added.hard) == ("money-month", 50_000, "Asia/Jakarta", True)
    page.get("/admin/meters")
    page.send("add-meter", tenant="acme", feature="", unit="image", period="life", cap="9", reason="watch")
    assert "All features: acme may use 9 images in all." in page.follow().text


@pytest.mark.parametrize(
    ("typed", "param", "status"),
    [
        ({"tenant": "nobody"}, "tenant", 404),
        ({"tenant": "", "level": "tenant"}, "level", 400),
        ({"level": "api_key", "subject": "key_none"}, "subject", 400),
        ({"thresholds": "many"}, "thresholds", 400),
        ({"until": "2020-01-01T00:00"}, "until", 400),
        ({"cap": "1,000"}, "cap", 400),
        ({"unit": "slot"}, "period", 400),
        ({"tz": "Moon/Base"}, "tz", 400),
        ({"name": "Not A Name"}, "name", 400),
        ({"reason": ""}, "reason", 400),
        ({"feature": "image-dreaming"}, "feature", 400),
        ({"feature": "", "hard": "yes"}, "hard", 400),
        ({"name": "taken"}, "name", 409),
    ],
)
def test_a_meter_that_makes_no_sense_is_not_added_and_what_was_typed_stays(
    wired: Services, visit: Visit, typed: dict[str, str], param: str, status: int
) -> None:
    meter(wired, name="taken")
    page = visit("editor")
    page.get("/admin/meters")
    page.send("add-meter", **{"tenant": "acme", "cap": "77", "reason": "a try", **typed})
    assert page.page.status_code == status
    assert f'id="add-meter-{param}-error"' in page.page.text
    form = next(form for form in page.forms() if form.name == "add-meter")
    assert form.fields["cap"] == typed.get("cap", "77")
    assert len(wired.meters.page(tenant=None, after=None, limit=9)) == 1


def test_an_archived_meter_limits_nothing_and_is_gone_from_the_list(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send("archive", reason="not needed")
    page.follow()
    assert "Meter archived" in page.text
    assert wired.meters.page(tenant=None, after=None, limit=9) == []
    assert page.get(f"/admin/meters/{added.id}").status_code == 404


def test_a_viewer_changes_nothing_and_neither_does_a_forged_form(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    paths = ("/admin/meters", f"/admin/meters/{added.id}", f"/admin/meters/{added.id}/archive")
    viewer, editor = visit("viewer"), visit("editor")
    viewer.get(f"/admin/meters/{added.id}")
    token = next(form for form in viewer.forms() if form.name == "sign-out").fields["_token"]
    for path in paths:
        sent = {"tenant": "acme", "unit": "image", "period": "life", "cap": "9", "reason": "x"}
        assert viewer.client.post(path, data={**sent, "_token": token}).status_code == 403
        assert editor.client.post(path, data=sent).status_code == 403
        assert editor.client.post(path, data={**sent, "_token": token}).status_code == 403
    assert wired.meters.page(tenant=None, after=None, limit=9) == [added]


def test_a_cap_changed_here_is_audited_as_one_changed_by_the_api(wired: Services, visit: Visit) -> None:
    mine, theirs = meter(wired, name="mine"), meter(wired, name="theirs", period="month")
    page = visit("editor")
    page.get(f"/admin/meters/{mine.id}")
    page.send(f"cap-{mine.id}", cap="5", reason="they asked")
    by_page = last_change(wired)
    secret = wired.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    door = page.app.test_client()
    headers = {"Authorization": f"Bearer {secret}", "If-Match": "1"}
    path = f"/admin/api/v1/meters/{theirs.id}"
    assert door.patch(path, json={"cap": 5, "reason": "they asked"}, headers=headers).status_code == 200
    by_api = last_change(wired)
    assert (by_page["actor"], by_api["actor"]) == ("user:editor@example.com", "token:ana")
    assert by_page["request_id"].startswith("req_")
    own = {"id", "name", "period"}
    for name in ("action", "tenant_id", "reason"):
        assert by_page[name] == by_api[name]
    for name in ("before", "after"):
        assert {key: value for key, value in by_page[name].items() if key not in own | {"created_at"}} == {
            key: value for key, value in by_api[name].items() if key not in own | {"created_at"}
        }


# -- whose use, plans, alerts ------------------------------------------------------------------------------------


def test_a_cap_is_planned_seen_and_dropped(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send(
        f"cap-{added.id}",
        cap="500",
        effective_at="2099-03-01T00:00",
        until="2099-03-08T00:00",
        reason="launch",
    )
    assert page.page.status_code == 303, page.text
    page.follow()
    assert [cap for _, cap in wired.meters.get(added.id).scheduled] == [500, 3]
    assert "Planned 500 from " in page.text
    page.send("unplan", reason="no launch")
    assert wired.meters.get(added.id).scheduled == ()
    page.get(f"/admin/meters/{added.id}")
    page.send(f"cap-{added.id}", cap="5", effective_at="2020-03-01T00:00", reason="late")
    assert (page.page.status_code, wired.meters.get(added.id).cap) == (400, 3)
    assert "effective_at must lie in the future" in page.text


def test_when_it_tells_and_its_time_zone_are_changed(wired: Services, visit: Visit) -> None:
    added = meter(wired)
    page = visit("editor")
    page.get(f"/admin/meters/{added.id}")
    page.send(f"counting-{added.id}", thresholds="10, 90%", tz="Pacific/Auckland", reason="they moved")
    page.follow()
    changed = wired.meters.get(added.id)
    assert (changed.thresholds, changed.tz, changed.last_tz) == ((10, 90), "Asia/Jakarta", "Pacific/Auckland")
    assert "Pacific/Auckland" in page.text
    page.send(f"counting-{added.id}", tz="Moon/Base", reason="they moved")
    assert (page.page.status_code, "There is no time zone" in page.text) == (400, True)


def test_a_meter_shared_by_all_is_added_and_stands_apart(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/meters")
    page.send("add-meter", tenant="", unit="usd_micro", period="month", cap="2000", reason="our budget")
    page.follow()
    assert "Image generation: all tenants together may use" in page.text
    assert "~platform" not in page.page.text
    page.get("/admin/meters")
    assert "image-generation-money-month" in page.page.text
    assert "~platform" not in page.page.text.replace("system", "")
    (limit,) = wired.meters.limits(tenant="~platform", limit=9)
    use(wired, meter(wired, unit="image"), 1)
    assert page.get(f"/admin/meters/{limit.meter.id}").status_code == 200


def test_a_meter_of_each_end_user_shows_the_fullest_and_what_was_told(wired: Services, visit: Visit) -> None:
    added = meter(wired, level="end_user", name="user-day")
    facts = wired.state.fresh_facts("acme")
    asked = hold_request(
        "acme", meters=facts.meters, meter_rev=facts.meter_rev, amounts={"request": 1, "image": 4}
    )
    with pytest.raises(InsufficientQuota), wired.ledger.hold(asked):
        pass
    use(wired, added, 2)
    page = visit("viewer")
    page.get(f"/admin/meters/{added.id}")
    assert "Image generation: each end user of acme may use 3 images a day" in page.text
    assert "0 + 2 held of 3" in page.text
    assert "a request did not fit" in page.text
    page.get("/admin/meters")
    assert "3 each" in page.text
    page.get("/admin/tenants/acme")
    assert "user-day : a request did not fit" in page.text
