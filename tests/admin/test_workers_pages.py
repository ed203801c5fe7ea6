"""/admin/workers, and vendors at the page of stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from console import SEED, Visitor

from rollout.core.decisions import GENERATION
from rollout.core.tokens import Role
from rollout.db.tables import kill
from rollout.services.registry import Services
from rollout.services.workers import Worker

Visit = Callable[[Role], Visitor]


def test_workers_are_listed_with_what_they_lack(wired: Services, visit: Visit, clock: Any) -> None:
    page = visit("viewer")
    assert "No worker serves." in page.get("/admin/workers").text
    wired.state.refresh()
    Worker(wired.database, "wrk_here", "host-1", 4711, lambda: wired.state.snapshot.revision).register()
    page.get("/admin/workers")
    assert "1 of 1 decide on the newest revision" in page.text
    wired.features.kill(SEED, GENERATION, "drill", wait=0)
    page.get("/admin/workers")
    assert "0 of 1 decide on the newest revision" in page.text
    assert "host-1 4711 running" in page.text
    assert "1 revision, 0 s" in page.text
    assert 'href="/admin/workers"' in page.get("/admin/kill").text


def test_a_vendor_is_stopped_and_revived_at_the_page_of_stops(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/kill")
    assert "vendor openai" in page.text
    page.send("kill", features=["vendor:openai"], reason="wrong pictures")
    assert page.page.headers["Location"].startswith("/admin/kill/vendor:openai?done="), page.text
    page.follow()
    assert "vendor openai" in page.text
    assert "Stopped for everyone." in page.text
    assert "Last served" not in page.text
    assert wired.vendors.get("openai")["enabled"] is False
    assert "vendor openai is stopped for everyone" in page.get("/admin").text
    page.get("/admin/kill/vendor:openai")
    page.send("revive", reason="mended")
    assert wired.vendors.get("openai")["enabled"] is True


def test_a_vendor_of_one_tenant_stops_nothing(wired: Services, visit: Visit) -> None:
    page = visit("editor")
    page.get("/admin/kill")
    page.send("kill", features=[GENERATION, "vendor:openai"], tenant="acme", reason="wrong pictures")
    assert page.page.status_code == 400
    assert "A vendor is switched off for everyone." in page.text
    assert wired.switches.stops() == []


def test_a_reminder_that_has_come_asks_on_the_first_page_and_revives_nothing(
    wired: Services, visit: Visit
) -> None:
    wired.switches.stop(SEED, "vendor:openai", "wrong pictures", remind_at=4_000_000_000, wait=0)
    page = visit("viewer")
    page.get("/admin")
    assert "does it still have to be stopped?" not in page.text
    with wired.database.write() as tx:
        tx.execute(sa.update(kill).values(remind_at=1_700_000_000))
    assert wired.switches.remind() == 1
    page.get("/admin")
    assert "vendor openai is stopped for everyone" in page.text
    assert "A reminder was set for 14 Nov 2023" in page.text
    assert "does it still have to be stopped?" in page.text
    assert wired.vendors.get("openai")["enabled"] is False


def test_a_vendor_in_trouble_is_shown_where_it_is_seen_until_it_is_well(
    wired: Services, visit: Visit, clock: Any
) -> None:
    troubles = {
        "openai": {
            "state": "half_open",
            "since": "2026-11-18T11:06:40Z",
            "failures": 12,
            "last": "NotSent: x",
        }
    }
    wired.state.refresh()
    worker = Worker(
        wired.database,
        "wrk_here",
        "host-1",
        7,
        lambda: wired.state.snapshot.revision,
        troubles=lambda: troubles,
    )
    worker.register()
    worker.report()
    page = visit("viewer")
    page.get("/admin/workers")
    assert "openai half open" in page.text
    (seen,) = wired.vendors.get("openai")["breakers"]
    assert seen == {"worker": "wrk_here", **troubles["openai"]}
    assert wired.vendors.get("anthropic")["breakers"] == []
    troubles.clear()
    worker.report()
    page.get("/admin/workers")
    assert "openai half open" not in page.text
    assert wired.workers.list()[0]["breakers"] == {}
