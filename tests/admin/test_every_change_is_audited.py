"""Every route of the admin API that changes something leaves an audit entry: who, what, before, after, why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from uses import generation

from rollout.app import create_app
from rollout.core.audit import Actor
from rollout.core.catalogue_checks import Proposal
from rollout.core.decisions import GENERATION, Decision
from rollout.core.generation_jobs import GenerationJob
from rollout.core.grants import Asking
from rollout.core.holds import HoldRequest
from rollout.core.jobs import JobFailed
from rollout.core.steps import Edit, Restart
from rollout.core.tokens import NewToken
from rollout.db import catalogue_proposals, generation_jobs, generations
from rollout.db.engine import Tx
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

SEED = Actor("system:seed")
LIMITS = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 5}


@pytest.fixture
def services(
    new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    home = str(tmp_path_factory.mktemp("home"))
    settings = Settings(home=home, database_url=new_database("sqlite"), secret_key="s" * 40)
    unleash = {"unleash_url": "http://unleash.test/api", "unleash_token": "t", "unleash_admin_token": "t"}
    built = build(replace(settings, flags="unleash", **unleash))
    yield built
    built.close()


class Admin:
    """Makes calls as the token `ana`, remembers which routes they took, and what the audit log says of each."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.app: Flask = create_app(services)
        token = services.tokens.add(SEED, NewToken("ana", "admin"), "seed").secret
        self._client, self._headers = self.app.test_client(), {"Authorization": f"Bearer {token}"}
        self.taken: set[tuple[str, str]] = set()

    def change(
        self, method: str, path: str, body: dict[str, Any], action: str, *, is_new: bool = False
    ) -> Any:
        url, reason = f"/admin/api/v1{path}", f"because of {action}"
        headers = dict(self._headers)
        if method in ("PUT", "PATCH"):
            headers["If-Match"] = self._client.get(url, headers=headers).headers["ETag"]
        seen = self._last_seq()
        answer = self._client.open(url, method=method, json={**body, "reason": reason}, headers=headers)
        assert answer.status_code < 300, answer.json
        rule, _ = self.app.url_map.bind("localhost").match(url, method, return_rule=True)
        self.taken.add((method, str(rule)))
        entries = [row for row in self.services.audit.page(limit=20) if row["seq"] > seen]
        entry = next(row for row in entries if row["action"] == action)
        assert (entry["actor"], entry["reason"]) == ("token:ana", reason)
        assert entry["request_id"].startswith("req_")
        assert (entry["before"] is None) == is_new
        assert entry["before"] != entry["after"]
        return answer.json

    def _last_seq(self) -> int:
        return int(self.services.audit.page(limit=1)[0]["seq"])

    def routes_that_change(self) -> set[tuple[str, str]]:
        return {
            (method, str(rule))
            for rule in self.app.url_map.iter_rules()
            for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
            if str(rule).startswith("/admin/api/")
        }


