"""The console, /admin: pages for people, one file a noun."""

from __future__ import annotations

from flask import Blueprint

from . import (
    access_requests,
    adjustments,
    audit,
    catalogue,
    change_requests,
    explain,
    feedback,
    flag_tokens,
    flags,
    grants,
    guardrail_events,
    holds,
    home,
    imports,
    jobs,
    keys,
    kill,
    ledger,
    me,
    meters,
    plans,
    requests,
    room,
    schedules,
    search,
    segments,
    sign_in,
    simulations,
    statements,
    tenants,
    topups,
    upstream,
    users,
    webhooks,
    workers,
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
    simulations.routes,
    change_requests.routes,
    schedules.routes,
    flags.routes,
    imports.routes,
    upstream.routes,
    segments.routes,
    kill.routes,
    workers.routes,
    webhooks.routes,
    flag_tokens.routes,
    jobs.routes,
    requests.routes,
    guardrail_events.routes,
    catalogue.routes,
    explain.routes,
    audit.routes,
)


def create_blueprint() -> Blueprint:
    pages = Blueprint("pages", __name__, template_folder="../templates")
    room.install(pages)
    for routes in ROOMS:
        pages.register_blueprint(routes)
    return pages
