"""A real browser, and visitors who look around with it: what goes wrong on their pages fails the test.

That is an error in the console, a violation of the Content-Security-Policy, a picture or a script that is missing, an answer of 500, a
request to anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from people import Keyboard, Mouse, NoScript, Person
from places import Demo
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)
from processes import Starter, give_up

import dev

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
LOCALES = {"en": "en-GB", "id": "id-ID"}
TIMEZONE = "Asia/Jakarta"
STANDARDS = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice")
TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI}`))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="where `dev.py screenshots` puts them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = dev.find_chromium()
    if program is None:
        give_up("NOT TESTED IN A BROWSER: name one by $CHROMIUM, or let `python3 dev.py test` fetch it")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def enter(browser: Browser) -> Callable[[Demo], Demo]:
    """`enter(demo)` signs its admin in, by password, and gives it back."""

    def entered(running: Demo) -> Demo:
        with browser.new_context(base_url=running.url, locale=LOCALES["en"], timezone_id=TIMEZONE) as context:
            page = context.new_page()
            page.goto("/admin/sign-in")
            page.get_by_label("Email").fill(running.facts["admin"]["email"])
            page.get_by_label("Password").fill(running.facts["admin"]["password"])
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("navigation", name="Console").wait_for()
            running.signed_in = context.storage_state()
        return running

    return entered


@pytest.fixture(scope="session")
def demo(enter: Callable[[Demo], Demo], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """All tests share it: what one changes for everybody, it changes back."""
    home, starter = tmp_path_factory.mktemp("demo"), Starter(tmp_path_factory.mktemp("processes"))
    yield enter(Demo(starter.demo(home), home))
    starter.stop()


@pytest.fixture
def visitor(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visitor(language="id", theme="dark", width=375, javascript=False, signed_in=True, demo=...)` opens an empty page of a new visitor.

    Without `demo` it is the one that all tests share. Paths are enough as addresses.
    """
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def opened(
        *,
        language: str = "en",
        theme: Literal["light", "dark"] = "light",
        width: int = 1280,
        javascript: bool = True,
        signed_in: bool = False,
        demo: Demo | None = None,
    ) -> Page:
        place: Demo = demo or request.getfixturevalue("demo")
        context = browser.new_context(
            base_url=place.url,
            locale=LOCALES[language],
            timezone_id=TIMEZONE,
            color_scheme=theme,
            reduced_motion="reduce",
            viewport={"width": width, "height": 800},
            java_script_enabled=javascript,
            storage_state=place.signed_in if signed_in else None,
        )
        contexts.append(context)
        watch(context, place.url, troubles)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()
    assert not troubles, "\n".join(troubles)


@pytest.fixture(params=[Mouse, Keyboard, NoScript])
def arrive(request: pytest.FixtureRequest, visitor: Callable[..., Page]) -> Callable[..., Person]:
    """Opens a page as `visitor` does, for somebody with a mouse, with a keyboard alone, without JavaScript: the test runs for each."""
    kind: type[Person] = request.param
    return lambda **how: kind(visitor(javascript=kind.has_scripts, **how))


def watch(context: BrowserContext, url: str, troubles: list[str]) -> None:
    """Note into `troubles` what a page of `url` must not do."""

    def said(message: ConsoleMessage) -> None:
        # A refused form is a page with its status, and the browser says so too.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            troubles.append(f"console of {message.page and message.page.url}: {message.text}")

    def asked(sent: Request) -> None:
        if not sent.url.startswith((f"{url}/", "data:", "blob:")):
            troubles.append(f"request to another origin: {sent.url}")

    def answered(answer: Response) -> None:
        page_or_form = answer.request.resource_type in ("document", "fetch", "xhr")
        if answer.status >= (500 if page_or_form else 400):
            troubles.append(f"{answer.status} from {answer.url}")

    context.add_init_script(TELL_VIOLATIONS)
    context.on("console", said)
    context.on("weberror", lambda error: troubles.append(f"script: {error.error}"))
    context.on("request", asked)
    context.on("response", answered)


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """`axe(page)` gives what hinders people on a page as it is now: a rule, where, and why, a line each."""

    def violations(page: Page) -> list[str]:
        if page.evaluate("typeof axe") == "undefined":
            page.evaluate(AXE_SCRIPT)
        options = {"runOnly": STANDARDS, "resultTypes": ["violations"]}
        found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
        return [
            f"{rule['id']} at {' '.join(map(str, node['target']))}: "
            + "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))
            for rule in found
            for node in rule["nodes"]
        ]

    return violations
