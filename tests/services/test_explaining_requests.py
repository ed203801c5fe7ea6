"""Why was this refused, and where did the money go? Asked by a request id, on both databases."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import doors
import pytest
from adjusted import adjust
from clocks import Clock
from gateway import COST, USAGE, Gateway, finished, on_sqlite
from sqlalchemy import update

from rollout.core.catalogue import Catalogue, Usage
from rollout.core.decisions import GENERATION
from rollout.core.meters import end_user_subject
from rollout.core.stories import Story, story_json
from rollout.core.topups import NewTopUp
from rollout.db.engine import Database
from rollout.db.tables import hold
from rollout.providers.base import NotSent, OutcomeUnknown
from rollout.services.catalogue import load_seed
from rollout.services.changes import Changes
from rollout.services.requests import Requests
from rollout.services.topups import TopUps

DAY = {"start": "2026-11-21T17:00:00Z", "ends": "2026-11-22T17:00:00Z"}
"""The day of acme, which is in Jakarta."""


@pytest.fixture
def log(database: Database, clock: Clock) -> Requests:
    return Requests(database, clock, load_seed, retention_days=30)


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path, log: Requests) -> Gateway:
    wired = Gateway(database, clock, tmp_path)
    wired.services.requests = log
    return wired


def story(log: Requests, answer: Any) -> Story:
    return log.story(answer.headers["x-request-id"])


def why(log: Requests, answer: Any) -> dict[str, dict[str, Any]]:
    """The limits that refused it, by name."""
    return {full["name"]: full for full in story_json(story(log, answer))["refused_by"]}


def bill(log: Requests, answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = story_json(story(log, answer))["money"]
    return found


def cap(gateway: Gateway, name: str, value: int, reason: str) -> None:
    meter = gateway.services.meters.named("acme", name)
    gateway.services.meters.change(doors.BOB, meter.id, {"cap": value}, reason)
    gateway.services.state.refresh()


# -- why it was refused ------------------------------------------------------------------------------------------------


def test_every_limit_that_refused_tells_its_figures_its_window_and_who_set_it(
    gateway: Gateway, log: Requests
) -> None:
    gateway.limit("image", "day", 9)
    gateway.limit("image", "month", 2)
    gateway.limit("request", "minute", 60)
    gateway.clock.advance(60)
    cap(gateway, "image-day", 3, "they asked for less")
    door = gateway.door()
    door.generate(n=2)
    refused = door.generate(n=2)

    full = why(log, refused)
    assert list(full) == ["image-day", "image-month"]
    day = full["image-day"]
    assert (day["cap"], day["used"], day["held"], day["needed"], day["remaining"]) == (3, 2, 0, 2, 1)
    assert (day["level"], day["window"], day["resets_at"]) == ("feature", DAY, DAY["ends"])
    assert (day["set_by"]["by"], day["set_by"]["reason"], day["set_by"]["cap"]) == (
        "token:bob",
        "they asked for less",
        3,
    )
    assert (day["set_by"]["at"], day["set_by"]["action"]) == ("2026-11-22T12:01:00Z", "meter.changed")
    assert full["image-month"]["set_by"]["by"] == "token:alice"
    told = log.story(refused.headers["x-request-id"]).refusal
    assert told is not None
    assert told.members["violated_policies"] == ["image-day", "image-month"]


def test_a_cap_that_was_raised_since_is_not_the_one_that_refused(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 0)
    refused = gateway.door().generate()
    gateway.clock.advance(60)
    cap(gateway, "image-day", 5, "sorry")

    day = why(log, refused)["image-day"]
    assert (day["cap"], day["set_by"]["cap"], day["set_by"]["by"]) == (0, 0, "token:alice")


def test_holds_that_took_the_room_are_named(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 2)
    gateway.limit("slot", "concurrent", 1)
    door = gateway.door()
    refused: list[Any] = []

    def meanwhile() -> Any:
        refused.append(door.generate(n=2))
        return finished()

    gateway.vendor.answers = [meanwhile]
    door.generate()

    full, taken = why(log, refused[0]), [{"hold": gateway.the_hold().id, "amount": 1}]
    assert set(full) == {"image-day", "concurrent"}
    assert (full["image-day"]["held"], full["image-day"]["held_by"]) == (1, taken)
    assert full["concurrent"]["held_by"] == taken
    assert full["concurrent"]["window"]["ends"] is None


def test_what_was_given_back_before_did_not_take_the_room(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 0)
    cap(gateway, "image-day", 1, "one")
    gateway.vendor.answers = [NotSent("no route"), NotSent("no route")]
    gateway.door().generate()
    gateway.clock.advance(1)
    cap(gateway, "image-day", 0, "none")

    assert why(log, gateway.door().generate())["image-day"]["held_by"] == []


def test_top_ups_in_the_window_are_in_the_cap_and_told(
    gateway: Gateway, log: Requests, database: Database
) -> None:
    gateway.limit("image", "day", 1)
    meter = gateway.services.meters.named("acme", "image-day")
    topups = TopUps(database, Changes(database), gateway.ledger, gateway.new_id)
    given, _ = topups.add(doors.BOB, NewTopUp(meter.id, 1), "for the fair")
    ended, _ = topups.add(doors.BOB, NewTopUp(meter.id, 5, expires=int(gateway.clock()) + 60), "for a moment")
    gateway.clock.advance(60)
    gateway.services.state.refresh()
    refused = gateway.door().generate(n=3)

    day = why(log, refused)["image-day"]
    assert (day["cap"], day["set_by"]["cap"]) == (2, 1)
    assert [(one["id"], one["amount"], one["reason"]) for one in day["topups"]] == [
        (given.id, 1, "for the fair")
    ]
    assert ended.id not in str(day)


def test_a_limit_of_each_end_user_names_the_bucket_and_not_the_person(
    gateway: Gateway, log: Requests
) -> None:
    fields = {"level": "end_user", "unit": "image", "period": "day", "cap": 0, "feature": GENERATION}
    gateway.services.meters.add(doors.ALICE, "acme", fields, "test")
    gateway.services.state.refresh()
    body = {"model": "gpt-image-2.5-flare", "prompt": "a fox"}
    refused = gateway.door().post("/v1/images/generations", body, x_rollout_end_user="rosa")

    (full,) = why(log, refused).values()
    assert (full["level"], full["subject"]) == ("end_user", end_user_subject("acme", "rosa"))


def test_a_limit_that_tenants_share_is_explained_to_admins_and_to_no_partner(
    gateway: Gateway, log: Requests
) -> None:
    fields = {
        "name": "our-own-budget",
        "level": "platform",
        "unit": "image",
        "period": "day",
        "cap": 1,
        "tz": "UTC",
    }
    shared(gateway, fields)
    door = gateway.door()
    door.generate()
    refused = door.generate()

    assert refused.status_code == 429
    assert "our-own-budget" not in refused.text + str(refused.headers)
    assert "violated" not in refused.text
    assert "RateLimit" not in refused.headers
    assert int(refused.headers["Retry-After"]) >= 12 * 3600
    full = why(log, refused)["our-own-budget"]
    assert (full["level"], full["used"], full["needed"]) == ("platform", 1, 1)
    assert full["set_by"]["by"] == "token:alice"


def shared(gateway: Gateway, fields: dict[str, Any]) -> None:
    gateway.services.meters.add(doors.ALICE, None, {**fields, "feature": GENERATION}, "test")
    gateway.services.state.refresh()


def test_a_refusal_from_memory_is_explained_like_the_first_one(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 1)
    door = gateway.door()
    door.generate()
    first = why(log, door.generate())
    gateway.clock.advance(1)
    again = why(log, door.generate())

    assert again["image-day"].pop("at") == "2026-11-22T12:00:01Z"
    assert first["image-day"].pop("at") == "2026-11-22T12:00:00Z"
    assert again == first
    assert first["image-day"]["set_by"] is not None


@on_sqlite
def test_what_was_written_down_without_windows_is_told_as_it_stands(gateway: Gateway, log: Requests) -> None:
    gateway.limit("image", "day", 0)
    answer = gateway.door().generate()
    log.flush()
    (row,) = log.page(limit=1)
    members = {**row.members, "limits": [{"meter": "mtr_1", "name": "image-day"}]}
    log.note(dataclasses.replace(row, request_id="req_old", members=members))

    assert story_json(log.story("req_old"))["refused_by"] == []
    assert why(log, answer)


# -- where the money went ----------------------------------------------------------------------------------------------


def test_a_picture_is_billed_by_tokens_times_the_rates_of_a_dated_price(
    gateway: Gateway, log: Requests
) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    gateway.limit("image", "day", 5)
    gateway.limit("request", "minute", 60)
    door = gateway.door()
    door.generate()
    found = bill(log, door.generate())

    assert found["price"]["id"] == found["price_id"] == "openai/gpt-image-2.5/2026-11"
    assert (found["price"]["as_of"], bool(found["price"]["source"])) == ("2026-11-22", True)
    assert [
        (line["unit"], line["tokens"], line["usd_micro_per_million"], line["usd_pico"])
        for line in found["lines"]
    ] == [
        ("text_in", USAGE.text_in, 5_000_000, 60_000_000),
        ("image_out", USAGE.output, 30_000_000, 31_680_000_000),
    ]
    together = math.ceil(sum(line["usd_pico"] for line in found["lines"]) / 1_000_000)
    assert found["lines_usd_micro"] == found["charged_usd_micro"] == together == COST
    assert found["settled_from"] == "usage"
    money = {"unit": "usd_micro", "d_used": 0, "d_held": found["reserved"]["usd_micro"], "used": COST}
    rows = [row for row in found["entries"] if row["name"] == "money-month"]
    assert {name: rows[0][name] for name in money} == money
    assert (rows[1]["d_used"], rows[1]["d_held"], rows[1]["used"]) == (COST, -money["d_held"], 2 * COST)
    assert [
        (row["kind"], row["d_used"], row["used"]) for row in found["entries"] if row["unit"] == "image"
    ] == [
        ("reserve", 0, 1),
        ("settle", 1, 2),
    ]
    assert [row["used"] for row in found["entries"] if row["unit"] == "request"] == [2]
    assert {str(row["window"]) for row in found["entries"] if row["name"] == "image-day"} == {str(DAY)}
    assert found["reserved"]["image"] == found["reserved"]["request"] == 1


def test_what_a_window_had_used_after_an_entry_does_not_change_with_later_ones(
    gateway: Gateway, log: Requests
) -> None:
    gateway.limit("image", "day", 9)
    door = gateway.door()
    first = door.generate()
    before = bill(log, first)
    gateway.clock.advance(5)
    door.generate(n=3)

    assert bill(log, first) == before
    assert before["entries"][-1]["used"] == 1


def test_without_usage_the_bill_says_by_the_price_list_and_has_no_lines(
    gateway: Gateway, log: Requests
) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    gateway.vendor.answers = [finished(usage=None)]
    found = bill(log, gateway.door().generate())

    assert (found["settled_from"], found["lines"], found["lines_usd_micro"]) == ("price_list", [], None)
    assert found["charged_usd_micro"] == found["entries"][-1]["d_used"] > 0


def test_a_message_is_billed_by_what_went_in_and_came_out(gateway: Gateway, log: Requests) -> None:
    found = bill(log, gateway.door().analyze())

    assert [(line["unit"], line["tokens"]) for line in found["lines"]] == [("in", 30), ("out", 5)]
    assert found["charged_usd_micro"] == found["lines_usd_micro"] == 110
    assert (found["entries"], found["reserved"]) == ([], {})


def test_what_never_left_is_billed_at_nothing(gateway: Gateway, log: Requests) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    gateway.vendor.answers = [NotSent("no route"), NotSent("no route")]
    found = bill(log, gateway.door().generate())

    assert (found["charged_usd_micro"], found["lines"]) == (0, [])
    assert [row["kind"] for row in found["entries"]] == ["reserve", "void"]
    assert sum(row["d_held"] for row in found["entries"]) == 0


def test_what_is_under_way_has_no_cost_yet(gateway: Gateway, log: Requests) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    seen: list[Any] = []

    def look() -> Any:
        seen.append(story_json(log.story(gateway.the_hold().id))["money"])
        return finished()

    gateway.vendor.answers = [look]
    gateway.door().generate()

    assert (seen[0]["charged_usd_micro"], seen[0]["settled_from"]) == (None, None)
    assert seen[0]["reserved"]["usd_micro"] >= COST


def test_a_shared_budget_is_on_the_bill_with_all_tenants_in_it(gateway: Gateway, log: Requests) -> None:
    shared(
        gateway,
        {"name": "ours", "level": "platform", "unit": "image", "period": "day", "cap": 9, "tz": "UTC"},
    )
    gateway.services.grants.add(doors.ALICE, "globex", GENERATION, "test")
    gateway.services.state.refresh()
    gateway.door("globex").generate(n=2)
    gateway.clock.advance(1)
    answer = gateway.door().generate()

    (row,) = [
        row for row in bill(log, answer)["entries"] if row["name"] == "ours" and row["kind"] == "settle"
    ]
    assert (row["tenant"], row["level"], row["d_used"], row["used"]) == (None, "platform", 1, 3)
    held = next(event for event in story(log, answer).events if event.kind == "held")
    assert "ours" in [line["name"] for line in held.values["lines"]]


def test_adjustments_that_name_it_are_on_the_bill(
    gateway: Gateway, log: Requests, database: Database
) -> None:
    gateway.limit("usd_micro", "month", 10_000_000)
    answer = gateway.door().generate()
    request_id, now = answer.headers["x-request-id"], int(gateway.clock())
    named = adjust(database, -COST, now, reason=f"{request_id} was blurred: given back")
    adjust(database, 5, now, reason="something else")
    adjust(database, 5, now, reason=request_id.replace("_", "-"))

    found = bill(log, answer)
    assert [(one["id"], one["amount"]) for one in found["adjustments"]] == [(named, -COST)]
    assert found["charged_usd_micro"] == COST


@on_sqlite
def test_a_price_that_left_the_catalogue_is_named_and_explains_nothing(
    gateway: Gateway, database: Database, clock: Clock, log: Requests
) -> None:
    answer = gateway.door().generate()
    emptied = Requests(database, clock, lambda: Catalogue([]), retention_days=30)

    found = bill(emptied, answer)
    assert (found["price"], found["price_id"], found["lines"]) == (None, "openai/gpt-image-2.5/2026-11", [])
    assert found["charged_usd_micro"] == COST


@on_sqlite
def test_a_price_that_was_changed_under_its_id_is_not_passed_off_as_the_reason(
    gateway: Gateway, database: Database, clock: Clock, log: Requests
) -> None:
    answer = gateway.door().generate()
    model = load_seed().get("gpt-image-2.5-flare")
    rateless = dataclasses.replace(model, prices=(dataclasses.replace(model.price, per_million={}),))
    dearer = dataclasses.replace(
        model,
        prices=(dataclasses.replace(model.price, per_million=dict.fromkeys(model.price.per_million, 1)),),
    )

    assert (
        bill(Requests(database, clock, lambda: Catalogue([rateless]), retention_days=30), answer)["lines"]
        == []
    )
    told = bill(Requests(database, clock, lambda: Catalogue([dearer]), retention_days=30), answer)
    assert (told["lines_usd_micro"], told["charged_usd_micro"]) == (1, COST)


@on_sqlite
def test_cached_tokens_stand_on_lines_of_their_own(
    gateway: Gateway, database: Database, log: Requests
) -> None:
    answer = gateway.door().analyze()
    usage = dataclasses.asdict(Usage(input=10, output=2, cache_write=7, cache_write_1h=3, cache_read=50))
    with database.write() as tx:
        tx.execute(update(hold).values(usage=usage))

    assert [(line["unit"], line["tokens"]) for line in bill(log, answer)["lines"]] == [
        ("in", 10),
        ("out", 2),
        ("cache_write", 4),
        ("cache_write_1h", 3),
        ("cache_read", 50),
    ]


# -- what is in doubt --------------------------------------------------------------------------------------------------


@on_sqlite
def test_what_nobody_can_tell_says_what_was_found_and_who_decides(
    gateway: Gateway, database: Database, clock: Clock, log: Requests
) -> None:
    gateway.vendor.answers = [OutcomeUnknown("cut")]
    answer = gateway.door().generate()
    model = dataclasses.replace(load_seed().get("gpt-image-2.5-flare"), on_unknown="review")
    careful = Requests(database, clock, lambda: Catalogue([model]), retention_days=30)

    def doubt(requests: Requests) -> Any:
        return next(event.values for event in story(requests, answer).events if event.kind == "unknown")

    assert doubt(log)["then"] == "charge"
    assert doubt(careful)["then"] == "review"
    assert doubt(log)["evidence"] == [
        {
            "at": "2026-11-22T12:00:00Z",
            "by": doubt(log)["evidence"][0]["by"],
            "found": "OutcomeUnknown: cut",
            "to": "unknown",
        }
    ]