def test_every_route_that_changes_something_is_audited(services: Services) -> None:
    admin = Admin(services)
    change = admin.change
    begun = {"feature": GENERATION, "template": "partner_beta", "phase": "private_beta"}
    change("POST", "/plans", begun, "plan.added", is_new=True)
    change("POST", "/tenants", {"id": "acme", "name": "Acme"}, "tenant.added", is_new=True)
    change("PATCH", "/tenants/acme", {"name": "Acme Ltd"}, "tenant.changed")
    change("POST", "/tenants/acme/suspend", {}, "tenant.suspended")
    change("POST", "/tenants/acme/activate", {}, "tenant.active")

    key = change("POST", "/tenants/acme/keys", {"name": "ci"}, "key.added", is_new=True)
    rotated = change("POST", f"/tenants/acme/keys/{key['id']}/rotate", {}, "key.added", is_new=True)
    change("POST", f"/tenants/acme/keys/{rotated['id']}/revoke", {}, "key.revoked")
    token = change("POST", "/tokens", {"name": "bob", "role": "viewer"}, "token.added", is_new=True)
    change("POST", f"/tokens/{token['id']}/revoke", {}, "token.revoked")

    wanted = {"name": "site", "type": "frontend", "tenant": "acme"}
    flag_token = change("POST", "/flag-tokens", wanted, "flag_token.added", is_new=True)
    change("POST", f"/flag-tokens/{flag_token['id']}/revoke", {}, "flag_token.revoked")

    carol = {"email": "carol@example.com", "name": "Carol", "role": "viewer"}
    user = change("POST", "/users", carol, "user.added", is_new=True)
    change("PATCH", f"/users/{user['id']}", {"role": "editor"}, "user.changed")
    change("POST", f"/users/{user['id']}/link", {}, "user.link_made", is_new=True)
    change("POST", f"/users/{user['id']}/password", {"password": "twelve or more"}, "user.password_set")
    change("POST", f"/users/{user['id']}/disable", {}, "user.disabled")
    change("POST", f"/users/{user['id']}/enable", {}, "user.enabled")

    grant = change("POST", "/grants", {"tenant": "acme", "feature": GENERATION}, "grant.created", is_new=True)
    change("PATCH", f"/grants/{grant['id']}", {"expires_at": "2099-01-01T00:00:00Z"}, "grant.changed")
    change("POST", f"/grants/{grant['id']}/revoke", {}, "grant.revoked")
    change("POST", f"/access-requests/{asked(services)}/deny", {}, "access_request.denied")
    change("POST", f"/access-requests/{asked(services)}/approve", {}, "access_request.approved")

    meter = change(
        "POST", "/meters", {"tenant": "acme", **LIMITS, "period": "life"}, "meter.added", is_new=True
    )
    change("PATCH", f"/meters/{meter['id']}", {"cap": 9}, "meter.changed")
    topup = change("POST", "/topups", {"meter": meter["id"], "amount": 5}, "topup.added", is_new=True)
    change("POST", f"/topups/{topup['id']}/void", {}, "topup.voided")
    used = {"tenant": "acme", "feature": GENERATION, "unit": "image", "amount": 1}
    change("POST", "/adjustments", used, "adjustment.added", is_new=True)
    change("DELETE", f"/meters/{meter['id']}", {}, "meter.archived")
    change("POST", f"/holds/{unknown_hold(services)}/settle", {}, "hold.settled")
    change("POST", f"/holds/{unknown_hold(services)}/void", {}, "hold.voided")

    for action, audited in (
        ("advance", "plan.advanced"), ("pause", "plan.paused"), ("resume", "plan.resumed"), ("rollback", "plan.rolled_back"),
        ("restart", "plan.restarted"),
    ):  # fmt: skip
        change("POST", f"/plans/{GENERATION}/{action}", {}, audited)
    change("POST", f"/plans/{GENERATION}/jump", {"to": "percentage"}, "plan.jumped")
    change(
        "PATCH",
        f"/plans/{GENERATION}",
        {"four_eyes": False, "phases": {"internal": {"title": "Us"}}},
        "plan.edited",
    )
    phases = services.plans.get(GENERATION)["phases"][:-1]
    change("PUT", f"/plans/{GENERATION}", {"phases": phases}, "plan.edited")
    later = {"at": "2199-01-01T00:00:00Z", "do": "pause"}
    schedule = change("POST", f"/plans/{GENERATION}/schedule", later, "schedule.added", is_new=True)
    change("POST", f"/schedules/{schedule['id']}/cancel", {}, "schedule.cancelled")
    change("POST", f"/change-requests/{filed(services)}/reject", {}, "change_request.rejected")
    own = change("POST", f"/plans/{GENERATION}/restart", {}, "change_request.added", is_new=True)
    change("POST", f"/change-requests/{own['id']}/withdraw", {}, "change_request.withdrawn")
    change("POST", f"/change-requests/{filed(services)}/approve", {}, "change_request.approved")
    filed(services)
    change("POST", f"/plans/{GENERATION}/approve", {}, "change_request.approved")

    for_all = {"name": "new-editor", "strategies": [{"name": "default"}]}
    change("POST", "/flags", {"document": for_all}, "flag.added", is_new=True)
    change("PUT", "/flags/new-editor", {"document": {**for_all, "enabled": True}}, "flag.changed")
    change(
        "POST", "/flags/import", {"document": {"features": [{**for_all, "enabled": False}]}}, "flag.imported"
    )
    change("POST", "/flags/upstream/push", {"feature": GENERATION}, "flag.pushed")
    change("POST", "/flags/new-editor/archive", {}, "flag.archived")
    change("POST", "/flags/new-editor/revive", {}, "flag.revived")
    testers = {
        "name": "testers",
        "constraints": [{"contextName": "userId", "operator": "IN", "values": ["a"]}],
    }
    segment = change("POST", "/segments", {"document": testers}, "segment.added", is_new=True)
    described = {**testers, "description": "who tries things first"}
    change("PUT", f"/segments/{segment['id']}", {"document": described}, "segment.changed")
    change("DELETE", f"/segments/{segment['id']}", {}, "segment.removed")

    hook = change("POST", "/webhooks", {"url": "https://example.com/hook"}, "webhook.added", is_new=True)
    change("PATCH", f"/webhooks/{hook['id']}", {"types": ["quota.threshold"]}, "webhook.changed")
    change("POST", f"/webhooks/{hook['id']}/rotate", {}, "webhook.rotated")
    sent = change("POST", f"/webhooks/{hook['id']}/test", {}, "webhook.tested", is_new=True)
    dead_job(services)
    change("POST", f"/webhooks/{hook['id']}/deliveries/{sent['id']}/resend", {}, "webhook.resent")
    change("POST", f"/jobs/{dead_job(services)}/replay", {}, "job.replayed")
    change("DELETE", f"/webhooks/{hook['id']}", {}, "webhook.removed")
    change("POST", f"/generations/{queued_generation(services)}/cancel", {}, "generation.cancelled")

    change("POST", f"/features/{GENERATION}/kill", {}, "feature.killed", is_new=True)
    change("POST", f"/features/{GENERATION}/revive", {}, "feature.revived")
    change("POST", "/catalogue/vendors/openai/disable", {}, "vendor.disabled", is_new=True)
    change("POST", "/catalogue/vendors/openai/enable", {}, "vendor.enabled")

    painter, nickname = "/catalogue/models/gpt-image-2", "/catalogue/aliases/gpt-image-1"
    document = services.catalogue_rows.get("model", "gpt-image-2")["document"]
    change("PUT", painter, {"document": {**document, "max_images": 4}}, "model.changed")
    change("DELETE", painter, {}, "model.reset")
    new = {**document["prices"][0], "id": "openai/gpt-image-2/2027-01"}
    change("POST", f"{painter}/prices", {"price": new}, "model.changed")
    change("PUT", nickname, {"document": {"to": "gpt-image-1.5"}}, "alias.changed")
    everyone = {"to": "gpt-image-2.6-flare", "phase": "general_availability"}
    change("POST", f"{nickname}/move", everyone, "alias.changed")
    change("POST", f"{nickname}/finish", {}, "plan.ended")
    change("DELETE", nickname, {}, "alias.removed")
    change("POST", f"{painter}/move", everyone, "plan.added", is_new=True)
    change("POST", f"{painter}/finish", {"call_off": True}, "model.changed")
    change("POST", f"{painter}/retire", {"successor": "gpt-image-2.6-flare"}, "model.retired")

    kept, dropped = proposed(services)
    change("POST", f"/catalogue/proposals/{kept}/apply", {}, "proposal.applied")
    change("POST", f"/catalogue/proposals/{dropped}/dismiss", {}, "proposal.dismissed")

    assert admin.routes_that_change() - admin.taken == {
        ("PATCH", "/admin/api/v1/feedback/<feedback_id>"),
        ("POST", "/admin/api/v1/catalogue/verify"),
        ("POST", "/admin/api/v1/ledger/verify"),
        ("POST", "/admin/api/v1/plans/<feature>/simulate"),
    }, (
        "a route that changes something is not tried here (feedback has its own test: test_admin_feedback; "
        "to look at the books changes nothing, and leaves a row that says who did; a simulation changes nothing, nor does "
        "a look at vendors' lists, which proposes)"
    )
    assert services.audit.verify() is None


