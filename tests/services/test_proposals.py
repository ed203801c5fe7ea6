"""The catalogue compared with vendors' lists, on both databases: what is proposed, when again, what applying it does, who is warned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from clocks import Clock
from doors import ALICE, SECRET, counting_ids
from sandboxes import seed
from uses import add_generation, analysis

from rollout.core.catalogue import Catalogue
from rollout.core.catalogue_checks import DAY, Listed
from rollout.core.times import epoch
from rollout.db import analyses
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.providers.base import Lists, NotSent
from rollout.services.catalogue_checks import KIND, CatalogueChecks
from rollout.services.catalogue_rows import CatalogueRows
from rollout.services.changes import Changes
from rollout.services.events import Event
from rollout.services.ids import first_id
from rollout.services.jobs import JobQueue
from rollout.services.state import State

HAIKU, OLD, SNAPSHOT = "claude-haiku-5-5", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"
ENDS = "2026-11-30T00:00:00Z"
"""Of OLD, in the seed."""

LATER = epoch("2027-05-01T00:00:00Z")


class Vendor:
    """Says what it is told to say."""

    def __init__(self) -> None:
        claudes = [one for one in seed().models if one.vendor == "anthropic" and one.lifecycle != "retired"]
        self.rows = {one.upstream_id: Listed(one.upstream_id, one.retires_at) for one in claudes}
        self.error: Exception | None = None

    def says(self, upstream_id: str, retires_at: int | None = None) -> None:
        self.rows[upstream_id] = Listed(upstream_id, retires_at)

    def models(self) -> list[Listed]:
        if self.error:
            raise self.error
        return list(self.rows.values())


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str | None, Mapping[str, Any]]] = []

    def emit_all(self, tx: Any, now: int, events: Sequence[Event]) -> None:
        self.events += [(event.type, event.tenant_id, event.data) for event in events]


class Desk:
    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock, self.vendor, self.told = database, clock, Vendor(), Told()
        self.state = State(database, SECRET, clock=clock, monotonic=clock)
        changes = Changes(database)
        self.rows = CatalogueRows(database, changes)
        self.checks = CatalogueChecks(
            database,
            changes,
            self.state.catalogue,
            self,
            self.told,
            counting_ids(),  # type: ignore[arg-type]
        )

    def lists(self) -> Mapping[str, Lists]:
        return {"anthropic": self.vendor}

    def catalogue(self) -> Catalogue:
        self.state.refresh()
        return self.state.catalogue()

    def verify(self) -> list[tuple[str, str, str]]:
        """The proposals after a look, newest first: (model, kind, state)."""
        self.state.refresh()
        self.checks.verify()
        return [(one["model"], one["kind"], one["state"]) for one in self.all()]

    def all(self, state: str | None = None) -> list[dict[str, Any]]:
        """But for those of OLD's snapshot, a row that shares its fate."""
        found = self.checks.page(state=state, cursor=None, limit=50)
        return [one for one in found if one["model"] != SNAPSHOT]

    def only(self) -> dict[str, Any]:
        (one,) = self.all("open")
        return one


@pytest.fixture
def desk(database: Database, clock: Clock) -> Desk:
    return Desk(database, clock)


def test_what_is_found_is_proposed_once_and_what_is_said_anew_takes_its_place(desk: Desk) -> None:
    assert desk.verify() == []
    desk.vendor.says(HAIKU, LATER)
    assert desk.verify() == desk.verify() == [(HAIKU, "retires", "open")]
    desk.vendor.says(HAIKU, LATER + DAY)
    assert desk.verify() == [(HAIKU, "retires", "open")]
    assert desk.only()["found"] == {"retires_at": "2027-05-02T00:00:00Z"}
    assert desk.only()["version"] == 2


