"""/admin/webhooks and /admin/jobs: who is told, what was sent, what died."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from console import SEED, Visitor

from rollout.core.jobs import JobFailed
from rollout.core.tokens import Role
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
URL = "https://example.com/hook"


@pytest.fixture
def hook(wired: Services) -> str:
    return wired.webhooks.add(SEED, "acme", URL, ["quota.threshold"], "seed").webhook.id


@pytest.fixture
def dead(wired: Services, hook: str) -> str:
    wired.webhooks.test(SEED, hook, "seed")
    (job,) = wired.jobs.claim({"webhook"}, 1)
    outcome = {"status": 500, "excerpt": "<script>alert(1)</script>"}
    wired.jobs.fail(job, JobFailed("the receiver answered 500", outcome=outcome))
    return job.id


def test_a_webhook_is_added_and_its_secret_shown_once(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/webhooks")
    assert "Nobody is told of anything." in page.text
    answer = page.send("add-webhook", url=URL, tenant="acme", types="quota.exhausted", reason="the pager")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert re.search(r"<pre[^>]*>whsec_[\w+/=]{44}</pre>", answer.text)
    (made,) = wired.webhooks.page(tenant=None, cursor=None, limit=9)
    assert (made.tenant_id, made.types) == ("acme", ("quota.exhausted",))
    page.get("/admin/webhooks")
    assert f"{URL} active acme quota.exhausted" in page.text
    assert "whsec_" not in page.page.text


def test_a_refused_form_keeps_what_was_typed_and_ticked(visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/webhooks")
    answer = page.send("add-webhook", url="https://u:p@example.com", types="feedback.received", reason="x")
    assert "holds no user name or password" in page.text
    assert 'value="https://u:p@example.com"' in answer.text
    assert 'value="feedback.received" checked' in answer.text


def test_a_webhook_is_changed_tried_out_rotated_and_removed(wired: Services, visit: Visit, hook: str) -> None:
    page, here = visit("editor"), f"/admin/webhooks/{hook}"
    page.get(here)
    page.send("change", url="https://new.example/", state="active", types="webhook.test", reason="moved")
    page.follow()
    assert "Webhook changed" in page.text
    changed = wired.webhooks.get(hook)
    assert (changed.url, changed.types) == ("https://new.example/", ("webhook.test",))
    page.send("test", reason="does it arrive?")
    page.follow()
    assert "webhook.test ready" in page.text
    assert "whsec_" in page.send("rotate", reason="leaked").text
    page.get(here)
    page.send("remove", reason="over")
    page.follow()
    assert "Webhook removed" in page.text
    assert page.get(here).status_code == 404


def test_somebody_faster_is_seen(wired: Services, visit: Visit, hook: str) -> None:
    page = visit("editor")
    page.get(f"/admin/webhooks/{hook}")
    wired.webhooks.change(SEED, hook, {"url": "https://faster.example/"}, "faster")
    page.send("change", url="https://late.example/", reason="late")
    assert "Somebody changed this while you were at it" in page.text
    assert wired.webhooks.get(hook).url == "https://faster.example/"


def test_what_died_stands_on_the_first_page_and_is_done_again(
    wired: Services, visit: Visit, dead: str
) -> None:
    page = visit("editor")
    page.get("/admin")
    assert "1 background job died in the last seven days." in page.text
    page.get("/admin/jobs")
    assert "the receiver answered 500" in page.text
    page.get(f"/admin/jobs/{dead}")
    assert "alert(1)" in page.page.text
    assert "<script>alert" not in page.page.text
    page.send("replay", reason="repaired")
    page.follow()
    assert "Job done again" in page.text
    assert wired.jobs.get(dead).state == "ready"
    page.get("/admin/jobs")
    assert "No job is in this state." in page.text
    page.get("/admin/jobs?state=ready")
    assert dead in page.text


def test_a_job_that_was_replayed_meanwhile_says_so(wired: Services, visit: Visit, dead: str) -> None:
    page = visit("editor")
    page.get(f"/admin/jobs/{dead}")
    wired.jobs.replay(SEED, dead, "faster")
    page.send("replay", reason="late")
    assert "The job is ready: it will be done anyway." in page.text


def test_lists_are_taken_away_as_files(visit: Visit, hook: str, dead: str) -> None:
    page = visit("viewer")
    assert f"{hook},acme,{URL}" in page.get("/admin/webhooks?format=csv").text
    assert f"{dead},acme,webhook,{hook},dead" in page.get("/admin/jobs?format=csv").text


def test_a_viewer_sees_what_others_may_do(visit: Visit, hook: str, dead: str) -> None:
    page = visit("viewer")
    for path in ("/admin/webhooks", f"/admin/webhooks/{hook}", f"/admin/jobs/{dead}"):
        page.get(path)
        assert "needs the role editor" in page.text
        assert {form.name for form in page.forms()} <= {"", "preferences", "sign-out"}
