"""/admin/flags/upstream by page, API and command: what the Unleash server said, how far our phases have got, what differs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console import SEED, Visitor
from doors import cheap_hasher
from fake_unleash import FakeAdmin, document

from rollout.app import create_app
from rollout.core.decisions import GENERATION
from rollout.core.flag_push import strategy_json
from rollout.core.jobs import Job
from rollout.core.tokens import NewToken, Role
from rollout.services.flag_push import KIND
from rollout.services.passwords import Passwords
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Visit = Callable[[Role], Visitor]
PAGE = "/admin/flags/upstream"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeAdmin:
    admin = FakeAdmin()
    monkeypatch.setattr("rollout.wiring.UnleashAdmin", lambda *_: admin)
    monkeypatch.setattr("rollout.wiring.Passwords", lambda: Passwords(cheap_hasher))
    return admin


@pytest.fixture
def with_unleash(new_database: Callable[..., str], tmp_path: Path, fake: FakeAdmin) -> Iterator[Services]:
    settings = Settings(
        home=str(tmp_path),
        database_url=new_database("sqlite"),
        secret_key="s" * 40,
        flags="unleash",
        unleash_url="http://unleash.test/api",
        unleash_token="*:production.hidden",
        unleash_admin_token="*:*.hidden",
    )
    services = build(settings)
    with services.changes.begin(SEED, "seed") as change:
        services.plans.ensure_plan(change)
    yield services
    services.close()


def work(services: Services) -> None:
    def attempt(job: Job) -> None:
        try:
            services.jobs.finish(job, services.flag_pushes.carry_out(job))
        except Exception as error:
            services.jobs.fail(job, error)

    for job in services.jobs.claim({KIND}, 16):
        attempt(job)


def visitor(services: Services, role: Role = "editor") -> Visitor:
    return Visitor(create_app(services), services).sign_in(role)


def test_without_a_server_the_page_says_how_to_have_one(visit: Visit) -> None:
    page = visit("viewer")
    assert page.get(PAGE).status_code == 200
    assert "ROLLOUT_FLAGS=unleash" in page.text


def test_the_page_shows_the_server_its_trouble_and_what_waits(
    with_unleash: Services, fake: FakeAdmin
) -> None:
    page = visitor(with_unleash)
    page.get(PAGE)
    assert "waiting" in page.text
    assert "not confirmed: generation is denied" in page.text
    upstream = with_unleash.upstream
    assert upstream is not None
    upstream.miss(401)
    fake.away = "Unleash answered 503."
    work(with_unleash)
    page.get(PAGE)
    assert "refused the token (401)" in page.text
    assert "Unleash answered 503." in page.text
    assert "hidden" not in page.text.replace('type="hidden"', "").replace('class="hidden"', "")
    fake.away = None
    with_unleash.flag_pushes.push(SEED, GENERATION, "again")
    work(with_unleash)
    assert upstream.take(document({"name": GENERATION, "enabled": True, "strategies": []}), '"1"')
    upstream.confirm(upstream._monotonic())
    page.get(PAGE)
    assert "written" in page.text
    assert "not confirmed" not in page.text
    assert "503" not in page.text


def test_drift_is_shown_with_both_sides_and_written_over_by_an_editor(
    with_unleash: Services, fake: FakeAdmin
) -> None:
    work(with_unleash)
    fake.edit(GENERATION, enabled=False, add=strategy_json({"name": "default", "title": "<b>by hand</b>"}))
    with_unleash.flag_pushes.push(SEED, GENERATION, "look")
    fake.meanwhile = iter(())
    (job,) = with_unleash.jobs.claim({KIND}, 1)
    with_unleash.jobs.finish(job, with_unleash.flag_pushes.carry_out(job))
    page = visitor(with_unleash)
    page.get(PAGE)
    assert "differs there" in page.text
    assert "&lt;b&gt;by hand&lt;/b&gt;" in page.text
    assert "<b>by hand" not in page.text
    assert page.send(f"push-{GENERATION}", reason="").status_code == 400
    assert page.send(f"push-{GENERATION}", reason="it was a mistake").status_code == 303
    (row,) = with_unleash.audit.page(limit=1)
    assert (row["action"], row["actor"], row["reason"]) == (
        "flag.pushed",
        "user:editor@example.com",
        "it was a mistake",
    )


def test_a_viewer_may_look_and_not_push(with_unleash: Services) -> None:
    page = visitor(with_unleash, "viewer")
    page.get(PAGE)
    assert "Write it anew" in page.text
    assert page.client.post(f"{PAGE}/{GENERATION}/push").status_code == 403


def test_the_api_tells_the_same_and_takes_a_push(with_unleash: Services) -> None:
    client = create_app(with_unleash).test_client()
    secret = with_unleash.tokens.add(SEED, NewToken("ana", "editor"), "seed").secret
    headers = {"Authorization": f"Bearer {secret}"}
    shown = client.get("/admin/api/v1/flags/upstream", headers=headers).json
    assert shown["mode"] == "unleash"
    assert shown["feed"]["age_seconds"] is None
    (push,) = shown["pushes"]
    assert (push["feature"], push["state"]) == (GENERATION, "waiting")
    for body, status in (
        ({"feature": GENERATION, "reason": "again"}, 202),
        ({"feature": GENERATION}, 400),
        ({"feature": "no-such-plan", "reason": "again"}, 404),
    ):
        answer = client.post("/admin/api/v1/flags/upstream/push", json=body, headers=headers)
        assert answer.status_code == status, answer.json
