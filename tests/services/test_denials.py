"""Full windows that are remembered: they refuse without a transaction, never admit, and are forgotten in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from clocks import Clock
from ledgers import NOON, RESULT, actual, counting_ids, ledger_on, meter, request

from rollout.core.audit import Actor
from rollout.core.holds import HoldRequest
from rollout.core.meters import PLATFORM, Meter
from rollout.db import meters
from rollout.db.engine import Database
from rollout.errors import InsufficientQuota, QuotaExceeded, RateLimitExceeded
from rollout.services.changes import Changes
from rollout.services.denials import HELD_SECONDS, USED_SECONDS
from rollout.services.ids import NewId
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters

IMAGES, SPEED = meter("image", "day", 3), meter("request", "minute", 2)
SLOTS = meter("slot", "concurrent", 1)
DAY = 86_400


@pytest.fixture
def new_id() -> NewId:
    return counting_ids()


def books(database: Database, new_id: NewId, *limits: Meter) -> Ledger:
    """A ledger as another process has it, with a memory of its own; `limits` are new meters."""
    with database.write() as tx:
        for one in limits:
            meters.add(tx, one)
    return ledger_on(database, new_id=new_id)


@pytest.fixture
def ledger(database: Database, new_id: NewId) -> Iterator[Ledger]:
    opened = books(database, new_id, IMAGES)
    yield opened
    assert opened.verify() == []


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What the block asks the database."""
    asked: list[str] = []

    def note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(database.engine, "before_cursor_execute", note)


def use(ledger: Ledger, asked: HoldRequest) -> None:
    with ledger.hold(asked) as held:
        held.settle(actual(images=asked.amounts["image"]), RESULT)


def refused(ledger: Ledger, asked: HoldRequest) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught, ledger.hold(asked):
        pytest.fail("it was admitted")
    return caught.value


def fill(ledger: Ledger, asked: HoldRequest) -> QuotaExceeded:
    """Use up the day's images, and be told so by the ledger."""
    use(ledger, replace(asked, amounts={**asked.amounts, "image": 3}))
    return refused(ledger, asked)


def test_a_window_that_was_used_up_refuses_without_a_statement_and_in_the_same_words(
    ledger: Ledger, database: Database
) -> None:
    told = fill(ledger, request(IMAGES))
    with statements(database) as asked:
        again = refused(ledger, request(IMAGES, decision_id="dec_2"))
    assert asked == []
    assert isinstance(again, InsufficientQuota)
    assert again.message == told.message
    assert again.members == {**told.members, "decision_id": "dec_2"}
    assert (again.limits, again.at) == (told.limits, told.at)


def test_what_is_refused_from_memory_counts_down_to_the_reset(ledger: Ledger, clock: Clock) -> None:
    told = fill(ledger, request(IMAGES))
    clock.advance(3)
    again = refused(ledger, request(IMAGES))
    assert told.retry_after == DAY / 2
    assert again.retry_after == DAY / 2 - 3
    assert again.at == told.at + 3


def test_memory_admits_nobody(ledger: Ledger, database: Database) -> None:
    use(ledger, request(IMAGES, images=2))
    refused(ledger, request(IMAGES, images=2))
    with statements(database) as asked:
        use(ledger, request(IMAGES, images=1))
    assert asked, "less than what was refused is the ledger's to decide"


def test_what_no_window_counts_is_not_refused(ledger: Ledger) -> None:
    fill(ledger, request(IMAGES))
    use(ledger, request(IMAGES, metered=False))
    use(ledger, request(IMAGES, feature="image-analysis"))


def test_a_request_with_a_key_is_the_ledgers_to_answer(ledger: Ledger, database: Database) -> None:
    use(ledger, request(IMAGES, images=3, idem_key="a"))
    refused(ledger, request(IMAGES))
    with ledger.hold(request(IMAGES, images=3, idem_key="a")) as held:
        assert held.replay == RESULT
    with statements(database) as asked:
        refused(ledger, request(IMAGES, idem_key="b"))
    assert asked


def test_a_slot_that_is_given_back_is_free_at_once_in_this_process(database: Database, new_id: NewId) -> None:
    ledger = books(database, new_id, SLOTS)
    with ledger.hold(request(SLOTS)) as held:
        refused(ledger, request(SLOTS))
        with statements(database) as asked:
            assert isinstance(refused(ledger, request(SLOTS)), RateLimitExceeded)
        assert asked == []
        held.settle(actual(), RESULT)
    use(ledger, request(SLOTS))


