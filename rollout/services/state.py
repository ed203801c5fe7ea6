"""What this worker decides on: the snapshot of the current revision, and the tenants that called lately.

Failure behaviour: stale. While the database is away the last snapshot and the facts in memory go on
serving; `age()` grows, which closes generation (`services/features.py`). A key or tenant that is not in
memory raises LedgerUnavailable. Nothing here grows with the number of tenants.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from rollout.core.catalogue import Catalogue
from rollout.core.decisions import TenantFacts
from rollout.core.flags import PRODUCTION, check_document
from rollout.core.plans import compile_flag, document
from rollout.core.tenants import Key, Tenant, parse_key, secret_hash
from rollout.db import audit, catalogue_rows, facts, flags, kills, plans, revision
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import InvalidApiKey, InvalidRequest, NotFound, PermissionDenied
from rollout.services.catalogue import load_seed, under_rows
from rollout.services.upstream_flags import UpstreamFlags
from rollout.sync import embedded
from rollout.sync.lru import LRU
from rollout.sync.snapshot import EMPTY, FlagState, Snapshot

V = TypeVar("V")

OWN = "own"
"""Stands for an environment while the plans' flags are loaded beside those of an Unleash server."""

log = structlog.get_logger()

MAX_AGE = 5.0
"""Seconds without a confirmed look at the revision row after which generation is denied."""

CACHED_TENANTS = 20_000
CACHED_KEYS = 50_000


@dataclass(frozen=True)
class Identity:
    """Who is calling."""

    facts: TenantFacts
    key: Key


