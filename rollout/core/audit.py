"""The audit chain: each row carries sha256(previous hash + canonical row), so that a changed, missing or inserted row is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True)
class Actor:
    """Who makes a change: `name` is `token:ana`, `user:ana@example.com`, `cli:root`, `key:key_...` or `system:sweeper`;
    `role` is what it may do."""

    name: str
    role: str = "admin"
    request_id: str | None = None


@dataclass(frozen=True)
class Entry:
    """One change as it is written down; `at` in UTC epoch seconds, `before` and `after` as JSON values (None: did not, does not exist)."""

    seq: int
    revision: int
    at: int
    actor: str
    action: str
    subject: str
    tenant_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    reason: str
    request_id: str | None
    previous_hash: str

    def hash(self) -> str:
        row = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256((self.previous_hash + row).encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """A member that a change changed, by its path: `run.phase`; None: it was, or is, not there."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Difference]:
    """What differs between two JSON values, in order of `after`."""
    old, new = dict(_members(before or {})), dict(_members(after or {}))
    paths = [*new, *(path for path in old if path not in new)]
    return [
        Difference(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)
    ]


def _members(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        if isinstance(member, Mapping):
            yield from _members(member, f"{above}{name}.")
        else:
            yield above + name, member


def first_break(
    rows: Iterable[tuple[Entry, str]], end: str, *, after: tuple[int, str] = (0, GENESIS)
) -> str | None:
    """Walk `(entry, stored hash)` pairs in order of `seq`; the first thing that does not fit, in words, or None.

    `end` is the hash that the revision row remembers: without it a cut-off tail would go unnoticed. `after`: seq and hash of
    the row before the first.
    """
    expected_seq, previous = after[0] + 1, after[1]
    for entry, stored in rows:
        if entry.seq != expected_seq:
            return f"audit row {expected_seq} is missing"
        if entry.previous_hash != previous:
            return f"audit row {entry.seq} does not follow row {entry.seq - 1}"
        if entry.hash() != stored:
            return f"audit row {entry.seq} was changed"
        previous, expected_seq = stored, expected_seq + 1
    if previous != end:
        return f"audit rows after {expected_seq - 1} are missing"
    return None
