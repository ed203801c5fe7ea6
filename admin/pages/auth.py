"""Who is at the console: sessions by cookie, roles, and proof that a form came from one of our pages.

The token of a form is an HMAC of the session's cookie, masked anew on each page so that compressing the page leaks nothing of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from flask import abort, g, request

from rollout.core.audit import Actor
from rollout.core.sessions import Session
from rollout.core.tokens import Role, includes
from rollout.core.users import User
from rollout.errors import PermissionDenied
from rollout.web.language import Reader, asked_language, asked_tz
from rollout.web.operation import Public
from rollout.web.wired import services

from .entrance import COOKIE, sign_in_first

FORM_TOKEN = "_token"


@dataclass(frozen=True)
class SessionAuth:
    """Needs a signed-in person whose role includes `role`; afterwards `actor()` and `person()` tell who it is."""

    role: Role
    scheme: str | None = "session"

    @property
    def needs(self) -> str:
        return f"a signed-in person with role {self.role}"

    def __call__(self) -> None:
        if request.method == "POST":
            check_same_origin()
        if not enter(request.cookies.get(COOKIE, "")):
            abort(sign_in_first())
        if request.method == "POST":
            check_form_token()
        if not may(self.role):
            raise PermissionDenied(
                f"This needs the role {self.role!r}; you have {person().role!r}.",
                remedy="Ask an admin to do it, or to give you that role.",
            )


viewer, editor, admin = SessionAuth("viewer"), SessionAuth("editor"), SessionAuth("admin")
anyone = Public("session")
"""For what the console shows to those who are not signed in."""


def actor() -> Actor:
    """Who is acting, after a SessionAuth let them in."""
    return Actor(f"user:{person().email}", person().role, g.request_id)


def person() -> User:
    return current_session().user


def current_session() -> Session:
    found: Session = g.session
    return found


def is_signed_in() -> bool:
    return "session" in g


def may(role: Role) -> bool:
    """Whether the person at the console may do what needs `role`; for what a page offers."""
    return is_signed_in() and includes(person().role, role)


def form_token() -> str:
    """A fresh mask and the masked token, in base64url."""
    mask = secrets.token_bytes(16)
    return base64.urlsafe_b64encode(mask + _xor(mask, _token())).decode()


def check_form_token() -> None:
    """Raises PermissionDenied unless the form is of this very session."""
    try:
        sent = base64.urlsafe_b64decode(request.form.get(FORM_TOKEN, ""))
    except ValueError:
        sent = b""
    if not hmac.compare_digest(_xor(sent[:16], sent[16:]), _token()):
        raise PermissionDenied(
            "This form does not belong to your session.", remedy="Load the page again and send it from there."
        )


def check_same_origin() -> None:
    """Raises PermissionDenied for a form that another site sent."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = (
        site not in ("same-origin", "none") if site else origin and urlsplit(origin).netloc != request.host
    )
    if foreign:
        raise PermissionDenied(
            "This form came from another site.", remedy="Send it from the console's own page."
        )


def enter(secret: str) -> bool:
    """Let in who has the secret of an open session; tells whether it is one."""
    session = services().sessions.identify(secret)
    if session is None:
        return False
    g.session, g.secret, user = session, secret, session.user
    structlog.contextvars.bind_contextvars(actor=user.email)
    g.reader = Reader(user.language or asked_language(), user.tz or asked_tz())
    return True


def _token() -> bytes:
    return hmac.new(g.get("secret", "").encode(), b"form", hashlib.sha256).digest()[:16]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
