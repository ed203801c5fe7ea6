"""A language that nobody speaks: each translated text stands in ⟦brackets⟧, so that words outside of them are hard-coded."""

from __future__ import annotations

import gettext
import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from console import SEED, Visitor
from flask import Flask

from rollout.app import create_app
from rollout.cli import history
from rollout.cli.demonstration import seed
from rollout.core.decisions import GENERATION
from rollout.core.steps import Edit, Jump, Pause
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.web import language
from rollout.wiring import build

NAMES = {"CSV", "JSON", "Phasegate"}
"""Words that are the same in every language."""

SILENT = {"code", "time", "script", "style", "svg", "pre", "kbd"}
SPOKEN_ATTRIBUTES = ("aria-label", "alt", "placeholder", "title")
VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "use", "path", "rect", "wbr"}
WORD = re.compile(r"[A-Za-z]{2,}")
DATA = re.compile(r"US\$|\b[a-z]+_[0-9a-z]{26}\b")
"""Money and ids, where no markup can tell them from words, as in the title of a page."""


class Pseudo(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


class Listener(HTMLParser):
    """Collects words outside of brackets, but for data: ids, times, and what is marked as not to be translated."""

    def __init__(self) -> None:
        super().__init__()
        self.hard_coded: list[str] = []
        self._silent: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        is_silent = tag in SILENT or has.get("translate") == "no" or ("lang" in has and tag != "html")
        if not (self._silent or is_silent):
            for name in SPOKEN_ATTRIBUTES:
                self._hear(has.get(name) or "", inside=False)
        if (self._silent or is_silent) and tag not in VOID:
            self._silent.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._silent and self._silent[-1] == tag:
            self._silent.pop()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._hear(data, inside=True)

    def _hear(self, text: str, *, inside: bool) -> None:
        depth = self._depth if inside else 0
        outside = ""
        for letter in DATA.sub("", text):
            depth += (letter == "⟦") - (letter == "⟧")
            outside += letter if depth == 0 else " "
        self._depth = depth if inside else self._depth
        self.hard_coded += [word for word in WORD.findall(outside) if word not in NAMES]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    settings = Settings.from_env({"ROLLOUT_HOME": str(tmp_path_factory.mktemp("home"))})
    migrate.upgrade(settings.database)
    history.live_through(settings)
    seed(settings)
    built = build(settings)
    built.features.kill(SEED, "image-analysis", "for its page")
    hook = built.webhooks.add(SEED, "hooli", "https://example.com/hook", [], "for its page").webhook
    built.webhooks.test(SEED, hook.id, "for its page")
    people = Edit({"phases": {"general_availability": {"entry": {"approvals": 1}}}})
    for step in (people, Jump("general_availability")):
        built.change_requests.submit(SEED, GENERATION, step, "for its page")
    built.schedules.add(SEED, GENERATION, 7_000_000_000, Pause(), "for the plan's page")
    built.state.refresh()
    yield built
    built.close()


@pytest.fixture
def app(services: Services, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(language, "catalogue", lambda _: Pseudo())
    return create_app(services)


PAGES_A_RULE = 4
"""How many addresses of one kind are looked at."""

NOT_LINKED = {"/admin/sign-in", "/admin/sign-in/link", "/admin/static/<name>"}
"""For people who are not signed in, and files."""


DOORS = ["/admin", "/admin/search?q=h", "/admin/kill/image-analysis/acks"]
"""Where a walk begins: at home, and at what is reached by a form or for a moment only."""


def walk(app: Flask, visitor: Visitor) -> dict[str, list[str]]:
    """Follow every link from the doors on: the pages of each rule, as `{rule: [html]}`."""
    seen: dict[str, list[str]] = {}
    waiting, known = [*DOORS], {*DOORS}
    while waiting:
        path = waiting.pop(0)
        rule, _ = app.url_map.bind("localhost").match(path.partition("?")[0], "GET", return_rule=True)
        if len(seen.setdefault(str(rule), [])) >= PAGES_A_RULE or "format=" in path:
            continue
        answer = visitor.get(path)
        assert answer.status_code in (200, 303), f"{path}: {answer.status_code} {answer.text[:500]}"
        seen[str(rule)].append(answer.text if answer.status_code == 200 else "")
        for link in re.findall(r'(?:href|hx-get)="(/admin[^"#]*)', answer.text):
            found = html.unescape(link)
            if found not in known and not found.startswith("/admin/static/"):
                known.add(found)
                waiting.append(found)
    return seen


def test_no_page_has_a_hard_coded_word(app: Flask, services: Services) -> None:
    pages = walk(app, Visitor(app, services).sign_in("admin"))
    heard = [
        f"{rule}: {word}" for rule, shown in pages.items() for page in shown for word in hard_coded(page)
    ]
    assert not heard, "\n".join(sorted(set(heard)))
    assert linkable(app) - set(pages) == set(), "pages that no link leads to"


def hard_coded(page: str) -> list[str]:
    listener = Listener()
    listener.feed(page)
    return listener.hard_coded


def linkable(app: Flask) -> set[str]:
    """The rules of pages for those who are signed in."""
    rules = (rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or set()))
    kinds = {str(rule): getattr(app.view_functions[rule.endpoint], "operation", None) for rule in rules}
    return {rule for rule, kind in kinds.items() if kind and kind.auth.scheme == "session"} - NOT_LINKED


def test_a_hard_coded_word_is_heard() -> None:
    assert hard_coded(
        '<p title="Tip">Plain <b>⟦said ⟧</b> <code>id</code> <i translate="no">Ana</i></p>'
    ) == ["Tip", "Plain"]
