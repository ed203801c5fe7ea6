"""The story of one request: everything that is stored of it, as events on one time line.

    called       by which key; what was asked for
    decided      whether the tenant was let in, and why not
    held         what was reserved, a line a meter
    refined      what Claude made of the prompt
    dispatched   to which vendor and model
    unknown      the vendor may have done it; until when that is waited for
    settled      what it cost and by what it was charged
    void         nothing was done, nothing is charged
    stored       the pictures that were kept
    guardrail    what of it the vendor refused for its content
    evaluated    what Claude found of the pictures
    refused      what the caller was told instead of an answer
    rated        what an end user said
    changed      what an admin did to it

Only what is stored is told: an event whose time nobody wrote down has none, and stands behind the one that it followed.

Beside the events stand the two answers that admins ask for: `refused_by`, each limit that refused, with what filled it and who
set it; and `money`, the bill of what was reserved and charged (`core.bills`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout.core.bills import Bill, bill_json
from rollout.core.catalogue import OnUnknown
from rollout.core.evaluations import Evaluation, evaluation_json
from rollout.core.feedback import FeedbackItem
from rollout.core.guardrails import GuardrailEvent
from rollout.core.holds import Entry, Hold, Kind, Line
from rollout.core.refusals import Refusal
from rollout.core.tenants import Key
from rollout.core.times import epoch, rfc3339
from rollout.core.topups import TopUp, topup_json
from rollout.core.uses import Generation, StoredImage, Use

EventKind = Literal[
    "called", "decided", "held", "dispatched", "unknown", "settled", "void",
    "refined", "stored", "guardrail", "evaluated", "refused", "rated", "changed",
]  # fmt: skip

QUESTIONS = ("refine", "evaluate")
"""What Claude is asked beside a request, by a request of its own: `req_....refine`."""

NOT_LET_IN = ("feature_not_enabled", "feature_killed")


@dataclass(frozen=True)
class Event:
    """`at` in UTC epoch seconds, None: not stored. `values` are JSON; `links` name what it is about: noun -> id."""

    kind: EventKind
    at: int | None
    values: Mapping[str, Any]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FullLimit:
    """A limit that refused. `told`: its figures at that time, as `core.refusals` keeps them; `set_by`: the row of the audit log
    that gave it its cap; `topups`: those in force then; `held_by`: (hold id, amount), the largest of that second."""

    told: Mapping[str, Any]
    set_by: Mapping[str, Any] | None
    topups: Sequence[TopUp]
    held_by: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Traces:
    """What is stored of one request. `meters`: names by id; `changes`: rows of the audit log, oldest first; `questions`: the holds
    of what Claude was asked beside it, by the question."""

    tenant_id: str
    request_id: str
    key: Key | None
    refusal: Refusal | None = None
    hold: Hold | None = None
    use: Use | None = None
    entries: Sequence[Entry] = ()
    meters: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[StoredImage] = ()
    feedback: Sequence[FeedbackItem] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    full: Sequence[FullLimit] = ()
    bill: Bill | None = None
    on_unknown: OnUnknown = "charge"
    guardrail: GuardrailEvent | None = None
    evaluation: Evaluation | None = None
    questions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """`outcome` is the state of its hold, `refused` when nothing was ever reserved."""

    tenant_id: str
    request_id: str
    outcome: str
    refusal: Refusal | None
    events: tuple[Event, ...]
    refused_by: Sequence[FullLimit] = ()
    bill: Bill | None = None


def tell(found: Traces) -> Story:
    """The events in order of time."""
    outcome = "refused" if found.hold is None else found.hold.state
    events = tuple(_in_time(_events(found)))
    return Story(found.tenant_id, found.request_id, outcome, found.refusal, events, found.full, found.bill)


def set_by(told: Mapping[str, Any], changes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of what changed a meter, newest first, the row that gave it the cap it refused by."""
    for row in changes:
        before, after = row["before"] or {}, row["after"]
        if after is None or row["at"] > epoch(told["at"]):
            continue
        if any(before.get(name) != after.get(name) for name in ("cap", "scheduled")):
            return row
    return None


