"""Who walks the journeys: partners with a key, and people with a mouse, with a keyboard alone, or without scripts."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from places import GENERATION, Demo
from playwright.sync_api import Locator, Page, expect
from processes import call

MOST_TABS = 400
"""More than any page has places to stop at."""

_NUMBERS = itertools.count(1)
_IS_FOCUSED = "element => element === document.activeElement && element.matches(':focus-visible')"
_IS_BEFORE_FOCUS = """element => document.activeElement !== document.body
  && Boolean(element.compareDocumentPosition(document.activeElement) & Node.DOCUMENT_POSITION_FOLLOWING)"""

Answer = tuple[int, dict[str, str], Any]
"""(status, headers, JSON)"""


class Mouse:
    """Clicks on things, and types where it clicked."""

    has_scripts = True

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        """A link, a button, or what opens details."""
        target.click()

    def fill(self, field: Locator, text: str) -> None:
        field.click()
        field.fill(text)

    def choose(self, options: Locator, value: str) -> None:
        options.select_option(value)

    def tick(self, box: Locator) -> None:
        """A checkbox: the other way than it is. A radio button: this one."""
        box.click()


class NoScript(Mouse):
    """The same in a browser whose JavaScript is switched off."""

    has_scripts = False


class Keyboard:
    """Has no mouse: gets everywhere by Tab, and sees at each step where it is."""

    has_scripts = True

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, target: Locator) -> None:
        """Tab to it, backwards where it lies behind."""
        expect(target).to_be_visible()
        key = "Shift+Tab" if target.evaluate(_IS_BEFORE_FOCUS) else "Tab"
        for _ in range(MOST_TABS):
            if target.evaluate(_IS_FOCUSED):
                return
            self.page.keyboard.press(key)
        pytest.fail(f"{target} cannot be reached by {key}")

    def press(self, target: Locator) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, field: Locator, text: str) -> None:
        self.reach(field)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)
        expect(field).to_have_value(text)

    def choose(self, options: Locator, value: str) -> None:
        self.reach(options)
        self.page.keyboard.press("Home")
        while options.input_value() != value:
            before = options.input_value()
            self.page.keyboard.press("ArrowDown")
            assert options.input_value() != before, f"there is no {value!r}"

    def tick(self, box: Locator) -> None:
        if box.get_attribute("type") == "radio":
            self._walk_to(box)
        else:
            self.reach(box)
            self.page.keyboard.press("Space")

    def _walk_to(self, radio: Locator) -> None:
        """Tab stops at one button of a group only; arrows go on from there, and choose."""
        group = self.page.locator(f"input[type=radio][name={radio.get_attribute('name')}]")
        chosen = group.locator(":scope:checked")
        self.reach(chosen if chosen.count() else group.first)
        for _ in range(group.count()):
            if radio.evaluate(_IS_FOCUSED):
                break
            self.page.keyboard.press("ArrowDown")
        if not radio.is_checked():
            self.page.keyboard.press("Space")
        expect(radio).to_be_focused()


Person = Mouse | Keyboard


@dataclass(frozen=True)
class Partner:
    """A tenant that only one test knows, and a live key of it."""

    demo: Demo
    id: str
    name: str
    key: str

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        return call(method, self.demo.url + path, body, key=self.key)

    def generate(self, prompt: str = "a boat") -> Answer:
        body = {"prompt": prompt, "size": "1024x1024", "quality": "low"}
        return self.call("POST", "/v1/images/generations", body)

    def analyse(self) -> Answer:
        ask = {
            "model": "claude-haiku-5-5",
            "max_tokens": 20,
            "messages": [{"role": "user", "content": "hello"}],
        }
        return self.call("POST", "/v1/messages", ask)

    def rate(self, about: dict[str, str], rating: str, comment: str | None = None) -> dict[str, Any]:
        """What an end user said `about` a handle, or a generation and an end user."""
        status, _, item = self.call(
            "POST", "/api/v1/feedback", {**about, "rating": rating, "comment": comment}
        )
        assert status == 201, item
        return dict(item)


def admin(demo: Demo, method: str, path: str, body: Any = None) -> Any:
    """A call to the admin API."""
    return _admin(demo, method, path, body)[1]


def change(demo: Demo, path: str, fields: dict[str, Any]) -> None:
    """What somebody else does meanwhile, by the admin API."""
    seen = _admin(demo, "GET", path)[0]["etag"]
    _admin(demo, "PATCH", path, {**fields, "reason": "somebody else's wish"}, {"if-match": seen})


def _admin(
    demo: Demo, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[dict[str, str], Any]:
    token = demo.facts["admin"]["token"]
    status, told, answer = call(method, f"{demo.url}/admin/api/v1{path}", body, key=token, headers=headers)
    assert status < 300, answer
    return told, answer


def new_partner(
    demo: Demo,
    name: str,
    *,
    is_in: bool = False,
    a_day: int | None = None,
    attributes: dict[str, str] | None = None,
) -> Partner:
    """`is_in`: has a grant; `a_day`: may make so many pictures."""
    tenant, why = f"{name.lower()}-{next(_NUMBERS)}", {"reason": "for a journey"}
    where_it_is_noon = (
        f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # so that no day ends while a test counts in it
    )
    new = {"id": tenant, "name": name, "tz": where_it_is_noon, "attributes": attributes or {}, **why}
    admin(demo, "POST", "/tenants", new)
    key = admin(demo, "POST", f"/tenants/{tenant}/keys", {"name": "live", **why})["secret"]
    if a_day is not None:
        meter = {
            "tenant": tenant,
            "feature": GENERATION,
            "unit": "image",
            "period": "day",
            "cap": a_day,
            **why,
        }
        admin(demo, "POST", "/meters", meter)
    if is_in:
        admin(demo, "POST", "/grants", {"tenant": tenant, "feature": GENERATION, **why})
    return Partner(demo, tenant, name, key)


@dataclass(frozen=True)
class Colleague:
    """A user of the console that only one test knows."""

    demo: Demo
    id: str
    email: str
    password: str

    def sign_in(self, person: Person) -> None:
        """On the sign-in page, wherever that leads."""
        person.fill(person.page.get_by_label("Email"), self.email)
        person.fill(person.page.get_by_label("Password"), self.password)
        person.press(person.page.get_by_role("button", name="Sign in"))

    def lose_sessions(self) -> None:
        same = {"password": self.password, "reason": "for a journey"}
        admin(self.demo, "POST", f"/users/{self.id}/password", same)


def new_colleague(demo: Demo) -> Colleague:
    """An admin with a password."""
    email, password = f"ana-{next(_NUMBERS)}@example.com", "a long enough password"
    new = {"email": email, "name": "Ana", "role": "admin", "password": password, "reason": "for a journey"}
    return Colleague(demo, admin(demo, "POST", "/users", new)["id"], email, password)


@contextlib.contextmanager
def steadily(make_call: Callable[[], Answer]) -> Iterator[list[Answer]]:
    """Calls one after another until the block ends; what was answered so far."""
    answers: list[Answer] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.05):  # as a partner calls, not as fast as it can
            answers.append(make_call())

    caller = threading.Thread(target=go_on, daemon=True)
    caller.start()
    try:
        yield answers
    finally:
        over.set()
        caller.join(60)
