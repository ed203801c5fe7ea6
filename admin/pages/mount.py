"""The console, /admin: pages for people, one file a noun."""

from __future__ import annotations

from flask import Blueprint

from . import home, me, meters, room, search, sign_in, users

ROOMS: tuple[Blueprint, ...] = (
    room.routes,
    home.routes,
    search.routes,
    sign_in.routes,
    me.routes,
    users.routes,
    meters.routes,
)


def create_blueprint() -> Blueprint:
    pages = Blueprint("pages", __name__, template_folder="../templates")
    room.install(pages)
    for routes in ROOMS:
        pages.register_blueprint(routes)
    return pages