class State:
    """`secret` keys the hashes of API keys; `clock` gives UTC epoch seconds, `monotonic` seconds that only
    pass; `upstream` has the flags of PRODUCTION, where an Unleash server decides with us."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        upstream: UpstreamFlags | None = None,
        *,
        clock: Clock = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        max_age: float = MAX_AGE,
    ) -> None:
        self._database, self._secret, self._upstream = database, secret, upstream
        self._clock, self._monotonic, self._max_age = clock, monotonic, max_age
        self._snapshot = replace(EMPTY, catalogue=load_seed())
        self._confirmed_at = -math.inf
        self._refreshing = threading.Lock()
        self._swapped = threading.Condition()
        self._forgetting = threading.Lock()
        self._forgotten = 0
        self._facts: LRU[str, TenantFacts] = LRU(CACHED_TENANTS)
        self._keys: LRU[str, Key] = LRU(CACHED_KEYS)

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def catalogue(self) -> Catalogue:
        """The one in force. A process that nobody keeps up to date, a command, looks first."""
        if self._confirmed_at == -math.inf:
            self.refresh()
        return self._snapshot.catalogue

    def age(self) -> float:
        """Seconds since a look at the database confirmed the revision; infinite before the first one."""
        return self._monotonic() - self._confirmed_at

    def flags_age(self) -> float:
        """Seconds since all that decides was confirmed; infinite before the first time."""
        return max(self.age(), self._upstream.age() if self._upstream else 0)

    def is_fresh(self) -> bool:
        return self.age() <= self._max_age and (self._upstream is None or self._upstream.is_fresh())

    def is_upstream_away(self) -> bool:
        """Whether an Unleash server decides with us, and has not been heard of for a while."""
        return self._upstream is not None and self._upstream.is_away()

    def refresh(self) -> bool:
        """Look at the revision; if it is new, load it aside and swap. True if it was. Raises
        LedgerUnavailable."""
        with self._refreshing:
            looked_at, old = self._monotonic(), self._snapshot
            with self._database.read() as tx:
                number = revision.current(tx)
                if number != old.revision:
                    snapshot = self._load(tx, number, old)
                    self._forget(_touched(tx, number, old))
            if number != old.revision:
                self._swap(snapshot)
            self._confirmed_at = looked_at
            return number != old.revision

    def wait_beyond(self, revision: int, seconds: float) -> Snapshot:
        """The snapshot as soon as its revision is another one, at the latest after `seconds`."""
        with self._swapped:
            self._swapped.wait_for(lambda: self._snapshot.revision != revision, seconds)
        return self._snapshot

    def identify(self, key_text: str) -> Identity:
        """Whose usable key this is. Raises as `whose` and `check_usable` do."""
        found = self.whose(key_text)
        self.check_usable(found)
        return found

    def whose(self, key_text: str) -> Identity:
        """Whose key this is, or was. Raises InvalidApiKey for one that nobody knows, LedgerUnavailable."""
        parse_key(key_text)
        hash_ = secret_hash(self._secret, key_text)
        key = self._keys.get(hash_) or self._load_key(hash_)
        return Identity(self.facts(key.tenant_id), key)

    def check_usable(self, caller: Identity) -> None:
        """Raises InvalidApiKey for a revoked or expired key, PermissionDenied for a suspended tenant."""
        caller.key.check_usable(self._clock())
        self.check_active(caller.facts.tenant)

    def check_active(self, tenant: Tenant) -> None:
        """Raises PermissionDenied for a suspended tenant."""
        if tenant.state == "suspended":
            raise PermissionDenied(
                f"The account {tenant.id} is suspended.", remedy="Ask the operator why, and what lifts it."
            )

    def facts(self, tenant_id: str) -> TenantFacts:
        """What is known of the tenant, from memory if it is there. Raises NotFound, LedgerUnavailable."""
        return self._facts.get(tenant_id) or self.fresh_facts(tenant_id)

    def facts_in_memory(self, tenant_id: str) -> TenantFacts | None:
        """The same without ever asking the database."""
        return self._facts.get(tenant_id)

    def fresh_facts(self, tenant_id: str) -> TenantFacts:
        """What the database says of the tenant now. Raises NotFound, LedgerUnavailable."""
        forgotten = self._forgotten
        with self._database.read() as tx:
            found = facts.get(tx, tenant_id)
        if found is None:
            raise NotFound(f"There is no tenant {tenant_id!r}.", param="tenant")
        self._remember(forgotten, self._facts, tenant_id, found)
        return found

    def _load_key(self, hash_: str) -> Key:
        forgotten = self._forgotten
        with self._database.read() as tx:
            key = facts.key_by_hash(tx, hash_)
        if key is None:
            raise InvalidApiKey(
                "This API key is not known here.", remedy="Copy the key again, or make a new one."
            )
        self._remember(forgotten, self._keys, hash_, key)
        return key

    def _remember(self, forgotten: int, memory: LRU[str, V], name: str, value: V) -> None:
        """Keep what was read, unless something was forgotten since the reading began: it may be older than
        that."""
        with self._forgetting:
            if forgotten == self._forgotten:
                memory.put(name, value)

    def _forget(self, touched: set[str] | None) -> None:
        """Drop what is known of these tenants (None: of all)."""
        if touched is not None and not touched:
            return
        with self._forgetting:
            self._forgotten += 1
            self._facts.drop(lambda tenant_id, _: touched is None or tenant_id in touched)
            self._keys.drop(lambda _, key: touched is None or key.tenant_id in touched)

    def _load(self, tx: Tx, number: int, old: Snapshot) -> Snapshot:
        """What holds at revision `number`. A kill binds whatever the flags are like: flags that do not load leave the old ones,
        with an alarm; so does a catalogue."""
        catalogue, rows = _catalogue(tx, number, old)
        running, killed, stored = plans.all_(tx), kills.for_everyone(tx), flags.stamp(tx)
        compiled = [compile_flag(plan, killed=feature in killed) for feature, plan in running.items()]
        try:
            check_document(document(compiled))
            same = stored == old.stored
            known = old.flags if same else {}
            documents = {name: one.document for name, one in known.items()} if same else flags.documents(tx)
            if self._upstream is None:
                wanted = _with_plans(documents, compiled, old.plans.keys() | running.keys())
            else:
                wanted = _beside_plans(documents, compiled, _off(self._upstream.document(tx), killed))
            loaded = _engines(number, known, wanted)
            return Snapshot(number, loaded, running, killed, stored, loaded.pop(OWN, None), catalogue, rows)
        except (embedded.FlagsRefused, InvalidRequest) as refusal:
            log.error("flags_refused", revision=number, kept=old.gates.revision, error=str(refusal))
            return Snapshot(number, old.flags, old.plans, killed, old.stored, old.own, catalogue, rows)

    def _swap(self, snapshot: Snapshot) -> None:
        with self._swapped:
            self._snapshot = snapshot
            self._swapped.notify_all()
        log.info(
            "snapshot_swapped",
            revision=snapshot.revision,
            plans=len(snapshot.plans),
            flags=len(snapshot.gates.names),
            kills=sorted(snapshot.kills),
        )


def _catalogue(tx: Tx, number: int, old: Snapshot) -> tuple[Catalogue, object]:
    """The seed under the rows that there are now, and their stamp; it is made anew only when they changed."""
    stamp = catalogue_rows.stamp(tx)
    if stamp == old.rows:
        return old.catalogue, stamp
    try:
        return under_rows(tx), stamp
    except (ValueError, TypeError) as refusal:
        log.error("catalogue_refused", revision=number, error=str(refusal))
        return old.catalogue, old.rows


def _with_plans(
    documents: Mapping[str, Mapping[str, Any]],
    compiled: Sequence[Mapping[str, Any]],
    planned: Collection[str],
) -> dict[str, Mapping[str, Any]]:
    """The documents with the plans' flags, before all others, in PRODUCTION; `planned` are those that were there before, too."""
    base = documents.get(PRODUCTION, {"version": 2, "features": [], "segments": []})
    others = [feature for feature in base["features"] if feature["name"] not in planned]
    return {**documents, PRODUCTION: {**base, "features": [*compiled, *others]}}


def _beside_plans(
    documents: Mapping[str, Mapping[str, Any]],
    compiled: list[dict[str, Any]],
    upstream: Mapping[str, Any],
) -> dict[str, Mapping[str, Any]]:
    """The documents, with what the Unleash server has in PRODUCTION; the plans' flags are none of theirs."""
    return {**documents, PRODUCTION: upstream, OWN: document(compiled)}


def _off(upstream: Mapping[str, Any], killed: Collection[str]) -> Mapping[str, Any]:
    """What is killed here is off in what we serve, too, before the server has heard of it."""
    features = [{**one, "enabled": False} if one["name"] in killed else one for one in upstream["features"]]
    return {**upstream, "features": features}


def _engines(
    number: int, old: Mapping[str, FlagState], documents: Mapping[str, Mapping[str, Any]]
) -> dict[str, FlagState]:
    """By environment; what has not changed is not loaded again. Raises FlagsRefused."""
    loaded = {}
    for name, wanted in documents.items():
        known = old.get(name)
        same = known is not None and known.document == wanted
        loaded[name] = replace(known, revision=number) if known and same else embedded.load(wanted, number)
    return loaded


def _touched(tx: Tx, number: int, old: Snapshot) -> set[str] | None:
    """The tenants that changed since `old`; None (all) at the start, and when numbers went back as after a restore."""
    return audit.touched_tenants(tx, old.revision) if 0 < old.revision < number else None
