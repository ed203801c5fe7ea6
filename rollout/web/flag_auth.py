"""Flag tokens at the door: `Authorization: <token>`, as Unleash's SDKs send it, or `Bearer <token>`."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from flask import g, request

from rollout.core.flag_tokens import REMEDY, FlagToken, Kind
from rollout.errors import InvalidApiKey
from rollout.web.wired import services


@dataclass(frozen=True)
class FlagTokenAuth:
    """Needs a usable flag token of this kind; afterwards `token()` tells which it is."""

    kind: Kind
    scheme: str | None = "flagToken"

    @property
    def needs(self) -> str:
        return f"a {self.kind} token"

    def __call__(self) -> None:
        g.flag_token = found = services().flag_tokens.identify(presented_token(), self.kind)
        structlog.contextvars.bind_contextvars(key=found.id)


client = FlagTokenAuth("client")
frontend = FlagTokenAuth("frontend")


def token() -> FlagToken:
    """By which token the caller came in, after a FlagTokenAuth let it."""
    found: FlagToken = g.flag_token
    return found


def presented_token() -> str:
    """The token as the caller sent it; raises InvalidApiKey when there is none."""
    sent = request.headers.get("Authorization", "").strip()
    scheme, _, text = sent.partition(" ")
    sent = text.strip() if scheme.lower() == "bearer" else sent
    if not sent:
        raise InvalidApiKey("No flag token was sent.", remedy=REMEDY)
    return sent
