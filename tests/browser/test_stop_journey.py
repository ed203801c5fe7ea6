"""Somebody stops generation for everyone, sees that every worker has stopped, and an admin revives it. Analysis answers all along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Mouse, Partner, Person, admin, new_partner, steadily
from places import GENERATION, Demo
from playwright.sync_api import Locator, Page, expect
from processes import Starter, wait_until

from rollout.cli import demonstration
from rollout.settings import Settings


@pytest.fixture
def running(demo: Demo) -> Iterator[Demo]:
    """The shared demo, which goes on whatever comes of the test."""
    yield demo
    go_on(demo)


@pytest.fixture(scope="module")
def two_workers(
    enter: Callable[[Demo], Demo], shared_starter: Starter, new_database: Callable[..., str]
) -> Demo:
    """The demo's tenants on PostgreSQL, served by two processes."""
    service = shared_starter.service(new_database("postgresql"), workers=2)
    demonstration.write_file(Settings.from_env(service.environ), service.demo)
    return enter(Demo(service, Path(service.environ["ROLLOUT_HOME"])))


def go_on(demo: Demo) -> None:
    if admin(demo, "GET", f"/features/{GENERATION}")["killed"]:
        admin(demo, "POST", f"/features/{GENERATION}/revive", {"reason": "the journey is over"})


def test_generation_is_stopped_and_revived_while_analysis_answers(
    running: Demo, arrive: Callable[..., Person]
) -> None:
    stop_and_revive(arrive(signed_in=True), new_partner(running, "Acme", is_in=True), "1 of 1 workers")


@pytest.mark.postgres
def test_the_stop_of_two_workers_on_postgresql_is_seen_on_both(
    two_workers: Demo, visitor: Callable[..., Page]
) -> None:
    person = Mouse(visitor(demo=two_workers, signed_in=True))
    with contextlib.ExitStack() as afterwards:
        afterwards.callback(go_on, two_workers)
        stop_and_revive(person, new_partner(two_workers, "Acme", is_in=True), "2 of 2 workers")


def stop_and_revive(person: Person, partner: Partner, all_workers: str) -> None:
    page, log = person.page, partner.demo.process.log
    wait_until(lambda: partner.generate()[0] == 200, "the partner to be in on every worker", log)
    with steadily(partner.analyse) as analyses:
        page.goto("/admin")
        person.press(page.get_by_role("link", name="Stop", exact=True))
        expect(page.get_by_role("checkbox", name="Image generation")).to_be_checked()
        expect(page.get_by_role("checkbox", name="Image analysis")).not_to_be_checked()
        person.fill(page.get_by_label("Reason"), "wrong pictures")
        person.press(page.get_by_role("button", name="Stop now"))
        expect(page.get_by_role("main")).to_contain_text("Stopped for everyone.")
        see(person, page.locator("#acks"), all_workers)
        assert {outcome(partner) for _ in range(10)} == {(403, "feature_killed")}

        person.fill(page.get_by_label("Reason"), "the model is mended")
        person.press(page.get_by_role("button", name="Revive"))
        expect(page.get_by_role("main")).to_contain_text("Not stopped for everyone.")
        see(person, page.locator("#acks"), all_workers)
        assert {outcome(partner) for _ in range(4)} == {(200, None)}
    assert len(analyses) > 1
    assert {status for status, _, _ in analyses} == {200}


def see(person: Person, panel: Locator, words: str) -> None:
    """In the panel that looks again by itself; without scripts the reader loads the page again."""
    if person.has_scripts:
        expect(panel).to_contain_text(words)
        return
    while words not in panel.inner_text():
        person.page.reload()


def outcome(partner: Partner) -> tuple[int, str | None]:
    status, _, answer = partner.generate()
    return status, answer.get("error", {}).get("code")
