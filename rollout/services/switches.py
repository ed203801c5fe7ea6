"""The switch that stops a feature, a tenant's feature, or a vendor of the catalogue; that it did, and how far that has spread.

It binds where money moves: who stops something holds its gate in the ledger exclusively, so no hold commits after the stop did.
What a worker decides from memory may lag behind it by the spread. Nothing revives by itself: a reminder only reminds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from rollout.core.audit import Actor
from rollout.core.decisions import FEATURES, move_of
from rollout.core.kills import EVERYONE, InFlight, Kill, kill_json, vendor_of, vendor_switch
from rollout.core.times import check_ahead, rfc3339
from rollout.core.webhooks import EventType
from rollout.db import audit, kills, meters, revision
from rollout.db.engine import Database, Tx
from rollout.db.facts import last_use
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.catalogue import InForce
from rollout.services.changes import Change, Changes, as_json
from rollout.services.events import Events
from rollout.services.tenants import require
from rollout.services.workers import Acks, Workers

log = structlog.get_logger()

WAIT_SECONDS = 2.0
"""How long a stop waits for the workers' acknowledgements; the workers need no longer, the answer does."""

SHOWN_HALTS = 100


class Holds(Protocol):
    """What a stop needs of the ledger, inside the stop's own transaction."""

    def void_held(self, tx: Tx, switch: str, tenant_id: str | None, now: int) -> int: ...

    def running(self, tx: Tx, switch: str, tenant_id: str | None) -> int: ...


