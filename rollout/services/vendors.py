"""Vendors of the catalogue, which can be switched off: then none of their models is offered, and a call for one is refused before
anything is held. `breakers` says on which workers one fails, or refuses our account."""

from __future__ import annotations

from typing import Any

from rollout.core.audit import Actor
from rollout.core.kills import InFlight, vendor_switch
from rollout.db.engine import Database, Tx
from rollout.errors import NotFound
from rollout.services.catalogue import InForce
from rollout.services.switches import WAIT_SECONDS, Switches
from rollout.services.workers import standing


class Vendors:
    def __init__(self, database: Database, switches: Switches, catalogue: InForce) -> None:
        self._database, self._switches, self._catalogue = database, switches, catalogue

    def list(self) -> list[dict[str, Any]]:
        with self._database.read() as tx:
            return [self._shown(tx, name) for name in self._catalogue().vendors]

    def get(self, name: str) -> dict[str, Any]:
        """The vendor, its models, and how far its last switch has spread. Raises NotFound."""
        self._check(name)
        with self._database.read() as tx:
            return self._shown(tx, name)

    def disable(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        in_flight: InFlight = "finish",
        remind_at: int | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Switch it off, as `Switches.stop`. Raises NotFound, InvalidRequest."""
        self._check(name)
        switched = self._switches.stop(
            actor,
            vendor_switch(name),
            reason,
            in_flight=in_flight,
            remind_at=remind_at,
            dry_run=dry_run,
            wait=wait,
        )
        return _of_vendor(name, switched)

    def enable(
        self,
        actor: Actor,
        name: str,
        reason: str | None,
        *,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Switch it on again. Raises NotFound, Conflict when it is on."""
        self._check(name)
        switched = self._switches.revive(actor, vendor_switch(name), reason, dry_run=dry_run, wait=wait)
        return _of_vendor(name, switched)

    def _check(self, name: str) -> None:
        known = self._catalogue().vendors
        if name not in known:
            raise NotFound(f"There is no vendor {name!r} in the catalogue; there are {', '.join(known)}.")

    def _shown(self, tx: Tx, name: str) -> dict[str, Any]:
        models = [model.name for model in self._catalogue().models if model.vendor == name]
        breakers = [
            {"worker": worker["id"], **worker["breakers"][name]}
            for worker in standing(self._database, tx)
            if name in worker["breakers"] and worker["state"] != "gone"
        ]
        shown = _of_vendor(name, self._switches.shown(tx, vendor_switch(name)))
        return {**shown, "breakers": breakers, "models": models}


def _of_vendor(name: str, shown: dict[str, Any]) -> dict[str, Any]:
    """What is said of a switch, as it is said of a vendor."""
    kept = ("kill", "revision", "acks", "in_flight")
    return {
        "vendor": name,
        "enabled": shown["killed"] is not True,
        **{member: shown[member] for member in kept if member in shown},
    }
