"""Our own members of a request for pictures, which no vendor sees: `{"rollout": {"evaluate": true}}`, in a form
`rollout[evaluate]=true`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import msgspec

from rollout.core.images import Member
from rollout.errors import InvalidRequest

_MEMBER = "rollout"
_VALUES = {b"true": True, b"false": False, b"null": None}


@dataclass(frozen=True)
class Extensions:
    """Claude rewrites the prompt before the picture is made; Claude judges the finished picture; another model may answer in the
    place of one that does not."""

    refine_prompt: bool = False
    evaluate: bool = False
    fallback: bool = True


NONE = Extensions()


def split_extensions(members: Mapping[str, Member]) -> tuple[dict[str, Member], Extensions]:
    """The members for the vendor, and what was asked of us. Raises InvalidRequest."""
    names, asked = {field.name for field in fields(Extensions)}, {}
    for name, value in _extensions(members).items():
        at = f"{_MEMBER}.{name[:100]}"
        if name not in names:
            raise InvalidRequest(
                f"`{at}` is not an extension of this service.",
                param=at,
                remedy=f"There are {', '.join(sorted(names))}.",
            )
        word = bytes(value).strip()
        if word not in _VALUES:
            raise InvalidRequest(f"`{at}` must be true or false.", param=at)
        if (told := _VALUES[word]) is not None:
            asked[name] = told
    passed = {
        name: value
        for name, value in members.items()
        if name != _MEMBER and not name.startswith(f"{_MEMBER}[")
    }
    return passed, Extensions(**asked)


def _extensions(members: Mapping[str, Member]) -> dict[str, Member]:
    opening = f"{_MEMBER}["
    found = {
        name[len(opening) : -1]: value
        for name, value in members.items()
        if name.startswith(opening) and name.endswith("]")
    }
    sent = members.get(_MEMBER)
    if sent is None or bytes(sent) == b"null":
        return found
    try:
        return found | msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        raise InvalidRequest("`rollout` must be an object.", param=_MEMBER) from None
