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
from flask import Response, abort, g, redirect, request, url_for

from rollout.core.audit import Actor
from rollout.core.sessions import Session
from rollout.core.tokens import Role, includes
from rollout.core.users import User
from rollout.errors import PermissionDenied
from rollout.web.language import Reader, asked_language
from rollout.web.wired import services

COOKIE = "phasegate_session"
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
        session = services().sessions.identify(request.cookies.get(COOKIE, ""))
        if session is None:
            abort(_sign_in_first())
        _enter(session)
        if request.method == "POST":
            check_form_token()
        if not includes(session.user.role, self.role):
            raise PermissionDenied(
                f"This needs the role {self.role!r}; you have {session.user.role!r}.",
                remedy="Ask an admin to do it, or to give you that role.",
            )


viewer, editor, admin = SessionAuth("viewer"), SessionAuth("editor"), SessionAuth("admin")


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


def _enter(session: Session) -> None:
    g.session, user = session, session.user
    structlog.contextvars.bind_contextvars(actor=user.email)
    g.reader = Reader(user.language or asked_language(), user.tz or "UTC")


def _sign_in_first() -> Response:
    """htmx would put the sign-in page into a panel: it is told to go there. What a form held is kept for after."""
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": url_for("admin.pages.sign_in.show_sign_in")})
    target = url_for("admin.pages.sign_in.show_sign_in", next=request.full_path.rstrip("?"))
    return redirect(target, 303)  # type: ignore[return-value]


def _token() -> bytes:
    cookie = request.cookies.get(COOKIE, "")
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).digest()[:16]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
