"""/docs and /docs/errors: a page for every error, that needs nothing and nobody else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from rollout.api import docs
from rollout.errors import QuotaExceeded, all_errors
from rollout.web import pages, problems, requests

CODES = sorted({error.code for error in all_errors() if error is not QuotaExceeded})
VOID = {"meta", "link", "br"}


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = Flask("documented", static_folder=None)
    app.extensions["rollout"] = SimpleNamespace(settings=SimpleNamespace(url="https://gate.example"))
    requests.install(app)
    problems.install(app)
    pages.install(app)
    app.register_blueprint(docs.routes)
    return app.test_client()


class Balanced(HTMLParser):
    """Collects the tags, and fails at one that closes what is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/docs", "/docs/errors", *(f"/docs/errors/{code}" for code in CODES)])
def test_a_page_is_whole_and_loads_nothing(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    page = Balanced(answer.text)
    assert {"title", "h1", "main", "nav"} <= page.seen
    assert not page.seen & {"script", "img", "iframe", "form"}
    assert re.findall("<link[^>]*>", answer.text) == ['<link rel="icon" href="data:,">']
    assert "color-scheme: light dark" in answer.text
    style = re.search(r"<style>(.*?)</style>", answer.text, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("code", CODES)
def test_an_errors_page_says_what_it_is_what_to_do_and_how_it_looks(client: FlaskClient, code: str) -> None:
    text = client.get(f"/docs/errors/{code}").text
    for heading in ("What it means", "What to do", "Retry?", "On the wire"):
        assert f"<h2>{heading}</h2>" in text
    assert "`" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S)
    openai, anthropic, native = [
        json.loads(html.unescape(example))
        for example in re.findall(r"<pre><code>(.*?)</code></pre>", text, re.S)
    ]
    assert openai["error"]["code"] == anthropic["error"]["details"]["error_code"] == native["code"] == code
    assert native["type"] == f"/docs/errors/{code}"


def test_the_list_leads_to_every_page(client: FlaskClient) -> None:
    linked = re.findall(r'href="/docs/errors/(\w+)"', client.get("/docs/errors").text)
    assert sorted(linked) == CODES


def test_statuses_are_those_of_each_surface(client: FlaskClient) -> None:
    text = client.get("/docs/errors/upstream_unavailable").text
    assert [text.count(f"<td>{statuses}</td>") for statuses in ("503, 502", "529, 502")] == [2, 1]


def test_what_is_no_error_has_no_page(client: FlaskClient) -> None:
    answer = client.get("/docs/errors/<script>")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
    assert answer.content_type == "application/problem+json"


def test_the_first_calls_name_this_service(client: FlaskClient) -> None:
    assert 'base_url="https://gate.example/v1"' in html.unescape(client.get("/docs").text)


def test_prose_is_escaped() -> None:
    assert docs.prose("a `<b>` & c\n\nnext") == "<p>a <code>&lt;b&gt;</code> &amp; c</p>\n<p>next</p>"