def test_what_a_vendor_takes_back_is_outdated(desk: Desk) -> None:
    desk.vendor.says(HAIKU, LATER)
    desk.verify()
    desk.vendor.says(HAIKU)
    assert desk.verify() == [(HAIKU, "retires", "outdated")]
    desk.vendor.says(HAIKU, LATER)
    assert [state for *_, state in desk.verify()] == ["open", "outdated"]


def test_what_was_dismissed_comes_again_only_when_the_vendor_says_something_else(desk: Desk) -> None:
    desk.vendor.says(HAIKU, LATER)
    desk.verify()
    ended = desk.checks.dismiss(ALICE, desk.only()["id"], "they said so before")
    assert (ended["state"], ended["ended_by"]) == ("dismissed", ALICE.name)
    assert [state for *_, state in desk.verify()] == ["dismissed"]
    desk.vendor.says(HAIKU, LATER + DAY)
    assert [state for *_, state in desk.verify()] == ["open", "dismissed"]


def test_a_vendor_that_is_silent_or_has_an_empty_list_proposes_nothing(desk: Desk) -> None:
    desk.vendor.error = NotSent("refused")
    (report,) = desk.checks.verify()
    assert (report["state"], report["detail"]) == ("silent", "NotSent: refused")
    desk.vendor.error, desk.vendor.rows = None, {}
    (report,) = desk.checks.verify("anthropic")
    assert (report["state"], report["detail"]) == ("silent", "Fault: an empty list")
    assert desk.all() == []


def test_a_vendor_without_a_list_is_said_to_have_none(desk: Desk) -> None:
    with pytest.raises(NotFound, match="midjourney"):
        desk.checks.verify("midjourney")


def test_an_applied_day_is_in_the_catalogue_and_is_found_no_more(desk: Desk) -> None:
    desk.vendor.says(HAIKU, LATER)
    desk.verify()
    desk.checks.apply(ALICE, desk.only()["id"], "as announced", dry_run=True)
    assert desk.catalogue().get(HAIKU).lifecycle == "active"
    ended = desk.checks.apply(ALICE, desk.only()["id"], "as announced", based_on=1)
    assert ended["state"] == "applied"
    row = desk.catalogue().get(HAIKU)
    assert (row.lifecycle, row.retires_at) == ("deprecated", LATER)
    assert desk.verify() == [(HAIKU, "retires", "applied")]


def test_a_model_that_is_gone_is_retired_when_somebody_applies_it(desk: Desk) -> None:
    del desk.vendor.rows[OLD]
    assert desk.verify() == [(OLD, "gone", "open")]
    desk.checks.apply(ALICE, desk.only()["id"], "they answer 404")
    assert desk.catalogue().get(OLD).lifecycle == "retired"
    assert desk.verify() == [(OLD, "gone", "applied")]


def test_a_model_that_is_unlisted_comes_disabled_and_without_a_price(desk: Desk) -> None:
    desk.vendor.says("claude-haiku-6")
    assert desk.verify() == [("claude-haiku-6", "unlisted", "open")]
    desk.checks.apply(ALICE, desk.only()["id"], "to be tried")
    row = desk.catalogue().get("claude-haiku-6")
    assert (row.enabled, row.prices, row.vendor, row.wire) == (False, (), "anthropic", "anthropic")
    assert desk.verify() == [("claude-haiku-6", "unlisted", "applied")]


def test_a_proposal_ends_once_and_as_it_was_seen(desk: Desk) -> None:
    desk.vendor.says(HAIKU, LATER)
    desk.verify()
    known = desk.only()["id"]
    with pytest.raises(StaleVersion):
        desk.checks.apply(ALICE, known, "x", based_on=7)
    with pytest.raises(InvalidRequest):
        desk.checks.apply(ALICE, known, "")
    desk.checks.dismiss(ALICE, known, "x")
    for end in (desk.checks.apply, desk.checks.dismiss):
        with pytest.raises(Conflict, match="dismissed"):
            end(ALICE, known, "x")
        with pytest.raises(NotFound):
            end(ALICE, "prp_none", "x")
    with pytest.raises(InvalidRequest):
        desk.checks.page(state="lost", cursor=None, limit=1)


