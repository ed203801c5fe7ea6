"""/edge/validate: what tokens are good for, as Unleash Edge asks on behalf of its callers."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint
from pydantic import BaseModel, Field

from rollout.core.flag_tokens import FlagToken
from rollout.web.operation import Answer, operation, public
from rollout.web.wired import services

routes = Blueprint("unleash_edge", __name__, url_prefix="/edge")


class TokensIn(BaseModel):
    tokens: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=100)]


@routes.post("/validate")
@operation(
    "Of these tokens those that are good, and for what; knowing a token is the proof",
    auth=public,
    body=TokensIn,
)
def validate(body: TokensIn) -> Answer:
    return {"tokens": [_told(text, token) for text, token in services().flag_tokens.known(body.tokens)]}


def _told(text: str, token: FlagToken) -> dict[str, object]:
    return {
        "token": text,
        "type": token.type,
        "projects": list(token.projects),
        "environment": token.environment,
    }
