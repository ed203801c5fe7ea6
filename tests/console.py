"""A person at the console, in process: signs in as people do, follows links, sends the forms that the pages show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from rollout.core.audit import Actor
from rollout.core.tokens import Role
from rollout.core.users import NewUser
from rollout.services.registry import Services

SEED = Actor("system:seed")
PASSWORD = "a long enough password"


@dataclass
class Form:
    """A form as the page shows it: where it goes, and what is in its fields before anybody types."""

    action: str
    method: str
    fields: dict[str, str]

    @property
    def name(self) -> str:
        return self.fields.get("_form", "")


class Visitor:
    """A browser without scripts; `page` is what it shows."""

    def __init__(self, app: Flask, services: Services) -> None:
        self.app, self.services = app, services
        self.client = app.test_client()
        self.page: TestResponse

    def sign_in(self, role: Role = "admin", email: str | None = None) -> Visitor:
        """As a new user with this role."""
        email = email or f"{role}@example.com"
        new = NewUser(email=email, name=role.capitalize(), role=role)
        self.services.users.add(SEED, new, "test", password=PASSWORD)
        self.get("/admin/sign-in")
        self.send("sign-in", email=email, password=PASSWORD)
        assert self.page.status_code == 303, self.page.text
        return self

    def get(self, path: str, **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.page = self.client.get(path, headers=sent)
        return self.page

    def send(self, form: str, **typed: Any) -> TestResponse:
        """Send the page's form of that name with `typed` over what its fields hold; None leaves a field out."""
        found = self.form(form)
        data = {name: value for name, value in {**found.fields, **typed}.items() if value is not None}
        self.page = self.client.open(found.action, method=found.method.upper(), data=data)
        return self.page

    def follow(self) -> TestResponse:
        """Go where the answer says."""
        return self.get(self.page.headers["Location"])

    def form(self, name: str) -> Form:
        found = next((one for one in self.forms() if one.name == name), None)
        assert found, f"no form {name!r} on the page; there are {[one.name for one in self.forms()]}"
        return found

    def forms(self) -> list[Form]:
        return _Forms.of(self.page.text)

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return text_of(self.page.text)


def text_of(html: str) -> str:
    shown = re.sub(r"<(script|style|title)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown)).strip()


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open = False
        self._select: str | None = None
        self._area: str | None = None

    @classmethod
    def of(cls, html: str) -> list[Form]:
        parser = cls()
        parser.feed(html)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has: Mapping[str, str] = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(has.get("action", ""), has.get("method", "get"), {}))
            self._open = True
        elif not self._open:
            return
        elif tag == "input" and "name" in has:
            self._input(has)
        elif tag == "select":
            self._select = has.get("name")
        elif tag == "option" and self._select:
            if "selected" in has or self._select not in self.found[-1].fields:
                self.found[-1].fields[self._select] = has.get("value", "")
        elif tag == "textarea" and "name" in has:
            self._area = has["name"]
            self.found[-1].fields[self._area] = ""

    def _input(self, has: Mapping[str, str]) -> None:
        if has.get("type") in ("checkbox", "radio") and "checked" not in has:
            return
        self.found[-1].fields[has["name"]] = has.get("value", "on" if has.get("type") == "checkbox" else "")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "form"
        self._select = None if tag == "select" else self._select
        self._area = None if tag == "textarea" else self._area

    def handle_data(self, data: str) -> None:
        if self._area:
            self.found[-1].fields[self._area] += data
