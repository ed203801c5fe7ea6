"""Flags as SDKs fetch them: made into bytes once a revision and query, and handed out from memory from then on.

Failure behaviour: stale. While the database is away the flags of the last revision are served. Before there was any, nobody is told
that there are no flags: an SDK would switch everything off.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from rollout.core import unleash
from rollout.core.unleash import Query
from rollout.errors import LedgerUnavailable, NotFound
from rollout.services.state import State
from rollout.sync.lru import LRU
from rollout.sync.snapshot import NO_FLAGS, FlagState, Snapshot

CACHED = 32
"""Queries whose bytes are kept. A caller can think up many, and a document may be large."""

Shape = Callable[[Mapping[str, Any], Query, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """JSON of the flags of a snapshot, plain and, once somebody wants it so, gzipped; `document` is what they were made of."""

    snapshot: Snapshot
    document: Mapping[str, Any]
    etag: str
    plain: bytes

    @property
    def revision(self) -> int:
        return self.snapshot.revision

    @cached_property
    def zipped(self) -> bytes:
        return gzip.compress(self.plain, 5, mtime=0)


class ClientFeatures:
    def __init__(self, state: State) -> None:
        self._state = state
        self._rendering = threading.Lock()
        self._rendered: LRU[tuple[Shape, Query], Rendered] = LRU(CACHED)

    def features(self, query: Query) -> Rendered:
        """The client-features document. Raises LedgerUnavailable before the first revision is loaded."""
        return self._render(unleash.client_features, query, unleash.etag)

    def delta(self, query: Query) -> Rendered:
        """The same as one hydration event. Raises as `features` does."""
        return self._render(unleash.hydration, query, lambda _, revision: f'"{revision}"')

    def one(self, query: Query, name: str) -> Mapping[str, Any]:
        """The flag of that name. Raises NotFound, also for one beyond the query."""
        flags = self._flags(self._snapshot(), query)
        for feature in unleash.features(flags.document, query):
            if feature["name"] == name:
                found: Mapping[str, Any] = feature
                return found
        raise NotFound(f"There is no flag {name[:100]!r} in {query.environment}.", param="name")

    def _render(self, shape: Shape, query: Query, etag: Callable[[Query, int], str]) -> Rendered:
        snapshot, key = self._snapshot(), (shape, query)
        known = self._rendered.get(key)
        if known is not None and known.snapshot is snapshot:
            return known
        with self._rendering:  # of many who come at once after a swap, one renders
            known = self._rendered.get(key)
            if known is None or known.snapshot is not snapshot:
                document = self._flags(snapshot, query).document
                plain = orjson.dumps(shape(document, query, snapshot.revision))
                tag = etag(query, snapshot.revision)
                known = Rendered(snapshot, document, tag, plain)
                self._rendered.put(key, known)
            return known

    def _snapshot(self) -> Snapshot:
        snapshot = self._state.snapshot
        if snapshot.revision == 0:
            raise LedgerUnavailable("The flags are not loaded yet.", retry_after=1)
        return snapshot

    def _flags(self, snapshot: Snapshot, query: Query) -> FlagState:
        return snapshot.flags.get(query.environment, NO_FLAGS)