def test_a_release_while_a_refusal_is_on_its_way_is_not_missed(database: Database, new_id: NewId) -> None:
    ledger = books(database, new_id, SLOTS)
    with ExitStack() as work:
        held = work.enter_context(ledger.hold(request(SLOTS)))
        before = ledger._denials.releases("acme")
        told = refused(ledger, request(SLOTS))
        held.settle(actual(), RESULT)
    ledger._denials.remember(request(SLOTS), told, before)
    use(ledger, request(SLOTS))


def test_what_another_process_gives_back_is_free_after_a_quarter_of_a_second(
    database: Database, clock: Clock, new_id: NewId
) -> None:
    here, there = books(database, new_id, SLOTS), books(database, new_id)
    with there.hold(request(SLOTS)) as held:
        refused(here, request(SLOTS))
        held.settle(actual(), RESULT)
    with statements(database) as asked:
        refused(here, request(SLOTS))
    assert asked == []
    clock.advance(HELD_SECONDS)
    use(here, request(SLOTS))


def test_a_cap_that_is_raised_is_right_again_as_soon_as_its_news_arrive(
    ledger: Ledger, database: Database, new_id: NewId
) -> None:
    fill(ledger, request(IMAGES))
    raised = Meters(database, Changes(database), new_id).change(
        Actor("token:a"), IMAGES.id, {"cap": 9}, "more"
    )
    assert isinstance(refused(ledger, request(IMAGES)), InsufficientQuota), "the news are not here yet"
    use(ledger, request(raised, meter_rev=1))


def test_a_window_that_is_used_up_is_looked_at_again_after_seconds(
    ledger: Ledger, database: Database, clock: Clock, new_id: NewId
) -> None:
    fill(ledger, request(IMAGES))
    Meters(database, Changes(database), new_id).change(Actor("token:a"), IMAGES.id, {"cap": 9}, "more")
    clock.advance(USED_SECONDS)
    use(ledger, request(IMAGES))


def test_a_new_window_is_free_at_once(database: Database, clock: Clock, new_id: NewId) -> None:
    ledger = books(database, new_id, SPEED)
    clock.now = NOON + 58
    use(ledger, request(SPEED))
    use(ledger, request(SPEED))
    refused(ledger, request(SPEED))
    clock.advance(1)
    refused(ledger, request(SPEED))
    clock.advance(1)
    use(ledger, request(SPEED))


@pytest.mark.parametrize("seconds", [-1, -DAY, USED_SECONDS + 1, DAY])
def test_a_clock_that_steps_makes_it_forget_and_ask(
    ledger: Ledger, database: Database, clock: Clock, seconds: float
) -> None:
    fill(ledger, request(IMAGES))
    clock.advance(seconds)
    with statements(database) as asked, ExitStack() as work:
        if abs(seconds) == DAY:
            work.enter_context(ledger.hold(request(IMAGES)))
        else:
            refused(ledger, request(IMAGES))
    assert asked


def test_what_one_key_or_end_user_has_used_up_is_nobody_elses(database: Database, new_id: NewId) -> None:
    each = meter("image", "day", 3, level="end_user", id="mtr_each", name="each")
    ledger = books(database, new_id, each)
    fill(ledger, request(each, end_user="ann"))
    with statements(database) as asked:
        refused(ledger, request(each, end_user="ann"))
    assert asked == []
    use(ledger, request(each, end_user="bob"))


def test_what_tenants_share_is_asked_each_time(database: Database, new_id: NewId) -> None:
    shared = meter("image", "day", 3, level="platform", tenant_id=PLATFORM, id="mtr_shared", name="shared")
    ledger = books(database, new_id, shared)
    fill(ledger, request())
    with statements(database) as asked:
        refused(ledger, request())
    assert asked


def test_a_soft_limit_refuses_nobody_from_memory(database: Database, new_id: NewId) -> None:
    soft = meter("image", "day", 1, hard=False, id="mtr_soft", name="soft")
    ledger = books(database, new_id, IMAGES, soft)
    fill(ledger, request(IMAGES, soft))
    told = refused(ledger, request(IMAGES, soft))
    assert told.members["violated_policies"] == [IMAGES.name]
