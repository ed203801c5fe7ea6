"""The console, /admin: pages for people, one file a noun."""

from __future__ import annotations

from flask import Blueprint

from . import room

ROOMS: tuple[Blueprint, ...] = (room.routes,)


def create_blueprint() -> Blueprint:
    pages = Blueprint("pages", __name__, template_folder="../templates")
    room.install(pages)
    for routes in ROOMS:
        pages.register_blueprint(routes)
    return pages
