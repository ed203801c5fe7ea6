"""Files for browsers: named by their content, kept for ever, and exactly what their makers published."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from flask import Flask

from rollout.errors import NotFound
from rollout.web.assets import Assets

STATIC = Path(__file__).parents[2] / "admin/static"

VENDORED = {"htmx-4.0.1.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"}
"""File and sha256, of the package htmx.org 4.0.1."""

LICENCES = ("htmx-4.0.1.LICENSE", "icons.LICENSE")


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    (tmp_path / "page.css").write_text("p { color: red }")
    (tmp_path / "notes.txt").write_text("for nobody")
    return Assets(tmp_path, "/static")


def test_an_address_names_the_content_and_may_be_kept_for_ever(assets: Assets) -> None:
    url = assets.url("page.css")
    assert url == f"/static/page.{hashlib.sha256(b'p { color: red }').hexdigest()[:12]}.css"
    with Flask("files").test_request_context(headers={"Accept-Encoding": "gzip"}):
        answer = assets.send(url.removeprefix("/static/"))
    assert gzip.decompress(answer.data) == b"p { color: red }"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (answer.headers["Vary"], answer.headers["Content-Encoding"]) == ("Accept-Encoding", "gzip")


def test_who_takes_no_gzip_gets_the_file_as_it_is(assets: Assets) -> None:
    with Flask("files").test_request_context():
        answer = assets.send(assets.url("page.css").removeprefix("/static/"))
    assert answer.data == b"p { color: red }"
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("path", ["page.css", "page.000000000000.css", "notes.txt", "../page.css"])
def test_nothing_else_is_served(assets: Assets, path: str) -> None:
    with Flask("files").test_request_context(), pytest.raises(NotFound):
        assets.send(path)


def test_vendored_files_are_what_their_makers_published_with_their_licence_beside() -> None:
    for name, digest in VENDORED.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest
    for licence in LICENCES:
        assert "ermission" in (STATIC / licence).read_text()
