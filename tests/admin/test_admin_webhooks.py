"""/admin/api/v1/webhooks and /jobs: the operators' own, every tenant's, and what died."""

from __future__ import annotations

from typing import Any

import pytest
from doors import ALICE, Door

from rollout.app import create_app
from rollout.core.jobs import Job, JobFailed
from rollout.core.tokens import NewToken, Role
from rollout.services.registry import Services

WHY = {"reason": "for the test"}
HOOK = {"url": "https://example.com/hook", **WHY}


def door(services: Services, role: Role = "editor") -> Door:
    token = services.tokens.add(ALICE, NewToken(role, role), "test").secret
    return Door(create_app(services).test_client(), "/admin/api/v1", str(token))


@pytest.fixture
def editor(wired: Services) -> Door:
    return door(wired)


def died(services: Services) -> Job:
    (job,) = services.jobs.claim({"webhook"}, 1)
    services.jobs.fail(job, JobFailed("the receiver answered 500", final=True))
    return services.jobs.get(job.id)


def test_the_operators_own_belong_to_no_tenant(editor: Door) -> None:
    status, own, headers = editor.post("/webhooks", HOOK)
    assert (status, own["tenant"], headers["Cache-Control"]) == (201, None, "no-store")
    _, theirs, _ = editor.post("/webhooks", {**HOOK, "tenant": "acme"})

    def listed(query: str) -> list[Any]:
        return [hook["id"] for hook in editor.get(f"/webhooks{query}")[1]["data"]]

    assert sorted(listed("")) == sorted([own["id"], theirs["id"]])
    assert (listed("?tenant=acme"), listed("?tenant=~platform")) == ([theirs["id"]], [own["id"]])
    assert listed("?tenant=globex") == []


def test_a_change_says_what_it_is_based_on(editor: Door) -> None:
    path = f"/webhooks/{editor.post('/webhooks', HOOK)[1]['id']}"
    assert editor.patch(path, {"state": "disabled", **WHY})[1]["code"] == "precondition_required"
    assert editor.patch(path, {"state": "disabled", **WHY}, If_Match='"1"')[1]["state"] == "disabled"
    assert editor.patch(path, {"state": "active", **WHY}, If_Match='"1"')[1]["code"] == "stale_version"
    assert editor.post(f"{path}/test", WHY)[1]["code"] == "conflict"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"reason": "x"}, 400, "url"),
        ({**HOOK, "tenant": "nobody"}, 404, "tenant"),
        ({"url": HOOK["url"]}, 400, "reason"),
    ],
)
def test_what_is_wrong_is_named(editor: Door, body: dict[str, Any], status: int, param: str) -> None:
    answer = editor.post("/webhooks", body)
    assert (answer[0], answer[1]["param"]) == (status, param)


def test_what_died_is_listed_shown_and_done_again(editor: Door, wired: Services) -> None:
    hook = editor.post("/webhooks", {**HOOK, "tenant": "acme"})[1]["id"]
    editor.post(f"/webhooks/{hook}/test", WHY)
    dead = died(wired)
    (listed,) = editor.get("/jobs?state=dead")[1]["data"]
    assert (listed["id"], listed["kind"], listed["subject"], listed["tenant"]) == (
        dead.id,
        "webhook",
        hook,
        "acme",
    )
    assert editor.get(f"/jobs?kind=reconcile&subject={hook}")[1]["data"] == []
    assert editor.get(f"/jobs/{dead.id}")[1] == listed
    assert editor.post(f"/jobs/{dead.id}/replay", WHY)[1]["state"] == "ready"
    assert editor.post(f"/jobs/{dead.id}/replay", WHY)[0] == 409
    assert editor.post("/jobs/job_nobody/replay", WHY)[0] == 404
    assert editor.get("/jobs?state=lost")[1]["param"] == "state"


def test_a_viewer_looks_and_does_nothing(wired: Services) -> None:
    viewer = door(wired, "viewer")
    assert viewer.get("/webhooks")[0] == viewer.get("/jobs")[0] == 200
    assert viewer.post("/webhooks", HOOK)[0] == viewer.post("/jobs/job_1/replay", WHY)[0] == 403
