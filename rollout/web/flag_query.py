"""Which flags a caller asks for: by its token, `?project=&namePrefix=&tag=`, and what its SDK understands."""

from __future__ import annotations

import re

from flask import request

from rollout.core.unleash import KNOWS_SEGMENTS, Query, Spec, parse_spec, within
from rollout.errors import InvalidRequest
from rollout.web import flag_auth

MOST = 100
"""Values of one parameter, and characters of one value."""

_TAG = re.compile(r"[^:]+:.+", re.DOTALL)


def flag_query(*, inline: bool | None = None) -> Query:
    """`inline`: whether segments shall be resolved; None: if the SDK cannot. Raises InvalidRequest."""
    token = flag_auth.token()
    resolved = spec() < KNOWS_SEGMENTS if inline is None else inline
    if not request.args:
        return Query(token.environment, token.projects, inline=resolved)
    tags = _values("tag")
    if not all(map(_TAG.fullmatch, tags)):
        raise InvalidRequest("A tag is asked for as type:value.", param="tag")
    prefixes = _values("namePrefix")
    return Query(
        token.environment,
        within(token.projects, _values("project")),
        prefixes[-1] if prefixes else "",
        tuple(sorted(set(tags))),
        resolved,
    )


def spec() -> Spec:
    """What the caller's SDK understands. Raises InvalidRequest."""
    return parse_spec(request.headers.get("Unleash-Client-Spec"))


def _values(name: str) -> list[str]:
    values = request.args.getlist(name)
    if len(values) > MOST or any(len(value) > MOST for value in values):
        raise InvalidRequest(f"{name} takes at most {MOST} values of at most {MOST} characters.", param=name)
    return values