def story_json(story: Story) -> dict[str, Any]:
    return {
        "request_id": story.request_id,
        "tenant": story.tenant_id,
        "outcome": story.outcome,
        "refused_by": [_full_json(full) for full in story.refused_by],
        "money": None if story.bill is None else bill_json(story.bill),
        "events": [
            {
                "kind": event.kind,
                "at": rfc3339(event.at),
                "values": dict(event.values),
                "links": dict(event.links),
            }
            for event in story.events
        ],
    }


def _full_json(full: FullLimit) -> dict[str, Any]:
    row = full.set_by
    return {
        **full.told,
        "subject": full.told["subject"] or None,
        "set_by": row
        and {
            "audit": row["seq"],
            "at": rfc3339(row["at"]),
            "by": row["actor"],
            "action": row["action"],
            "reason": row["reason"],
            "cap": row["after"]["cap"],
        },
        "topups": [topup_json(topup) for topup in full.topups],
        "held_by": [{"hold": hold_id, "amount": amount} for hold_id, amount in full.held_by],
    }


def _in_time(events: Iterable[Event]) -> list[Event]:
    """An event without a time goes with the one before it."""
    timed, last = [], 0
    for event in events:
        last = last if event.at is None else event.at
        timed.append((last, event))
    return [event for _, event in sorted(timed, key=lambda item: item[0])]


def _events(found: Traces) -> Iterator[Event]:
    hold, refusal = found.hold, found.refusal
    yield _called(found)
    if decision_id := hold.decision_id if hold else refusal and refusal.decision_id:
        yield _decided(found, decision_id)
    if hold is not None:
        yield Event("held", hold.created_at, _held(found, hold), {"hold": hold.id})
        if hold.result is not None and (refined := hold.result.body.get("refine_prompt")):
            yield Event("refined", None, refined, _question(found, "refine"))
        if hold.state not in ("held", "void"):
            yield Event("dispatched", None, {"vendor": hold.vendor, "model": hold.model})
        yield from _ends(found, hold)
    if found.images:
        yield _stored(found.images)
    if (event := found.guardrail) is not None:
        told = ("category", "point", "source", "vendor_code")
        yield Event("guardrail", event.at, {name: getattr(event, name) for name in told})
    if (judged := found.evaluation) is not None:
        yield Event("evaluated", judged.created_at, evaluation_json(judged), _question(found, "evaluate"))
    if refusal is not None:
        yield Event("refused", refusal.at, _refused(refusal), _meter_links(refusal))
    for item in found.feedback:
        yield Event("rated", item.created_at, _rated(item), {"feedback": item.id})
    for row in found.changes:
        said = ("seq", "action", "subject", "actor", "reason", "before", "after")
        yield Event("changed", row["at"], {name: row[name] for name in said}, {"audit": row["subject"]})


def _question(found: Traces, name: str) -> dict[str, str]:
    return {"hold": found.questions[name]} if name in found.questions else {}


def _called(found: Traces) -> Event:
    key, use, refusal = found.key, found.use, found.refusal
    values: dict[str, Any] = {"tenant": found.tenant_id}
    if key is not None:
        values |= {"key": key.prefix, "key_name": key.name, "mode": key.mode}
    if refusal is not None:
        values |= {"method": refusal.method, "route": refusal.route}
    if use is not None:
        values |= {"id": use.id, "requested_model": use.requested_model, "end_user": use.end_user}
    if isinstance(use, Generation):
        values |= {"operation": use.operation, "prompt": use.prompt, "images_asked": use.images_asked}
    asked_beside, _, question = found.request_id.rpartition(".")
    beside = {"request": asked_beside} if question in QUESTIONS else {}
    return Event("called", None, values, {"tenant": found.tenant_id, **beside})


def _decided(found: Traces, decision_id: str) -> Event:
    """Why a tenant was let in is not stored; why not is what it was told."""
    told = found.refusal.members if found.refusal else {}
    let_in = found.hold is not None or (found.refusal is not None and found.refusal.code not in NOT_LET_IN)
    limits = told.get("limits") or [{}]
    feature = found.hold.feature if found.hold else told.get("feature") or limits[0].get("feature")
    values = {
        "decision": decision_id,
        "feature": feature,
        "allowed": let_in,
        "reason": None if let_in else told.get("reason"),
        "phase": found.use.phase if found.use else None,
        "run": found.use.run if found.use else None,
    }
    return Event("decided", None, values, {"explain": feature} if feature else {})


