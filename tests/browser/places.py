"""Every page that people see, in one list: the tests of all pages and the screenshots walk it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import Process, call

GENERATION = "image-generation"


@dataclass
class Demo:
    """A running `rollout demo`. `signed_in` is the browser state of its admin, once it was used to sign in."""

    process: Process
    home: Path
    signed_in: Any = None

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def facts(self) -> dict[str, Any]:
        """What `demo.json` holds."""
        facts: dict[str, Any] = json.loads((self.home / "demo.json").read_text())
        return facts

    def html(self, path: str) -> str:
        """A page as its admin gets it."""
        cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in self.signed_in["cookies"])
        status, _, page = call("GET", self.url + path, headers={"cookie": cookies})
        assert status == 200, (path, page)
        return str(page.decode())

    def generate(self, prompt: str = "a lighthouse at dusk", tenant: str = "acme") -> dict[str, str]:
        """The headers of a new picture's answer."""
        body = {"prompt": prompt, "size": "1024x1024", "quality": "low"}
        key = self.facts["tenants"][tenant]["key"]
        status, headers, answer = call("POST", f"{self.url}/v1/images/generations", body, key=key)
        assert status == 200, answer
        return headers


@dataclass(frozen=True)
class Place:
    """A page; one whose address is known only to a running demo is looked up there. What developers read is English alone."""

    name: str
    path: str | Callable[[Demo], str]
    signed_in: bool = True
    translated: bool = True

    def on(self, demo: Demo) -> str:
        return self.path if isinstance(self.path, str) else self.path(demo)


def linked(to: str, on: str) -> Callable[[Demo], str]:
    """The first link on a page to an address that begins so."""

    def look(demo: Demo) -> str:
        found = re.search(rf'href="({re.escape(to)}[^"?#]+)"', demo.html(on))
        assert found, f"{on} has no link to {to}..."
        return found[1]

    return look


def sign_in_link(demo: Demo) -> str:
    return str(demo.facts["console"]).removeprefix(demo.url)


def stopped(demo: Demo) -> str:
    """The page of a stop, of one partner's analysis."""
    token, body = demo.facts["admin"]["token"], {"tenant": "soylent", "reason": "its page is looked at"}
    kill = f"{demo.url}/admin/api/v1/features/image-analysis/kill"
    status, _, answer = call("POST", kill, body, key=token)
    assert status == 200, answer
    return "/admin/kill/image-analysis?tenant=soylent"


def webhook(demo: Demo) -> str:
    """The page of a webhook that nobody listens to, with a message on it."""
    token, api = demo.facts["admin"]["token"], f"{demo.url}/admin/api/v1/webhooks"
    there = call("GET", f"{api}?tenant=hooli", key=token)[2]["data"]
    if there:
        return f"/admin/webhooks/{there[0]['id']}"
    body = {"url": "http://127.0.0.1:9/hook", "tenant": "hooli", "reason": "its page is looked at"}
    status, _, hook = call("POST", api, body, key=token)
    assert status == 201, hook
    assert call("POST", f"{api}/{hook['id']}/test", {"reason": "its page is looked at"}, key=token)[0] == 202
    return f"/admin/webhooks/{hook['id']}"


def job(demo: Demo) -> str:
    """The page of that message."""
    found = re.search(r"/admin/jobs/job_\w+", demo.html(webhook(demo)))
    assert found
    return found[0]


def change_request(demo: Demo) -> str:
    """The page of one that waits: general availability asks for a second person."""
    token, api = demo.facts["admin"]["token"], f"{demo.url}/admin/api/v1"
    if there := call("GET", f"{api}/change-requests", key=token)[2]["data"]:
        return f"/admin/change-requests/{there[0]['id']}"
    plan, why = f"{api}/plans/{GENERATION}", "its page is looked at"
    _, headers, _ = call("GET", plan, key=token)
    gate = {"phases": {"general_availability": {"entry": {"approvals": 1}}}, "reason": why}
    assert call("PATCH", plan, gate, key=token, headers={"If-Match": headers["etag"]})[0] == 200
    jump = {"to": "general_availability", "reason": why}
    status, _, request = call("POST", f"{plan}/jump", jump, key=token)
    assert status == 202, request
    return f"/admin/change-requests/{request['id']}"


def handle(demo: Demo) -> str:
    return f"/f/{demo.generate()['x-rollout-feedback']}"


