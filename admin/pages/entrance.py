"""The way in for who has no session: where they wanted to go, and what they were about to send, waits until they are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import Response, redirect, request, url_for

from rollout.errors import InvalidRequest
from rollout.web.pages import page
from rollout.web.wired import services

COOKIE = "phasegate_session"
PROBE = "phasegate_probe"
"""A cookie that the entrance sets, to see whether it comes back."""

HOME = "/admin"

_LOCAL = re.compile(r"/admin(?!/sign-)(?:[/?][^\x00-\x20\\\x7f]*)?")
_NOT_KEPT = {"_token", "password", "current", "secret"}


@dataclass(frozen=True)
class Unsent:
    """A form that came without a session: where it was to go, and its fields but for secrets."""

    action: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, action: str, fields: str) -> Unsent:
        """From a form of the entrance; `fields` as in an address."""
        return cls(local(action), tuple(parse_qsl(fields, keep_blank_values=True)))

    @classmethod
    def of_request(cls) -> Unsent:
        sent = request.form.items(multi=True)
        return cls(request.path, tuple(field for field in sent if field[0] not in _NOT_KEPT))

    @property
    def encoded(self) -> str:
        return urlencode(self.fields)

    @property
    def form(self) -> str:
        return dict(self.fields).get("_form", "")

    @property
    def shown(self) -> list[tuple[str, str]]:
        """What a person typed or chose."""
        own = ("version", "next")
        return [(name, value) for name, value in self.fields if value and name not in own and name[:1] != "_"]


def sign_in_first() -> Response:
    """A page's reader is sent to the entrance, which leads back; a form gets it at once (401) and is kept.

    htmx would put the entrance into a panel: it is told to go there.
    """
    if request.headers.get("HX-Request"):
        back = _path_of(request.headers.get("HX-Current-URL"))
        return Response(status=401, headers={"HX-Redirect": url_for(_ENTRANCE, next=back)})
    if request.method == "POST":
        return entrance(401, next_page=_path_of(request.referrer), unsent=Unsent.of_request())
    return redirect(url_for(_ENTRANCE, next=request.full_path.rstrip("?")), 303)  # type: ignore[return-value]


def entrance(status: int = 200, *, next_page: str, unsent: Unsent | None = None) -> Response:
    """The sign-in page."""
    response = page("console/sign_in.html", status, next_page=local(next_page), unsent=unsent)
    probe(response)
    return response


def probe(response: Response) -> None:
    set_cookie(response, PROBE, "1")


def check_cookies() -> None:
    """Raises InvalidRequest for a browser that did not bring the probe back."""
    if PROBE not in request.cookies:
        raise InvalidRequest(
            "Your browser keeps no cookies, and without one nobody can be signed in.",
            remedy="Allow cookies for this address, then try once more.",
        )


def set_cookie(response: Response, name: str, value: str) -> None:
    """For the console alone, out of scripts' reach, and not sent along by other sites' forms."""
    secure = request.is_secure or services().settings.url.startswith("https:")
    response.set_cookie(name, value, path=HOME, httponly=True, samesite="Lax", secure=secure)


def local(target: str | None) -> str:
    """`target` if it is a page of the console, else the first one: nobody is led elsewhere, or in a circle."""
    return target if target and _LOCAL.fullmatch(target) else HOME


def _path_of(address: str | None) -> str:
    parts = urlsplit(address or "")
    return local(parts._replace(scheme="", netloc="", fragment="").geturl())


_ENTRANCE = "admin.pages.sign_in.show_sign_in"