def proposed(services: Services) -> list[str]:
    """Two models that a vendor no longer has, it says."""
    names = ("claude-opus-5-5", "claude-haiku-5-5")
    with services.database.write() as tx:
        for name in names:
            found = {"retires_at": None}
            catalogue_proposals.add(tx, Proposal(f"prp_{name}", "anthropic", name, "gone", found, "open", 0))
    return [f"prp_{name}" for name in names]


def asked(services: Services) -> str:
    outside = Decision("dec_1", "acme", GENERATION, False, "not_granted", "private_beta", 1, 1)
    standing, _ = services.access.ask(SEED, outside, Asking("covers"))
    return standing.request.id


def filed(services: Services) -> str:
    """A change that somebody else filed, of a plan under four eyes."""
    if not services.plans.get(GENERATION)["four_eyes"]:
        services.change_requests.submit(SEED, GENERATION, Edit({"four_eyes": True}), "two people")
    request = services.change_requests.submit(SEED, GENERATION, Restart(), "new figures").change_request
    assert request
    return str(request["id"])


def dead_job(services: Services) -> str:
    (job,) = services.jobs.claim({"webhook"}, 1)
    services.jobs.fail(job, JobFailed("for the test", final=True))
    return job.id


def queued_generation(services: Services) -> str:
    def left(tx: Tx, hold_id: str, now: int) -> None:
        generations.add(tx, generation(hold_id=hold_id, created_at=now))
        generation_jobs.add(tx, GenerationJob("acme", "gen_1", {}))

    services.ledger.reserve(hold_request("req_2"), also=left)
    return "gen_1"


def unknown_hold(services: Services) -> str:
    with services.ledger.hold(hold_request("req_1")) as held:
        held.unknown("for the test")
    return held.id


def hold_request(request_id: str) -> HoldRequest:
    return HoldRequest(
        "acme",
        GENERATION,
        "dec_1",
        request_id,
        "key_1",
        (),
        0,
        {"image": 1, "usd_micro": 9},
        "f",
        None,
        "openai",
        "m",
        "p",
    )
