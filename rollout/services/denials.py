"""Full windows, remembered for a moment: a caller who storms against one is refused without a transaction.

It never admits anybody: it says no on what the ledger said a moment ago, or nothing. A request with an Idempotency-Key is not
asked here, since its answer may be a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollout.core.holds import HoldRequest
from rollout.core.meters import Caller, Limit, Meter, refusal
from rollout.errors import QuotaExceeded
from rollout.sync.lru import LRU

USED_SECONDS = 5.0
"""How long a window that is used up is believed to be: it stays so until it ends, unless somebody tops it up."""

HELD_SECONDS = 0.25
"""How long one is that only fits when what is held is given back; in this process until it is."""

REMEMBERED = 10_000

_Key = tuple[str, str, str]
"""(tenant, meter, subject)"""


@dataclass(frozen=True)
class _Full:
    """`limits`: all that the ledger told at `at`, its time; `seen` by our clock, of the tenant's meters at `meter_rev`, after so
    many `releases`."""

    limit: Limit
    limits: tuple[Limit, ...]
    at: int
    seen: float
    meter_rev: int
    releases: int


class Denials:
    """`clock` in seconds; one that steps makes it forget, no more."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full: LRU[_Key, _Full] = LRU(REMEMBERED)
        self._releases: LRU[str, int] = LRU(REMEMBERED)

    def releases(self, tenant_id: str) -> int:
        """How often this process gave back something of the tenant's; to be asked before the ledger is."""
        return self._releases.get(tenant_id) or 0

    def released(self, tenant_id: str) -> None:
        """Something of the tenant's was given back: what was full of held work may have room."""
        self._releases.put(tenant_id, self.releases(tenant_id) + 1)

    def remember(self, request: HoldRequest, refused: QuotaExceeded, releases: int) -> None:
        """What the ledger has just refused; meters that changed since the request was made, and shared ones, are left out."""
        seen = self._clock()
        for limit in refused.limits:
            amount = request.amounts.get(limit.meter.unit, 0)
            if limit.meter in request.meters and limit.meter.hard and not limit.fits(amount):
                key = (request.tenant_id, limit.meter.id, limit.subject)
                full = _Full(limit, tuple(refused.limits), refused.at, seen, request.meter_rev, releases)
                self._full.put(key, full)

    def check(self, request: HoldRequest) -> None:
        """Raises InsufficientQuota or RateLimitExceeded when a window was full a moment ago."""
        if not self._full or request.idem_key is not None or not request.metered:
            return
        caller = Caller(request.api_key_id, request.end_user, request.phase)
        full = [
            (known, amount)
            for meter in request.meters
            if meter.hard
            and meter.feature == request.feature
            and (amount := request.amounts.get(meter.unit, 0))
            if (known := self._known(request, meter, caller, amount))
        ]
        if full:
            latest = max((known for known, _ in full), key=lambda known: known.seen)
            now = latest.at + int(self._clock() - latest.seen)
            refused = refusal([(known.limit, amount) for known, amount in full], request.decision_id, now)
            refused.limits, refused.at = latest.limits, now
            raise refused

    def _known(self, request: HoldRequest, meter: Meter, caller: Caller, amount: int) -> _Full | None:
        subject = meter.subject_of(caller)
        known = None if subject is None else self._full.get((request.tenant_id, meter.id, subject))
        if known is None or known.meter_rev != request.meter_rev:
            return None
        limit, age = known.limit, self._clock() - known.seen
        if age < 0 or (limit.ends is not None and known.at + age >= limit.ends):
            return None
        now = known.at + int(age)
        if meter.cap_at(now) != meter.cap_at(known.at) or not meter.in_force(now):
            return None
        if limit.used + amount > limit.cap:
            return known if age < USED_SECONDS else None
        is_news = age < HELD_SECONDS and known.releases == self.releases(request.tenant_id)
        return known if is_news and not limit.fits(amount) else None
