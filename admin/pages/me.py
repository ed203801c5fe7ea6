"""/admin/me"""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, request, url_for

from rollout.core.users import Language, Preferences, Theme
from rollout.errors import InvalidRequest
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import actor, current_session, person, viewer
from .entrance import local
from .forms import attempt, read
from .queries import PageView
from .room import room
from .sign_in import signed_out

routes = Blueprint("me", __name__)

ZONES = (
    "UTC", "Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura", "Asia/Singapore", "Asia/Bangkok", "Asia/Manila",
    "Asia/Hong_Kong", "Asia/Shanghai", "Asia/Taipei", "Asia/Seoul", "Asia/Tokyo", "Asia/Kolkata", "Asia/Karachi",
    "Asia/Dubai", "Asia/Riyadh", "Asia/Jerusalem", "Australia/Perth", "Australia/Sydney", "Pacific/Auckland",
    "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "Europe/Istanbul", "Europe/Kyiv",
    "Europe/Athens", "Europe/Warsaw", "Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Europe/Lisbon",
    "Europe/London", "America/Sao_Paulo", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Mexico_City",
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Pacific/Honolulu",
)  # fmt: skip
"""Offered while typing; every other IANA zone may be typed."""


class PreferencesForm(Shape):
    """`next`: the page to go back to."""

    language: Language | None = None
    tz: str | None = None
    theme: Theme
    shortcuts: Literal["on", "off"]
    next: str | None = None


class PasswordForm(Shape):
    current: str = ""
    password: str


@routes.get("/me")
@operation("A person's own settings", auth=viewer, query=PageView)
def show_me(query: PageView) -> Answer:
    return _shown()


@routes.post("/me/preferences")
@operation("Keep language, time zone, theme and shortcuts", auth=viewer)
def set_preferences() -> Answer:
    def act() -> None:
        form = read(PreferencesForm)
        wanted = Preferences(form.language, form.tz, form.theme, form.shortcuts == "on")
        services().users.set_preferences(person().id, wanted)

    return attempt(act, then=local(request.form.get("next")), again=_shown)


@routes.post("/me/password")
@operation("Set one's own password: other sessions end", auth=viewer)
def set_password() -> Answer:
    def act() -> None:
        form = read(PasswordForm)
        if person().password_hash:
            _check_current(form.current)
        services().users.set_password(
            actor(), person().id, form.password, "set by themselves", keep_session=current_session().hash
        )

    return attempt(act, then=url_for(".show_me"), again=_shown)


@routes.post("/me/sign-out-everywhere")
@operation("End all of one's own sessions", auth=viewer)
def sign_out_everywhere() -> Answer:
    services().sessions.sign_out_everywhere(person().id)
    return signed_out()


def _shown() -> Answer:
    return room("me.html", session=current_session(), zones=ZONES)


def _check_current(password: str) -> None:
    try:
        services().sessions.check(person().email, password, request.remote_addr or "")
    except InvalidRequest:
        raise InvalidRequest("This is not your password.", param="current") from None