def _held(found: Traces, hold: Hold) -> dict[str, Any]:
    reserved = {(one.meter_id, one.subject): one for one in found.entries if one.kind == "reserve"}
    lines = []
    for line in hold.lines:
        entry = reserved.get((line.meter_id, line.subject))
        booked = {"used": entry.d_used, "held": entry.d_held} if entry else {"used": 0, "held": 0}
        lines.append({**_meter(found, line), "amount": line.amount, **booked})
    return {"attempt": hold.attempt, "lines": lines}


def _ends(found: Traces, hold: Hold) -> Iterator[Event]:
    """By the ledger's entries; a hold without lines has none, and its end is told by its own row."""
    of_kind: dict[Kind, list[Entry]] = {}
    for entry in found.entries:
        of_kind.setdefault(entry.kind, []).append(entry)
    slots = of_kind.get("slot")
    if slots or hold.evidence or hold.state == "unknown":
        yield _unknown(found, hold, slots[0] if slots else None)
    if voids := of_kind.get("void"):
        yield Event("void", voids[0].at, {"why": voids[0].reason, "by": voids[0].actor})
    elif hold.state == "void":
        yield Event("void", None, {"why": hold.resolution})
    if hold.state == "settled":
        charges = of_kind.get("late") or of_kind.get("settle") or []
        yield Event("settled", hold.settled_at, _settled(found, hold, charges))


def _unknown(found: Traces, hold: Hold, slot: Entry | None) -> Event:
    """`then`: what ends it at `until` unless somebody knows better before; only while it is unknown."""
    evidence = [{**item, "at": rfc3339(item["at"])} for item in hold.evidence]
    why = slot.reason if slot else evidence[0]["found"] if evidence else hold.resolution
    values: dict[str, Any] = {"why": why, "evidence": evidence}
    if hold.state == "unknown":
        values |= {"until": rfc3339(hold.lease_until), "then": found.on_unknown}
    at = slot.at if slot else hold.evidence[0]["at"] if evidence else None
    return Event("unknown", at, values)


def _settled(found: Traces, hold: Hold, charges: Sequence[Entry]) -> dict[str, Any]:
    charged = {(one.meter_id, one.subject): one.d_used for one in charges}
    return {
        "cost_usd_micro": hold.cost_usd_micro,
        "settled_from": hold.settled_from,
        "usage": None if hold.usage is None else dict(hold.usage),
        "upstream_id": hold.upstream_id,
        "why": hold.resolution,
        "by": charges[0].actor if charges else None,
        "late": bool(charges) and charges[0].kind == "late",
        "lines": [
            {**_meter(found, line), "charged": charged[line.meter_id, line.subject]}
            for line in hold.lines
            if charged.get((line.meter_id, line.subject))
        ],
    }


def _meter(found: Traces, line: Line) -> dict[str, Any]:
    return {
        "meter": line.meter_id,
        "name": found.meters.get(line.meter_id, line.meter_id),
        "unit": line.unit,
    }


def _stored(images: Sequence[StoredImage]) -> Event:
    kept = [
        {
            "id": one.id,
            "media_type": one.media_type,
            "bytes": one.bytes,
            "expires_at": rfc3339(one.expires_at),
        }
        for one in images
    ]
    return Event("stored", images[0].created_at, {"images": kept})


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {"status": refusal.status, "code": refusal.code, "message": refusal.message, **refusal.members}


def _meter_links(refusal: Refusal) -> dict[str, str]:
    limits = refusal.members.get("limits") or []
    return {"meter": limits[0]["meter"]} if limits else {}


def _rated(item: FeedbackItem) -> dict[str, Any]:
    return {
        "rating": item.opinion.rating,
        "reasons": list(item.opinion.reasons),
        "comment": item.opinion.comment,
        "end_user": item.end_user,
        "state": item.state,
        "updated_at": rfc3339(item.updated_at),
    }