PLACES = (
    Place("sign-in", "/admin/sign-in", signed_in=False),
    Place("sign-in-link", sign_in_link, signed_in=False),
    Place("home", "/admin"),
    Place("search", "/admin/search?q=nobody"),
    Place("tenants", "/admin/tenants"),
    Place("tenant", "/admin/tenants/hooli"),
    Place("keys", "/admin/tenants/hooli/keys"),
    Place("key", linked("/admin/tenants/hooli/keys/", on="/admin/tenants/hooli/keys")),
    Place("grants", "/admin/grants"),
    Place("grant", linked("/admin/grants/", on="/admin/grants")),
    Place("access-requests", "/admin/access-requests"),
    Place("access-request", linked("/admin/access-requests/", on="/admin/access-requests")),
    Place("plans", "/admin/plans"),
    Place("plan", f"/admin/plans/{GENERATION}"),
    Place("plan-advance", f"/admin/plans/{GENERATION}/advance"),
    Place("plan-restart", f"/admin/plans/{GENERATION}/restart"),
    Place("change-requests", "/admin/change-requests"),
    Place("change-request", change_request),
    Place("phase", f"/admin/plans/{GENERATION}/phases/percentage"),
    Place("phase-new", f"/admin/plans/{GENERATION}/new-phase"),
    Place("plan-simulate", f"/admin/plans/{GENERATION}/simulate?do=advance"),
    Place("meters", "/admin/meters"),
    Place("meter", linked("/admin/meters/", on="/admin/tenants/hooli")),
    Place("holds", "/admin/holds"),
    Place("hold", linked("/admin/holds/", on="/admin/holds")),
    Place("statements", "/admin/statements"),
    Place("statement", "/admin/statements/hooli"),
    Place("ledger", "/admin/ledger"),
    Place("feedback", "/admin/feedback"),
    Place("feedback-item", linked("/admin/feedback/", on="/admin/feedback")),
    Place("requests", "/admin/requests"),
    Place("request", linked("/admin/requests/", on="/admin/requests")),
    Place("request-rated", linked("/admin/requests/", on="/admin/feedback")),
    Place("guardrail-events", "/admin/guardrail-events"),
    Place("explain", f"/admin/explain?tenant=globex&feature={GENERATION}"),
    Place("flags", "/admin/flags"),
    Place("flags-import", "/admin/flags/import"),
    Place("flags-upstream", "/admin/flags/upstream"),
    Place("flag", "/admin/flags/production/new-editor"),
    Place("segments", "/admin/segments"),
    Place("segment", linked("/admin/segments/", on="/admin/segments")),
    Place("flag-tokens", "/admin/flag-tokens"),
    Place("flag-token", linked("/admin/flag-tokens/", on="/admin/flag-tokens")),
    Place("flag-clients", "/admin/flag-clients"),
    Place("flag-metrics", f"/admin/flag-metrics?flag={GENERATION}"),
    Place("webhooks", "/admin/webhooks"),
    Place("webhook", webhook),
    Place("jobs", "/admin/jobs"),
    Place("job", job),
    Place("audit", "/admin/audit"),
    Place("audit-verified", "/admin/audit/verify"),
    Place("kill", "/admin/kill"),
    Place("kill-feature", stopped),
    Place("catalogue", "/admin/catalogue"),
    Place("catalogue-model", "/admin/catalogue/models/claude-sonnet-4-5"),
    Place("catalogue-painter", "/admin/catalogue/models/gpt-image-2.6-flare"),
    Place("catalogue-aliases", "/admin/catalogue/aliases"),
    Place("catalogue-alias", "/admin/catalogue/aliases/dall-e-3"),
    Place("catalogue-vendors", "/admin/catalogue/vendors"),
    Place("catalogue-proposals", "/admin/catalogue/proposals"),
    Place("workers", "/admin/workers"),
    Place("users", "/admin/users"),
    Place("user", linked("/admin/users/", on="/admin/users")),
    Place("me", "/admin/me"),
    Place("rate", handle, signed_in=False),
    Place("docs", "/docs", signed_in=False, translated=False),
    Place("errors", "/docs/errors", signed_in=False, translated=False),
    Place("error", "/docs/errors/insufficient_quota", signed_in=False, translated=False),
    Place("not-found", "/admin/tenants/nobody"),
)
