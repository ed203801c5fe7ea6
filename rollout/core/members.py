"""Members of a JSON object as slices of the body: decoded where they are looked at, sent on as they came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.errors import InvalidRequest

_ERROR_PATH = re.compile(r"at `\$([^`]*)`")


def member(members: Mapping[str, msgspec.Raw], name: str, kind: Any, expected: str) -> Any:
    """The member as `kind`; one that is missing is null. Raises InvalidRequest that says what was `expected`."""
    return decode_at(members.get(name, msgspec.Raw(b"null")), kind, name, expected)


def decode_at(value: msgspec.Raw, kind: Any, path: str, expected: str) -> Any:
    """Decode one slice; an InvalidRequest names the deepest field that it can."""
    try:
        return msgspec.json.decode(value, type=kind)
    except RecursionError:
        raise InvalidRequest(f"`{path}` is nested too deeply.", param=path) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        if bytes(value) == b"null":
            raise InvalidRequest(f"`{path}` is required.", param=path) from None
        inner = _ERROR_PATH.search(str(error))
        deeper = inner[1].replace("[", ".").replace("]", "") if inner and "..." not in inner[1] else ""
        raise InvalidRequest(f"`{path}` must be {expected}: {error}.", param=f"{path}{deeper}") from None


def asked_for(members: Mapping[str, msgspec.Raw], name: str, harmless: tuple[bytes, ...]) -> bool:
    """Whether the member is there and says anything but null or what is `harmless`."""
    return name in members and bytes(members[name]) not in (b"null", *harmless)
