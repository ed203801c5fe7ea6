"""Webhooks: kept, rotated, removed; and what becomes of a message when its receiver answers, refuses, is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from clocks import Clock
from standardwebhooks import Webhook as Library

from rollout.core.audit import Actor
from rollout.core.jobs import Job, JobFailed
from rollout.core.meters import PLATFORM
from rollout.core.tenants import Tenant
from rollout.db.engine import Database
from rollout.delivery.webhooks import Answer, Undelivered
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.services.audit import AuditLog
from rollout.services.changes import Changes
from rollout.services.events import Events
from rollout.services.ids import ids_by
from rollout.services.jobs import JobQueue
from rollout.services.tenants import Tenants
from rollout.services.webhooks import MAX_WEBHOOKS, Webhooks

ANA = Actor("token:ana")
URL = "https://example.com/hook"
SECRET = b"a secret of at least 32 characters"


class Receiver:
    """Answers as it is told to, and remembers what came."""

    def __init__(self) -> None:
        self.status: int | Undelivered = 200
        self.retry_after = 0
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.got.append((url, headers, body))
        if isinstance(self.status, Undelivered):
            raise self.status
        return Answer(self.status, "so", 12, self.retry_after)


class World:
    def __init__(self, database: Database, clock: Clock) -> None:
        new_id = ids_by(clock)
        changes = Changes(database, Events(new_id))
        self.database, self.clock, self.receiver = database, clock, Receiver()
        self.queue = JobQueue(database, changes, new_id, random=lambda: 0.5)
        self.webhooks = Webhooks(database, changes, SECRET, new_id, self.receiver)
        self.audit = AuditLog(database)
        self.changes = changes
        for tenant in ("acme", "globex"):
            Tenants(database, changes).add(ANA, Tenant(tenant, tenant), "seed")

    def add(self, tenant: str | None = "acme", *types: str) -> tuple[str, str]:
        issued = self.webhooks.add(ANA, tenant, URL, types, "told")
        assert issued.secret is not None
        return issued.webhook.id, issued.secret

    def tell(self, tenant: str = "acme") -> None:
        with self.changes.begin(ANA, "it happened") as change:
            change.tell("quota.threshold", tenant, {"tenant": tenant})

    def work(self) -> list[str]:
        """Do what is due as the runner does; the states of what was done."""
        states = []
        for job in self.queue.claim({"webhook"}, 99):
            try:
                outcome = self.webhooks.deliver(job)
            except JobFailed as failed:
                self.queue.fail(job, failed)
            else:
                self.queue.finish(job, outcome)
            states.append(self.queue.get(job.id).state)
        return states

    def sent(self, webhook_id: str) -> Job:
        return self.webhooks.deliveries(webhook_id, cursor=None, limit=9)[0]


@pytest.fixture
def world(database: Database, clock: Clock) -> World:
    clock.now = time.time()  # the library refuses what is older than five minutes
    return World(database, clock)


# -- delivered -------------------------------------------------------------------------------------------------------------------------


def test_a_message_arrives_once_signed_so_that_the_library_believes_it(world: World) -> None:
    webhook_id, secret = world.add()
    world.tell()
    assert world.work() == ["done"]
    assert world.work() == []
    ((url, headers, body),) = world.receiver.got
    assert url == URL
    assert headers["webhook-id"] == world.sent(webhook_id).id
    assert Library(secret).verify(body, dict(headers))["data"] == {"tenant": "acme"}
    assert world.sent(webhook_id).outcome == {"status": 200, "excerpt": "so", "ms": 12}


def test_the_same_message_has_the_same_id_and_body_each_time_and_a_time_of_its_own(world: World) -> None:
    _, secret = world.add()
    world.tell()
    world.receiver.status = 500
    assert world.work() == ["ready"]
    world.clock.advance(7)
    world.receiver.status = 204
    assert world.work() == ["done"]
    (_, first, body), (_, second, again) = world.receiver.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 7
    Library(secret).verify(again, dict(second))


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (500, "the receiver answered 500"),
        (302, "the receiver answered 302"),
        (Undelivered("no answer in time"), "no answer in time"),
    ],
)
def test_what_did_not_arrive_is_tried_eight_times_and_then_dead(
    world: World, status: int | Undelivered, why: str
) -> None:
    webhook_id, _ = world.add()
    world.tell()
    world.receiver.status = status
    for _ in range(7):
        assert world.work() == ["ready"]
        world.clock.advance(8 * 3600 + 1)
    assert world.work() == ["dead"]
    assert len(world.receiver.got) == 8
    assert world.sent(webhook_id).last_error == why


def test_a_receiver_that_asks_for_time_gets_it_and_no_message_comes_sooner_than_it_would(
    world: World,
) -> None:
    world.add()
    world.tell()
    world.receiver.status, world.receiver.retry_after = 429, 5_000
    assert world.work() == ["ready"]
    world.clock.advance(4_999)
    assert world.work() == []
    world.receiver.retry_after = 1
    world.clock.advance(1)
    assert world.work() == ["ready"]
    world.clock.advance(1)
    assert world.work() == []


def test_a_receiver_that_is_gone_for_good_is_told_of_nothing_more(world: World) -> None:
    webhook_id, _ = world.add()
    world.tell()
    world.tell()
    world.receiver.status = 410
    assert world.work() == ["dead", "dead"]
    assert len(world.receiver.got) == 1
    assert world.webhooks.get(webhook_id).state == "disabled"
    entry = world.audit.page(limit=1)[0]
    assert (entry["action"], entry["actor"], entry["subject"]) == (
        "webhook.changed",
        "system:webhooks",
        webhook_id,
    )
    world.tell()
    assert world.work() == []


def test_one_that_was_changed_meanwhile_is_not_disabled(world: World) -> None:
    webhook_id, _ = world.add()
    world.tell()

    def moved(*_: object) -> Answer:
        world.webhooks.change(ANA, webhook_id, {"url": "https://new.example/"}, "moved")
        return Answer(410, "", 1)

    world.webhooks._post = moved
    assert world.work() == ["dead"]
    assert world.webhooks.get(webhook_id).state == "active"


# -- kept ------------------------------------------------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_written_nowhere(world: World) -> None:
    webhook_id, secret = world.add()
    assert secret.startswith("whsec_")
    written = json.dumps([vars(world.webhooks.get(webhook_id)), world.audit.page(limit=9)], default=str)
    assert secret.removeprefix("whsec_") not in written


def test_after_a_rotation_both_secrets_are_believed_for_a_day(world: World) -> None:
    webhook_id, old = world.add()
    new = world.webhooks.rotate(ANA, webhook_id, "leaked").secret
    assert new not in (None, old)
    world.tell()
    world.work()
    _, headers, body = world.receiver.got[-1]
    for secret in (old, str(new)):
        Library(secret).verify(body, dict(headers))
    world.clock.advance(86_400)
    world.tell()
    world.work()
    assert len(world.receiver.got[-1][1]["webhook-signature"].split()) == 1


def test_a_test_goes_to_the_one_that_is_tested_whatever_it_wants(world: World) -> None:
    webhook_id, _ = world.add("acme", "quota.exhausted")
    world.add("acme")
    job = world.webhooks.test(ANA, webhook_id, "does it arrive?")
    assert world.work() == ["done"]
    assert [json.loads(body)["type"] for _, _, body in world.receiver.got] == ["webhook.test"]
    assert world.sent(webhook_id).id == job.id


def test_a_dead_message_is_sent_again_as_it_was(world: World) -> None:
    webhook_id, _ = world.add()
    world.tell()
    world.receiver.status = 500
    (job,) = world.queue.claim({"webhook"}, 1)
    world.queue.fail(job, JobFailed("no", final=True))
    world.receiver.status = 200
    world.webhooks.resend(ANA, webhook_id, job.id, "repaired")
    assert world.work() == ["done"]
    assert world.receiver.got[0][1]["webhook-id"] == job.id
    entry = world.audit.page(limit=1)[0]
    assert (entry["action"], entry["subject"], entry["tenant_id"]) == ("webhook.resent", webhook_id, "acme")


def test_what_is_disabled_is_neither_tested_nor_sent_to_until_it_is_active_again(world: World) -> None:
    webhook_id, _ = world.add()
    world.tell()
    world.work()
    sent = world.sent(webhook_id).id
    world.webhooks.change(ANA, webhook_id, {"state": "disabled"}, "pause")
    for act in (world.webhooks.test, lambda *a: world.webhooks.resend(a[0], a[1], sent, a[2])):
        with pytest.raises(Conflict, match="The webhook is disabled"):
            act(ANA, webhook_id, "now")
    world.webhooks.change(ANA, webhook_id, {"state": "active"}, "go on")
    assert world.webhooks.test(ANA, webhook_id, "now").state == "ready"


def test_a_message_that_waits_for_one_that_is_removed_goes_with_it(world: World) -> None:
    webhook_id, _ = world.add()
    world.tell()
    (job,) = world.queue.claim({"webhook"}, 1)
    world.webhooks.remove(ANA, webhook_id, "over")
    with pytest.raises(JobFailed, match="disabled or gone"):
        world.webhooks.deliver(job)
    assert not world.queue.finish(job)
    assert world.queue.page(cursor=None, limit=9) == []
    assert world.receiver.got == []


def test_another_tenants_webhook_is_not_there(world: World) -> None:
    webhook_id, _ = world.add("globex")
    own, _ = world.add("acme")
    world.tell("globex")
    world.work()
    sent = world.sent(webhook_id).id
    trials: list[Any] = [
        lambda: world.webhooks.get(webhook_id, tenant="acme"),
        lambda: world.webhooks.change(ANA, webhook_id, {}, "r", tenant="acme"),
        lambda: world.webhooks.rotate(ANA, webhook_id, "r", tenant="acme"),
        lambda: world.webhooks.remove(ANA, webhook_id, "r", tenant="acme"),
        lambda: world.webhooks.test(ANA, webhook_id, "r", tenant="acme"),
        lambda: world.webhooks.deliveries(webhook_id, tenant="acme", cursor=None, limit=9),
        lambda: world.webhooks.resend(ANA, webhook_id, sent, "r", tenant="acme"),
        lambda: world.webhooks.resend(ANA, own, sent, "r", tenant="acme"),
    ]
    for trial in trials:
        with pytest.raises(NotFound):
            trial()
    assert [one.id for one in world.webhooks.page(tenant="acme", cursor=None, limit=9)] == [own]
    assert world.webhooks.get(webhook_id).version == 1


def test_the_operators_own_are_told_of_every_tenant(world: World) -> None:
    webhook_id, _ = world.add(None)
    world.tell("acme")
    world.tell("globex")
    assert world.work() == ["done", "done"]
    assert world.webhooks.get(webhook_id).tenant_id == PLATFORM
    assert [one.id for one in world.webhooks.page(tenant=PLATFORM, cursor=None, limit=9)] == [webhook_id]


def test_there_are_only_so_many_of_one_tenant(world: World) -> None:
    for _ in range(MAX_WEBHOOKS):
        world.clock.advance(1)
        world.add()
    with pytest.raises(Conflict, match="There are 20 webhooks already"):
        world.add()
    world.add("globex")


def test_a_change_on_an_old_version_and_one_that_changes_nothing_write_nothing(world: World) -> None:
    webhook_id, _ = world.add()
    changed = world.webhooks.change(ANA, webhook_id, {"types": ["quota.threshold"]}, "fewer", based_on=1)
    assert (changed.version, changed.types, changed.url) == (2, ("quota.threshold",), URL)
    with pytest.raises(StaleVersion):
        world.webhooks.change(ANA, webhook_id, {"url": "https://late.example"}, "late", based_on=1)
    assert world.webhooks.change(ANA, webhook_id, {"url": URL}, "same") == changed
    with pytest.raises(InvalidRequest):
        world.webhooks.change(ANA, webhook_id, {"url": "nowhere"}, "wrong")
    assert world.webhooks.get(webhook_id) == changed


def test_a_webhook_for_a_tenant_that_there_is_not_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        world.webhooks.add(ANA, "nobody", URL, (), "told")


def test_a_trial_adds_nothing_and_shows_no_secret(world: World) -> None:
    assert world.webhooks.add(ANA, "acme", URL, (), "try", dry_run=True).secret is None
    assert world.webhooks.page(tenant=None, cursor=None, limit=9) == []
