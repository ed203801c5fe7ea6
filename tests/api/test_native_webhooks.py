"""/api/v1/webhooks: a partner's own, by any of its keys that may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from doors import ALICE, Door
from flask.testing import FlaskClient

from rollout.app import create_app
from rollout.core.jobs import JobFailed
from rollout.core.tenants import NewKey, Scope, Tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

URL = "https://example.com/hook"
Enter = Callable[..., Door]


@pytest.fixture
def services(new_database: Callable[..., str], tmp_path: Any) -> Iterator[Services]:
    built = build(Settings(home=str(tmp_path), database_url=new_database("sqlite"), secret_key="s" * 40))
    with built.changes.begin(ALICE, "seed") as change:
        built.plans.ensure_plan(change)
    for tenant in ("acme", "globex"):
        built.tenants.add(ALICE, Tenant(tenant, tenant), "seed")
    built.state.refresh()
    yield built
    built.close()


@pytest.fixture
def enter(services: Services) -> Enter:
    client: FlaskClient = create_app(services).test_client()

    def door(tenant: str = "acme", scopes: tuple[Scope, ...] = ("read",)) -> Door:
        secret = services.keys.add(ALICE, tenant, NewKey("test", scopes=scopes), "test").secret
        return Door(client, "/api/v1", str(secret))

    return door


def added(door: Door, **fields: Any) -> Any:
    status, hook, _ = door.post("/webhooks", {"url": URL, **fields})
    assert status == 201, hook
    return hook


def test_a_webhook_is_added_with_its_secret_shown_once(enter: Enter) -> None:
    door = enter()
    status, hook, headers = door.post("/webhooks", {"url": URL, "types": ["quota.threshold"]})
    assert (status, headers["Cache-Control"], headers["ETag"]) == (201, "no-store", '"1"')
    assert hook["secret"].startswith("whsec_")
    assert (hook["tenant"], hook["state"], hook["types"]) == ("acme", "active", ["quota.threshold"])
    _, shown, _ = door.get(f"/webhooks/{hook['id']}")
    assert shown == {name: value for name, value in hook.items() if name != "secret"}
    assert door.get("/webhooks")[1] == {"data": [shown], "next_cursor": None}


def test_the_log_says_which_key_did_it(enter: Enter, services: Services) -> None:
    added(enter())
    entry = services.audit.page(limit=1)[0]
    assert (entry["action"], entry["tenant_id"], entry["reason"]) == (
        "webhook.added",
        "acme",
        "by the partner",
    )
    assert entry["actor"].startswith("key:key_")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": "https://u:p@example.com"}, "url"),
        ({"url": URL, "types": ["quota.gone"]}, "types"),
        ({"url": URL, "types": "quota.threshold"}, "types"),
        ({"url": URL, "tenant": "globex"}, "tenant"),
        ({"url": URL, "secret": "mine"}, "secret"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_added(enter: Enter, body: dict[str, Any], param: str) -> None:
    door = enter()
    status, problem, _ = door.post("/webhooks", body)
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", param)
    assert door.get("/webhooks")[1]["data"] == []


def test_a_webhook_is_changed_rotated_and_removed(enter: Enter) -> None:
    door = enter()
    hook = added(door)
    path = f"/webhooks/{hook['id']}"
    status, changed, headers = door.patch(
        path, {"types": ["webhook.test"], "state": "disabled"}, If_Match='"1"'
    )
    assert (status, changed["types"], changed["state"], headers["ETag"]) == (
        200,
        ["webhook.test"],
        "disabled",
        '"2"',
    )
    assert door.patch(path, {"state": "active"}, If_Match='"1"')[1]["code"] == "stale_version"
    assert door.patch(path, {"state": "asleep"})[1]["param"] == "state"
    assert door.patch(path, {"state": "active"})[1]["state"] == "active"
    status, rotated, headers = door.post(f"{path}/rotate")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert rotated["secret"] != hook["secret"]
    assert rotated["rotated_at"] is not None
    assert door.send("DELETE", path)[0] == 200
    assert door.get(path)[0] == 404


def test_a_test_is_sent_listed_and_sent_again(enter: Enter, services: Services) -> None:
    door = enter()
    path = f"/webhooks/{added(door)['id']}"
    status, sent, _ = door.post(f"{path}/test")
    assert (status, sent["type"], sent["state"]) == (202, "webhook.test", "ready")
    again = f"{path}/deliveries/{sent['id']}/resend"
    assert door.post(again)[1]["code"] == "conflict"
    (job,) = services.jobs.claim({"webhook"}, 1)
    services.jobs.fail(job, JobFailed("the receiver answered 500", outcome={"status": 500}))
    (listed,) = door.get(f"{path}/deliveries")[1]["data"]
    assert (listed["id"], listed["state"], listed["last_error"]) == (
        sent["id"],
        "dead",
        "the receiver answered 500",
    )
    assert listed["outcome"] == {"status": 500}
    status, waiting, _ = door.post(again)
    assert (status, waiting["id"], waiting["state"]) == (202, sent["id"], "ready")


@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"), ("GET", "/deliveries"),
        ("POST", "/deliveries/job_1/resend"),
    ],
)  # fmt: skip
def test_another_tenants_webhook_and_none_are_the_same(enter: Enter, method: str, suffix: str) -> None:
    theirs = added(enter("globex"))["id"]
    body = {} if method == "PATCH" else None
    answers = [enter().send(method, f"/webhooks/{id_}{suffix}", body) for id_ in (theirs, "wh_nobody")]
    assert [status for status, _, _ in answers] == [404, 404]
    assert enter("globex").get(f"/webhooks/{theirs}")[0] == 200


def test_a_key_that_may_not_read_may_nothing_here(enter: Enter) -> None:
    status, problem, _ = enter(scopes=("generate",)).get("/webhooks")
    assert (status, problem["code"]) == (403, "permission_denied")