class Switches:
    """A switch is a feature's name, or `core.kills.vendor_switch(vendor)`."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        events: Events,
        ledger: Holds,
        workers: Workers,
        catalogue: InForce,
    ) -> None:
        self._database, self._changes, self._events = database, changes, events
        self._ledger, self._workers, self._catalogue = ledger, workers, catalogue

    @property
    def features(self) -> tuple[str, ...]:
        """Those that can be stopped; moves of the catalogue, too."""
        return (*FEATURES, *map(move_of, self._catalogue().moving))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.features, *map(vendor_switch, self._catalogue().vendors))

    def check(self, switch: str, tenant: str | None = None) -> None:
        """Raises NotFound for what cannot be stopped, InvalidRequest for a vendor of one tenant."""
        if switch not in self.names:
            raise NotFound(f"There is nothing to stop named {switch!r}; there are {', '.join(self.names)}.")
        if tenant is not None and vendor_of(switch) is not None:
            raise InvalidRequest(
                "A vendor is switched off for everyone.",
                param="tenant",
                remedy="Leave out the tenant, or stop a feature for it.",
            )

    def stop(
        self,
        actor: Actor,
        switch: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        in_flight: InFlight = "finish",
        remind_at: int | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Stop it, for all or for one tenant: what is held is void, what runs is charged. Stopping what is stopped renews
        the reason. Waits at most `wait` seconds for the workers. Raises NotFound, InvalidRequest."""
        self.check(switch, tenant)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            check_ahead(remind_at, change.now, "remind_at")
            meters.lock_gate(change.tx, switch, exclusive=True)
            voided = self._ledger.void_held(change.tx, switch, tenant, change.now)
            running = self._ledger.running(change.tx, switch, tenant)
            bit = self._bit(change, switch, tenant, True, in_flight, remind_at)
            self._put(change, bit, voided)
        return self._spread(bit, voided, running, 0 if dry_run else wait)

    def revive(
        self,
        actor: Actor,
        switch: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Undo a stop; waits as it does. Raises NotFound, Conflict when it is not stopped."""
        self.check(switch, tenant)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = kills.get(change.tx, switch, tenant or EVERYONE)
            if before is None or before.killed is not True:
                whom = f"for {tenant}" if tenant else "for everyone"
                raise Conflict(f"{switch} is not killed {whom}.", remedy="There is nothing to revive.")
            bit = self._bit(change, switch, tenant, False, "finish", None)
            self._put(change, bit, 0)
            running = self._ledger.running(change.tx, switch, tenant)
        return self._spread(bit, 0, running, 0 if dry_run else wait)

    def spread(self, switch: str, tenant: str | None = None) -> dict[str, Any]:
        """The last stop or revival (`change`), and what `stop` answers of it, as it stands now. Raises NotFound when there was
        none."""
        self.check(switch, tenant)
        with self._database.read() as tx:
            bit = kills.get(tx, switch, tenant or EVERYONE)
            if bit is None:
                raise NotFound(
                    f"{switch} was never stopped for {tenant or 'everyone'}.", remedy="Stop it first."
                )
            made = audit.at_revision(tx, bit.revision, switch)
            voided = made["after"].get("voided", 0) if made else 0
            running = self._ledger.running(tx, switch, tenant)
            return {
                "change": kill_json(bit),
                **_switched(tx, bit, self._acks(tx, [bit]), voided, running),
            }

    def stops(self) -> list[tuple[str, dict[str, Any]]]:
        """What is stopped, as admins see it, by switch: for everyone first, then for at most SHOWN_HALTS tenants."""
        with self._database.read() as tx:
            for_all = kills.for_everyone(tx)
            bits = [
                bit
                for switch in self.names
                for bit in [for_all.get(switch), *kills.halts(tx, switch, limit=SHOWN_HALTS)]
            ]
        return [(bit.feature, kill_json(bit)) for bit in bits if bit is not None]

    def stopped(self) -> dict[str, Kill]:
        """By switch, what is stopped for everyone."""
        with self._database.read() as tx:
            return kills.for_everyone(tx)

    def shown(self, tx: Tx, switch: str) -> dict[str, Any]:
        """How it stands, with how far the last stop or revival has spread."""
        bit = kills.get(tx, switch, EVERYONE)
        halts = kills.halts(tx, switch, limit=SHOWN_HALTS)
        return {
            "killed": bit is not None and bit.killed is True,
            "kill": kill_json(bit) if bit is not None and bit.killed is True else None,
            "halts": [kill_json(halt) for halt in halts],
            "revision": bit.revision if bit else 0,
            "acks": self._acks(tx, [bit, *halts]).as_json(),
            "in_flight": {"running": self._ledger.running(tx, switch, None)},
        }

    def remind(self) -> int:
        """Tell webhooks and the log, once, of each stop whose reminder has come; how many it were."""
        with self._database.write() as tx:
            now = self._database.now(tx)
            due = kills.remind(tx, now)
            for bit in due:
                self._events.emit(tx, now, "feature.kill_reminder", None, _told(bit) | kill_json(bit))
        for bit in due:
            log.warning("stop_to_think_of", **_told(bit), reason=bit.reason, since_ms=bit.changed_at_ms)
        return len(due)

    def _bit(
        self,
        change: Change,
        switch: str,
        tenant: str | None,
        killed: bool,
        in_flight: InFlight,
        remind_at: int | None,
    ) -> Kill:
        return Kill(
            feature=switch,
            tenant_id=tenant or EVERYONE,
            killed=killed,
            in_flight=in_flight,
            reason=change.reason,
            changed_by=change.actor.name,
            changed_at_ms=self._database.now_ms(change.tx),
            revision=change.revision,
            remind_at=remind_at,
        )

    def _put(self, change: Change, after: Kill, voided: int) -> None:
        """`voided`: how many holds that ended, for the audit log."""
        tenant = None if after.tenant_id == EVERYONE else after.tenant_id
        if tenant is not None:
            require(change.tx, tenant)
        before = kills.get(change.tx, after.feature, after.tenant_id)
        kills.put(change.tx, after)
        action = _action(after)
        change.record(
            action,
            subject=after.feature,
            tenant=tenant,
            before=as_json(before) if before else None,
            after={**as_json(after), "voided": voided},
        )
        change.tell(action, tenant, {**_told(after), "in_flight": after.in_flight})

    def _spread(self, bit: Kill, voided: int, running: int, wait: float) -> dict[str, Any]:
        acks = self._workers.wait_for(bit.revision, bit.changed_at_ms, wait)
        with self._database.read() as tx:
            return _switched(tx, bit, acks, voided, running)

    def _acks(self, tx: Tx, bits: Sequence[Kill | None]) -> Acks:
        """Of the newest of these changes; when nothing ever changed, of the current revision."""
        newest = max((bit for bit in bits if bit is not None), key=lambda bit: bit.revision, default=None)
        if newest is None:
            return self._workers.acks(tx, revision.current(tx), None)
        return self._workers.acks(tx, newest.revision, newest.changed_at_ms)


def _action(bit: Kill) -> EventType:
    if vendor_of(bit.feature) is None:
        return "feature.killed" if bit.killed is True else "feature.revived"
    return "vendor.disabled" if bit.killed is True else "vendor.enabled"


def _told(bit: Kill) -> dict[str, Any]:
    """What a message says was stopped: a tenant's feature, a feature, or a vendor."""
    if vendor := vendor_of(bit.feature):
        return {"vendor": vendor}
    return {"tenant": None if bit.tenant_id == EVERYONE else bit.tenant_id, "feature": bit.feature}


def _switched(tx: Tx, bit: Kill, acks: Acks, voided: int, running: int) -> dict[str, Any]:
    tenant = None if bit.tenant_id == EVERYONE else bit.tenant_id
    is_feature = vendor_of(bit.feature) is None
    return {
        "feature": bit.feature,
        "tenant": tenant,
        "killed": bit.killed,
        "revision": bit.revision,
        "acks": acks.as_json(),
        "in_flight": {"voided": voided, "running": running},
        "last_allowed_at": rfc3339(last_use(tx, bit.feature, tenant)) if is_feature else None,
    }
