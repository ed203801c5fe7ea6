"""The console: pages for people, one file a noun."""

from __future__ import annotations

from flask import Blueprint

ROOMS: tuple[Blueprint, ...] = ()


def create_blueprint() -> Blueprint:
    pages = Blueprint("pages", __name__, template_folder="../templates")
    for routes in ROOMS:
        pages.register_blueprint(routes)
    return pages
