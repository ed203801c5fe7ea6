"""Against a real Unleash server: phases are written and read back, what it says decides, what is done by hand there is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock, ClockedDatabase
from doors import ALICE
from processes import wait_until
from unleash import ADMIN_TOKEN, CLIENT_TOKEN, Unleash, unleash_server
from upstreams import Site

from rollout.core.decisions import GENERATION
from rollout.core.flag_push import Remove, Standing, Switch
from rollout.delivery.unleash import UnleashAdmin, UnleashFailed
from rollout.sync.unleash import Feeder

pytestmark = [pytest.mark.node, pytest.mark.postgres]

BARE = "bare"
FLAG = f"/projects/default/features/{GENERATION}"
STRATEGIES = f"{FLAG}/environments/production/strategies"
BY_HAND = {"name": "flexibleRollout", "title": "by hand", "parameters": {"rollout": "100"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[..., str]) -> Iterator[Unleash]:
    url = new_database("postgresql", migrated=False)
    with unleash_server(tmp_path_factory.mktemp("unleash"), url) as running:
        yield running


@pytest.fixture
def unleash(server: Unleash) -> Unleash:
    """As if nobody had written the flag yet. It is not deleted: Unleash may die of that, soon after the flag was made."""
    ours = admin(server)
    there = ours.read(GENERATION) or Standing(enabled=False)
    for id, _ in there.strategies:
        ours.do(GENERATION, Remove(id))
    wait_until(lambda: not any(flag["enabled"] for flag in server.features().values()), "the flag to be off")
    return server


class Real(Site):
    """A site whose Unleash is real: what is written goes there, and what is polled comes from there."""

    def __init__(self, unleash: Unleash, folder: Path, url: str, clock: Clock) -> None:
        super().__init__(ClockedDatabase(url, clock), clock)
        self.unleash = unleash
        self.pushes._admin = admin(unleash)

    def gets(self, decided: str, tenant: str = "acme") -> None:
        """Polls until that is decided: what Unleash gives SDKs is up to a second old."""
        wait_until(lambda: self.polls() and self.decides(tenant) == decided, f"{tenant}: {decided}")

    def polls(self) -> bool:
        """One poll by the client that polls."""
        words: list[str] = []
        feeder = Feeder(self.unleash.url, CLIENT_TOKEN, _Once(self, words), monotonic=self.clock)
        feeder._turns.stop()
        feeder._run()
        self.state.refresh()
        return words == ["confirmed"]


class _Once:
    def __init__(self, site: Site, words: list[str]) -> None:
        self._upstream, self._words = site.upstream, words

    def etag(self) -> str:
        return self._upstream.etag()

    def take(self, text: str, etag: str) -> bool:
        return self._upstream.take(text, etag)

    def confirm(self, asked_at: float) -> None:
        self._words.append("confirmed")
        self._upstream.confirm(asked_at)

    def miss(self, status: int | None) -> None:
        self._words.append(f"missed {status}")
        self._upstream.miss(status)


def admin(unleash: Unleash, **other: Any) -> UnleashAdmin:
    how = {"token": ADMIN_TOKEN, "project": "default", "environment": "production", **other}
    return UnleashAdmin(unleash.url, **how)


@pytest.fixture
def site(unleash: Unleash, tmp_path: Path, new_database: Callable[..., str], clock: Clock) -> Iterator[Real]:
    made = Real(unleash, tmp_path, new_database("sqlite"), clock)
    yield made
    made.database.close()


def events(unleash: Unleash, count: int) -> list[dict[str, Any]]:
    """The last things that happened, oldest first."""
    found: list[dict[str, Any]] = unleash.admin("GET", "/events")["events"]
    return found[:count][::-1]


def strategies(unleash: Unleash) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = unleash.admin("GET", STRATEGIES)
    return found


def test_a_plan_is_written_read_back_fetched_and_decides(site: Real) -> None:
    assert site.decides() == "no: flags_stale"
    assert site.work() == ["pushed"]
    assert (site.push()["state"], site.push()["drift"]) == ("pushed", [])
    assert [item["title"] for item in strategies(site.unleash)] == ["phase:internal", "phase:private_beta"]
    assert {"grant", "halt", "cohorts", "tenantId"} <= admin(site.unleash).fields()
    site.gets("granted")
    assert site.decides("globex") == "no: not_granted"
    site.advance("general_availability")
    assert site.decides("globex") == "no: flag_off"
    site.work()
    assert site.push()["state"] == "pushed"
    site.gets("ga", "globex")


def test_widening_switches_on_last_and_narrowing_takes_the_widest_first(site: Real) -> None:
    site.work()
    assert [event["type"] for event in events(site.unleash, 3)] == [
        "feature-strategy-add",
        "feature-strategy-add",
        "feature-environment-enabled",
    ]
    site.advance("percentage")
    site.work()
    widest = [item["id"] for item in strategies(site.unleash)][:0:-1]
    site.roll_back("internal")
    site.work()
    assert [event["preData"]["id"] for event in events(site.unleash, 3)] == widest
    assert site.push()["state"] == "pushed"


def test_a_kill_switches_the_environment_off_and_a_revival_on(site: Real) -> None:
    site.work()
    site.kill()
    site.work()
    standing = admin(site.unleash).read(GENERATION)
    assert standing is not None
    assert not standing.enabled
    site.features.revive(ALICE, GENERATION, "on", wait=0)
    site.work()
    assert site.push()["state"] == "pushed"
    site.gets("granted")


def test_what_is_done_there_by_hand_is_told_within_a_poll_and_never_taken_over(site: Real) -> None:
    site.work()
    site.gets("granted")
    site.work()
    id = site.unleash.admin("POST", STRATEGIES, BY_HAND)["id"]
    wait_until(lambda: site.polls() and site.work(), "a poll to bring what is new")
    (drift,) = site.push()["drift"]
    assert (drift["name"], drift["wanted"]) == ("by hand", None)
    assert site.decides("globex") == "no: not_granted"
    site.unleash.admin("DELETE", f"{STRATEGIES}/{id}")
    site.pushes.look()
    assert site.work() == ["compared"]
    assert site.push()["state"] == "pushed"


def test_what_is_switched_off_there_stops_here_and_a_person_brings_it_back(site: Real) -> None:
    site.work()
    site.gets("granted")
    site.unleash.admin("POST", f"{FLAG}/environments/production/off", {})
    site.gets("no: flag_off")
    site.work()
    site.advance("wider_beta")
    site.work()
    assert site.push()["state"] == "drift"
    site.pushes.push(ALICE, GENERATION, "it was a mistake")
    site.work()
    assert site.push()["state"] == "pushed"
    site.gets("granted")


def test_an_edited_strategy_is_written_anew_and_the_order_set_right(site: Real) -> None:
    site.work()
    first, second = strategies(site.unleash)
    site.unleash.admin("PUT", f"{STRATEGIES}/{first['id']}", {**BY_HAND, "title": first["title"]})
    order = [{"id": second["id"], "sortOrder": 0}, {"id": first["id"], "sortOrder": 1}]
    site.unleash.admin("POST", f"{STRATEGIES}/set-sort-order", order)
    site.pushes.push(ALICE, GENERATION, "ours")
    site.work()
    assert (site.push()["state"], site.push()["drift"]) == ("pushed", [])
    assert [item["id"] for item in strategies(site.unleash)] == [first["id"], second["id"]]


def test_a_flag_that_was_archived_there_is_gone_and_why_is_said_by_unleash_itself(unleash: Unleash) -> None:
    ours = admin(unleash)
    ours.create("archived", "")
    unleash.admin("DELETE", "/projects/default/features/archived")
    assert ours.read("archived") is None
    with pytest.raises(UnleashFailed, match=r"409 .* archived flag with that name already exists"):
        ours.create("archived", "")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token": "*:*.revoked"}, "401"),
        ({"token": CLIENT_TOKEN}, "403"),
        ({"environment": "nowhere"}, "no environment 'nowhere'"),
    ],
)
def test_what_the_admin_api_refuses_is_said(site: Real, wrong: dict[str, str], said: str) -> None:
    site.work()
    with pytest.raises(UnleashFailed, match=said):
        admin(site.unleash, **wrong).read(GENERATION)


def test_a_flag_of_another_project_is_not_there(site: Real) -> None:
    site.work()
    assert admin(site.unleash, project="another").read(GENERATION) is None


def test_unleash_lets_everybody_in_by_a_flag_that_is_switched_on_without_a_strategy(unleash: Unleash) -> None:
    """Why ours are there before: should this fail one day, `core.flag_push` may say less."""
    ours = admin(unleash)
    ours.create(BARE, "")
    ours.do(BARE, Switch(on=True))
    standing = ours.read(BARE)
    assert isinstance(standing, Standing)
    ((_, strategy),) = standing.strategies
    assert (strategy["parameters"]["rollout"], strategy["constraints"]) == ("100", [])
    ours.do(BARE, Switch(on=False))


@pytest.mark.parametrize(("token", "status"), [("*:production.revoked", 401), (ADMIN_TOKEN, 403)])
def test_a_token_that_is_no_good_is_told(site: Real, token: str, status: int) -> None:
    words: list[str] = []
    feeder = Feeder(site.unleash.url, token, _Once(site, words))
    feeder._turns.stop()
    feeder._run()
    assert words == [f"missed {status}"]
    assert str(status) in site.pushes.upstream()["feed"]["trouble"]
