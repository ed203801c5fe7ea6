"""The catalogue compared with what the vendors say themselves: proposals, which somebody applies or dismisses.

Failure behaviour: a vendor that does not answer, or with an empty list, says nothing; its proposals stay as they are. What was dismissed
is proposed again only when the vendor says something else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import structlog

from rollout.core.audit import Actor
from rollout.core.catalogue import Model
from rollout.core.catalogue_checks import (
    DAY,
    LATELY_DAYS,
    Finding,
    Listed,
    Proposal,
    State,
    applied,
    check_state,
    differences,
    ending,
    proposal_json,
)
from rollout.core.jobs import Job
from rollout.core.meters import PLATFORM
from rollout.core.times import rfc3339
from rollout.db import catalogue_proposals as proposals
from rollout.db import jobs, revision
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.providers.base import Fault, Lists, PortError, Providers
from rollout.services import catalogue_rows
from rollout.services.catalogue import InForce, under_rows
from rollout.services.changes import Change, Changes
from rollout.services.events import Event, Events
from rollout.services.ids import NewId, first_id
from rollout.services.tenants import check_version

log = structlog.get_logger()

KIND = "vendor_list"
CHECK = "check"
"""Who ends what vendors no longer say."""

MOST_TENANTS = 1_000


class CatalogueChecks:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        catalogue: InForce,
        providers: Providers,
        events: Events,
        new_id: NewId,
    ) -> None:
        self._database, self._changes, self._catalogue = database, changes, catalogue
        self._providers, self._events, self._new_id = providers, events, new_id

    def tick(self) -> None:
        """Tell of models that end soon, and leave a job for each vendor's list: ticks wait for nobody."""
        self.warn()
        with self._database.write() as tx:
            now = self._database.now(tx)
            for vendor in sorted(self._providers.lists()):
                jobs.add(tx, _job(self._new_id("job"), vendor, now))

    def carry_out(self, job: Job) -> dict[str, Any]:
        """Compare one vendor's list."""
        vendor = str(job.payload["vendor"])
        lists = self._providers.lists().get(vendor)
        return self._compare(vendor, lists) if lists else _silent(vendor, "no key of it is set here")

    def verify(self, vendor: str | None = None) -> list[dict[str, Any]]:
        """For each vendor that has a list, or that one: `{"vendor", "state": "compared" | "silent", "detail", "models", "found"}`.

        Raises NotFound for a vendor that is not configured, or has no list.
        """
        lists = self._providers.lists()
        if vendor is not None and vendor not in lists:
            raise NotFound(
                f"No list of {vendor[:100]!r} can be asked for.",
                param="vendor",
                remedy=f"Set its key. There are lists of {', '.join(sorted(lists)) or 'nobody'}.",
            )
        return [self._compare(name, lists[name]) for name in sorted(lists) if vendor in (None, name)]

    def warn(self) -> None:
        """Tell, once for each of WARN_DAYS, that a model ends, and who used it lately: the operators, and those tenants."""
        with (
            self._database.read() as tx
        ):  # it may take seconds to find who did, for which nobody who writes should wait
            near = list(ending(self._catalogue().models, self._database.now(tx)))
            due = [
                (model, days, self._users(tx, model)) for model, days in near if not _is_told(tx, model, days)
            ]
        with self._database.write() as tx:
            revision.lock(tx)
            now = self._database.now(tx)
            for model, days, tenants in due:
                if not _is_told(tx, model, days):
                    self._warn_of(tx, now, model, days, tenants)
            names = {model.name for model, _ in near}
            self._outdate(tx, now, [one for one in proposals.open_(tx) if _is_over(one, names)])

    def page(self, *, state: str | None, cursor: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first, from before the id `cursor`. Raises InvalidRequest."""
        check_state(state)
        with self._database.read() as tx:
            found = proposals.page(tx, state=state, before=cursor, limit=limit)
        return [proposal_json(one) for one in found]

    def get(self, proposal_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        with self._database.read() as tx:
            return proposal_json(_require(tx, proposal_id))

    def apply(
        self,
        actor: Actor,
        proposal_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The catalogue's row as the vendor says it is. Raises NotFound, Conflict, StaleVersion, InvalidRequest."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            proposal = _open(change.tx, proposal_id, based_on)
            if proposal.kind == "retiring":
                raise Conflict(
                    "A model that ends soon leaves nothing to apply.",
                    remedy="Move its callers to another model, or dismiss this.",
                )
            like = proposal.found.get("like", proposal.model)
            document = catalogue_rows.checked(change.tx, "model", like, None)
            taken = {model.name for model in under_rows(change.tx).models}
            catalogue_rows.keep(change, "model", applied(proposal, document, taken, change.now))
            return _end(change, proposal, "applied")

    def dismiss(
        self,
        actor: Actor,
        proposal_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Leave the catalogue as it is. Raises NotFound, Conflict, StaleVersion."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            proposal = _open(change.tx, proposal_id, based_on)
            return _end(change, proposal, "dismissed")

    def _compare(self, vendor: str, lists: Lists) -> dict[str, Any]:
        try:
            listed = lists.models()
            if not listed:
                raise Fault("an empty list")
        except PortError as error:
            log.warning("vendor_list_silent", vendor=vendor, detail=error.detail)
            return _silent(vendor, f"{type(error).__name__}: {error.detail}")
        found = self._propose(vendor, listed)
        return {
            "vendor": vendor,
            "state": "compared",
            "detail": None,
            "models": len(listed),
            "found": [dataclasses.asdict(one) for one in found],
        }

    def _propose(self, vendor: str, listed: Sequence[Listed]) -> list[Finding]:
        with self._database.write() as tx:
            revision.lock(tx)
            now, found = self._database.now(tx), differences(vendor, self._catalogue(), listed)
            for one in found:
                self._keep(tx, now, one)
            said = {(one.model, one.kind) for one in found}
            mine = [one for one in proposals.open_(tx) if one.vendor == vendor and one.kind != "retiring"]
            self._outdate(tx, now, [one for one in mine if (one.model, one.kind) not in said])
        return found

    def _keep(self, tx: Tx, now: int, one: Finding) -> None:
        """Propose it, unless that was done."""
        last = proposals.last(tx, one.model, one.kind)
        if last is not None and last.state in ("open", "dismissed") and last.found == one.found:
            return
        if last is not None and last.state == "open":
            proposals.put(tx, dataclasses.replace(last, found=one.found, version=last.version + 1))
        else:
            proposals.add(tx, Proposal(self._new_id("prp"), **vars(one), state="open", created_at=now))

    def _outdate(self, tx: Tx, now: int, over: Sequence[Proposal]) -> None:
        for one in over:
            proposals.put(tx, one.ended("outdated", now, CHECK))

    def _users(self, tx: Tx, model: Model) -> list[str]:
        since = self._database.now(tx) - LATELY_DAYS * DAY
        return proposals.who_used(
            tx, model.name, first_id("gen", since), first_id("anl", since), MOST_TENANTS
        )

    def _warn_of(self, tx: Tx, now: int, model: Model, days: int, tenants: Sequence[str]) -> None:
        ends = rfc3339(model.retires_at)
        found = {"retires_at": ends, "days": days, "tenants": list(tenants)}
        self._keep(tx, now, Finding(model.vendor, model.name, "retiring", found))
        told = {"model": model.name, "retires_at": ends, "days": days, "successor": model.successor}
        whom: list[str | None] = [*tenants] or [None]
        events = [Event("model.retiring", tenant, {**told, "tenant": tenant}) for tenant in whom]
        self._events.emit_all(tx, now, events)
        log.info("model_retiring", vendor=model.vendor, tenants=len(tenants), **told)


def _is_told(tx: Tx, model: Model, days: int) -> bool:
    """Whether it was told of this end, so near or nearer."""
    last = proposals.last(tx, model.name, "retiring")
    if last is None or last.found["retires_at"] != rfc3339(model.retires_at):
        return False
    told: int = last.found["days"]
    return told <= days


def _silent(vendor: str, detail: str) -> dict[str, Any]:
    return {"vendor": vendor, "state": "silent", "detail": detail, "models": 0, "found": []}


def _job(job_id: str, vendor: str, now: int) -> Job:
    return Job(
        tenant_id=PLATFORM,
        id=job_id,
        kind=KIND,
        payload={"vendor": vendor},
        run_at=now,
        max_attempts=1,
        created_at=now,
        subject=vendor,
        dedupe=vendor,
    )


def _is_over(proposal: Proposal, near: set[str]) -> bool:
    return proposal.kind == "retiring" and proposal.model not in near


def _require(tx: Tx, proposal_id: str) -> Proposal:
    found = proposals.get(tx, proposal_id)
    if found is None:
        raise NotFound(f"There is no proposal {proposal_id[:100]!r}.", param="proposal")
    return found


def _open(tx: Tx, proposal_id: str, based_on: int | None) -> Proposal:
    found = _require(tx, proposal_id)
    check_version(based_on, found.version, proposal_json(found))
    if found.state != "open":
        raise Conflict(f"The proposal {found.id} is {found.state}.", param="proposal")
    return found


def _end(change: Change, before: Proposal, state: State) -> dict[str, Any]:
    after = before.ended(state, change.now, change.actor.name)
    proposals.put(change.tx, after)
    change.record(
        f"proposal.{state}",
        subject=after.id,
        tenant=None,
        before=proposal_json(before),
        after=proposal_json(after),
    )
    return proposal_json(after)
