"""What an Unleash server says of its flags: checked, kept, and how long ago it was last true.

A state that can be evaluated is written down with a revision of its own, so every worker comes to it as to any other change, and a
worker that starts while the server is away goes on with it. A broken state, or an empty one, is never written.

Failure behaviour: while the server is away, refuses the token or sends what nobody can evaluate, the last good state goes on deciding
until it is `max_age` seconds old. Then generation is denied, and analysis goes on.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from rollout.core.audit import Actor
from rollout.core.times import rfc3339
from rollout.db import upstream_flags
from rollout.db.engine import Database, Tx
from rollout.db.upstream_flags import Stored
from rollout.errors import LedgerUnavailable
from rollout.services.changes import Changes
from rollout.sync import embedded

log = structlog.get_logger()

AWAY_SECONDS = 15.0
"""Without a word for that long, three turns, the server counts as away: `/readyz` says so, nobody is stopped yet."""

NOTE_SECONDS = 10.0
"""How often it is written down that the state still holds, for who starts next."""

MAX_ETAG = 200

NOTHING: Mapping[str, Any] = {"version": 2, "features": [], "segments": []}

FETCHED = "flag.fetched"
"""What the audit log calls a new state."""

_FEEDER = Actor("system:unleash")
_REASON = "The flags at Unleash changed."


@dataclass(frozen=True)
class Upstream:
    """Which server, and whose view of it."""

    url: str
    token: str
    environment: str

    @property
    def source(self) -> str:
        """Names what it says; without giving the token away."""
        return hashlib.sha256(orjson.dumps([self.url, self.token, self.environment])).hexdigest()


@dataclass(frozen=True)
class _Kept:
    """The last good state that this process knows of; revision 0: none."""

    revision: int
    document: Mapping[str, Any]
    etag: str
    fetched_at: int | None


class UpstreamFlags:
    """`monotonic` gives seconds that only pass."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        upstream: Upstream,
        *,
        max_age: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._changes = database, changes
        self.upstream, self._source = upstream, upstream.source
        self.max_age, self._monotonic = max_age, monotonic
        self._kept = _Kept(0, NOTHING, "", None)
        self._confirmed_at = self._noted_at = -math.inf
        self._trouble: str | None = None

    # -- for who decides -----------------------------------------------------------------------------------------------

    def age(self) -> float:
        """Seconds since the server confirmed the state; infinite when it never did."""
        return self._monotonic() - self._confirmed_at

    def is_fresh(self) -> bool:
        return self.age() <= self.max_age

    def is_away(self) -> bool:
        return self.age() > AWAY_SECONDS

    def document(self, tx: Tx) -> Mapping[str, Any]:
        """The last good state, whoever fetched it; NOTHING before the first one."""
        stamp = upstream_flags.stamp(tx, self._source)
        if stamp is None:
            return NOTHING
        revision, confirmed_at = stamp
        if revision != self._kept.revision:
            row = upstream_flags.get(tx, self._source)
            assert row is not None, "the row was there, in this transaction"
            self._kept = _Kept(revision, orjson.loads(row.document), row.etag, row.fetched_at)
        self._confirmed(self._monotonic() - max(0, self._database.now(tx) - confirmed_at))
        return self._kept.document

    def as_json(self) -> dict[str, Any]:
        """The state as admins see it; `trouble`: why this process's last poll came to nothing."""
        age = self.age()
        return {
            "url": self.upstream.url,
            "environment": self.upstream.environment,
            "flags": len(self._kept.document["features"]),
            "revision": self._kept.revision or None,
            "fetched_at": rfc3339(self._kept.fetched_at),
            "age_seconds": None if math.isinf(age) else round(age, 1),
            "max_age_seconds": int(self.max_age),
            "fresh": self.is_fresh(),
            "trouble": self._trouble,
        }

    # -- for who fetches (sync.unleash.Feed) ---------------------------------------------------------------------------

    def etag(self) -> str:
        return self._kept.etag

    def take(self, text: str, etag: str) -> bool:
        """Keep a state, if it can be evaluated. False: it is not kept, or another process was quicker with another one."""
        try:
            document = _state(text)
            return self._holds(document) or self._keep(document, text, etag)
        except (embedded.FlagsRefused, LedgerUnavailable) as problem:
            self._in_trouble(f"What Unleash sent is not kept: {problem}")
            return False

    def confirm(self, asked_at: float) -> None:
        self._confirmed(asked_at)
        if self._trouble is not None:
            log.info("unleash_answers_again")
        self._trouble = None
        if self._monotonic() - self._noted_at >= NOTE_SECONDS:
            self._note()

    def miss(self, status: int | None) -> None:
        self._in_trouble(
            _MISSED.get(status, f"Unleash answered {status}.") if status else "Unleash does not answer."
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _holds(self, document: Mapping[str, Any]) -> bool:
        """Whether it says what is kept; what it says of itself, such as its number, does not count."""
        return _flags(document) == _flags(self._kept.document)

    def _keep(self, document: Mapping[str, Any], text: str, etag: str) -> bool:
        known = self._kept
        embedded.load(document, 0)
        with self._changes.begin(_FEEDER, _REASON) as change:
            stamp = upstream_flags.stamp(change.tx, self._source)
            if (stamp[0] if stamp else 0) != known.revision:
                return False
            fits = etag if len(etag) <= MAX_ETAG else ""
            new = Stored(self._source, change.revision, text, fits, change.now, change.now)
            upstream_flags.put(change.tx, new)
            before, after = _changed(known.document, document)
            change.record(FETCHED, subject="unleash", tenant=None, before=before, after=after)
        self._kept = _Kept(new.revision, document, fits, new.fetched_at)
        return True

    def _confirmed(self, at: float) -> None:
        self._confirmed_at = max(self._confirmed_at, at)

    def _note(self) -> None:
        """Write down when it was last confirmed; without a database nobody could read it."""
        try:
            with self._database.write() as tx:
                upstream_flags.confirm(tx, self._source, self._database.now(tx) - math.ceil(self.age()))
        except LedgerUnavailable as error:
            log.warning("unleash_not_noted", error=str(error.__cause__ or error))
        else:
            self._noted_at = self._monotonic()

    def _in_trouble(self, why: str) -> None:
        if why != self._trouble:
            log.error("unleash_trouble", why=why)
        self._trouble = why


_MISSED = {
    200: "Unleash answered 200 without a state.",
    401: "Unleash refused the token (401): it was revoked, or ROLLOUT_UNLEASH_TOKEN is another server's.",
    403: "Unleash refused the token (403): ROLLOUT_UNLEASH_TOKEN must be one for a backend.",
    404: "There is no Unleash API at ROLLOUT_UNLEASH_URL (404).",
}


def _state(text: str) -> dict[str, Any]:
    """Raises FlagsRefused for what is no state, and for one without a flag: that is a server that lost them, or another one."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise embedded.FlagsRefused(f"it is no JSON: {error}") from None
    if not isinstance(document, dict) or not document.get("features"):
        raise embedded.FlagsRefused("it has no flags")
    return document


def _flags(document: Mapping[str, Any]) -> tuple[Any, Any]:
    return document["features"], document.get("segments", [])


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """By name the flags that differ, as they were and as they are, and the segments if they do."""
    before, after = ({flag["name"]: flag for flag in document["features"]} for document in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    parts: list[dict[str, Any]] = [
        {"flags": {name: side[name] for name in names if name in side}} for side in (before, after)
    ]
    if old.get("segments") != new.get("segments"):
        parts = [
            {**part, "segments": side.get("segments")} for part, side in zip(parts, (old, new), strict=True)
        ]
    return parts[0], parts[1]
