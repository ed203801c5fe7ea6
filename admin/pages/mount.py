"""The console, /admin: pages for people, one file a noun."""

from __future__ import annotations

from flask import Blueprint

from . import (
    access_requests,
    adjustments,
    audit,
    explain,
    feedback,
    flag_tokens,
    flags,
    grants,
    holds,
    home,
    jobs,
    keys,
    kill,
    ledger,
    me,
    meters,
    plans,
    requests,
    room,
    search,
    segments,
    sign_in,
    statements,
    tenants,
    topups,
    users,
    webhooks,
)

ROOMS: tuple[Blueprint, ...] = (
    room.routes,
    home.routes,
    search.routes,
    sign_in.routes,
    me.routes,
    users.routes,
    tenants.routes,
    keys.routes,
    grants.routes,
    access_requests.routes,
    feedback.routes,
    meters.routes,
    topups.routes,
    adjustments.routes,
    holds.routes,
    statements.routes,
    ledger.routes,
    plans.routes,
    flags.routes,
    segments.routes,
    kill.routes,
    webhooks.routes,
    flag_tokens.routes,
    jobs.routes,
    requests.routes,
    explain.routes,
    audit.routes,
)


def create_blueprint() -> Blueprint:
    pages = Blueprint("pages", __name__, template_folder="../templates")
    room.install(pages)
    for routes in ROOMS:
        pages.register_blueprint(routes)
    return pages
