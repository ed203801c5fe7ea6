"""The frame around every page of the console: who is there, where one can go, what was just done, what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, g, request

from rollout.errors import RolloutError
from rollout.web.assets import Assets
from rollout.web.language import LANGUAGES, _
from rollout.web.operation import Answer, operation
from rollout.web.pages import page, plain_problem, render_problems_by
from rollout.web.wired import services

from . import typed, words
from .auth import FORM_TOKEN, anyone, form_token, is_signed_in, may, person
from .forms import FormView, refused

routes = Blueprint("static", __name__)

ASSETS = Assets(files("admin").joinpath("static"), "/admin/static")


@routes.get("/static/<name>")
@operation("A style, script or picture of the console", auth=anyone)
def send_asset(name: str) -> Answer:
    return ASSETS.send(name)


def install(pages: Blueprint) -> None:
    """What the templates of all rooms may use."""
    pages.before_request(lambda: render_problems_by(problem))
    pages.app_context_processor(_context)


def room(template: str, **values: Any) -> Response:
    """A page within the frame; its status is that of what was refused, if anything was."""
    problem = refused()
    return page(f"console/{template}", problem.error.http_status if problem else 200, **values)


def problem(error: RolloutError) -> Response:
    if not is_signed_in():
        return plain_problem(error)
    return page("console/problem.html", error.http_status, error=error)


def notice() -> Mapping[str, Any] | None:
    """What this person just did: the audit row that `?done=` names, if it is theirs."""
    seq = request.args.get("done", "")
    if not seq.isdigit() or len(seq) > 18:
        return None
    rows = services().audit.page(before=int(seq) + 1, limit=1)
    is_theirs = rows and rows[0]["seq"] == int(seq) and rows[0]["actor"] == f"user:{person().email}"
    return rows[0] if is_theirs else None


def navigation() -> list[tuple[str, str, str]]:
    """(endpoint, address, words) of each place that this person may go to."""
    places = [
        ("home", _("Home")),
        ("plans", _("Plans")),
        ("change_requests", _("Change requests")),
        ("flags", _("Flags")),
        ("tenants", _("Tenants")),
        ("access_requests", _("Access requests")),
        ("grants", _("Grants")),
        ("meters", _("Meters")),
        ("holds", _("Holds")),
        ("statements", _("Statements")),
        ("ledger", _("Ledger")),
        ("flag_tokens", _("Flag tokens")),
        ("webhooks", _("Webhooks")),
        ("jobs", _("Jobs")),
        ("catalogue", _("Catalogue")),
        ("workers", _("Workers")),
        ("feedback", _("Feedback")),
        ("requests", _("Requests")),
        ("guardrail_events", _("Guardrail events")),
        ("explain", _("Explain")),
        ("audit", _("Audit")),
    ]
    if may("admin"):
        places.append(("users", _("Users")))
    return [(noun, _address(noun), text) for noun, text in places]


def _address(noun: str) -> str:
    return "/admin" if noun == "home" else f"/admin/{noun.replace('_', '-')}"


def _context() -> dict[str, Any]:
    return {
        "asset": ASSETS.url,
        "FormView": FormView,
        "FORM_TOKEN": FORM_TOKEN,
        "form_token": form_token,
        "LANGUAGES": LANGUAGES,
        "may": may,
        "navigation": navigation,
        "notice": notice,
        "person": person,
        "refused": refused,
        "request_id": g.get("request_id"),
        "typed": typed,
        "words": words,
    }