def used(desk: Desk, tenant: str, days_ago: int, model: str = OLD, mode: str = "live") -> None:
    at = int(desk.clock()) - days_ago * DAY
    with desk.database.write() as tx:
        use = analysis(
            first_id("anl", at) + tenant[0], tenant_id=tenant, model=model, mode=mode, created_at=at
        )
        analyses.add(tx, use)


def warned(desk: Desk) -> list[tuple[str | None, int]]:
    """Whom it is told now: (tenant, days)."""
    desk.told.events.clear()
    desk.state.refresh()
    desk.checks.warn()
    assert {kind for kind, *_ in desk.told.events} <= {"model.retiring"}
    return [(tenant, data["days"]) for _, tenant, data in desk.told.events if data["model"] == OLD]


def test_thirty_seven_and_one_days_before_a_model_ends_who_used_it_lately_is_told_once(desk: Desk) -> None:
    ends = epoch(ENDS)
    for tenant in ("initech", "umbrella"):
        used(desk, tenant, 20)
    used(desk, "acme", 40)
    used(desk, "globex", 3, model=HAIKU)
    used(desk, "soylent", 3, mode="test")
    add_generation(desk.database, first_id("gen", int(desk.clock()) - DAY), tenant_id="hooli", model=OLD)
    desk.clock.now = ends - 31 * DAY
    assert warned(desk) == []
    desk.clock.now = ends - 8 * DAY
    assert warned(desk) == [("hooli", 30), ("initech", 30), ("umbrella", 30)]
    assert warned(desk) == []
    found = desk.only()
    assert (found["model"], found["kind"]) == (OLD, "retiring")
    assert found["found"] == {
        "retires_at": ENDS,
        "days": 30,
        "tenants": ["hooli", "initech", "umbrella"],
    }
    desk.clock.now = ends - DAY
    assert warned(desk) == [("hooli", 1), ("initech", 1), ("umbrella", 1)]
    assert (desk.only()["found"]["days"], desk.only()["version"]) == (1, 2)
    with pytest.raises(Conflict, match="nothing to apply"):
        desk.checks.apply(ALICE, desk.only()["id"], "x")
    desk.clock.now = ends + 1
    assert warned(desk) == []
    assert desk.all()[0]["state"] == "outdated"


def test_a_model_that_nobody_used_is_told_to_operators_alone(desk: Desk) -> None:
    desk.clock.now = epoch(ENDS) - DAY
    assert warned(desk) == [(None, 1)]
    assert desk.told.events[0][2]["successor"] == "claude-sonnet-5-5"


def test_a_warning_that_was_dismissed_comes_again_when_the_end_is_nearer(desk: Desk) -> None:
    desk.clock.now = epoch(ENDS) - 5 * DAY
    warned(desk)
    desk.checks.dismiss(ALICE, desk.only()["id"], "known")
    assert warned(desk) == []
    desk.clock.now = epoch(ENDS) - DAY
    assert warned(desk) == [(None, 1)]


def test_a_tick_leaves_one_job_for_each_list_and_keeps_its_hands_off_warnings(desk: Desk) -> None:
    queue = JobQueue(desk.database, Changes(desk.database), counting_ids())
    desk.clock.now = epoch(ENDS) - DAY
    desk.checks.tick()
    desk.checks.tick()
    (job,) = queue.claim({KIND}, 9)
    desk.vendor.says(HAIKU, LATER)
    assert desk.checks.carry_out(job)["state"] == "compared"
    assert {(one["kind"], one["state"]) for one in desk.all()} == {("retiring", "open"), ("retires", "open")}
    lost = dataclasses.replace(job, payload={"vendor": "midjourney"})
    assert desk.checks.carry_out(lost)["state"] == "silent"
