"""What the console calls things: the codes of the API in the reader's words. A code that is not here is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rollout.core.kills import vendor_of
from rollout.web.language import N_, _, money, ngettext, percent

Tone = Literal["good", "bad", "warn", "calm"]
"""Which shape and colour a state is shown in; never the only sign of it."""

REASONS: Mapping[str, str] = {
    "ga": N_("open to all"),
    "granted": N_("granted"),
    "segment": N_("by its attributes"),
    "percentage": N_("by share"),
    "killed": N_("stopped for everyone"),
    "tenant_halted": N_("stopped for this tenant"),
    "flags_stale": N_("state not confirmed"),
    "flag_unknown": N_("no plan"),
    "flag_off": N_("off at Unleash"),
    "not_granted": N_("not granted"),
    "grant_expired": N_("grant expired"),
    "not_in_phase": N_("not in this phase"),
}
"""Why a decision is what it is."""

VERDICTS: Mapping[str, str] = {
    "ga": N_("Open to everyone."),
    "granted": N_("It has been let in by a grant."),
    "segment": N_("Its attributes let it in."),
    "percentage": N_("It is within the share of this phase."),
    "killed": N_("Stopped for everyone."),
    "tenant_halted": N_("Stopped for this tenant."),
    "flags_stale": N_("The state was not confirmed lately, so nobody is let in."),
    "flag_unknown": N_("There is no plan, so nobody is let in."),
    "flag_off": N_("The flag at Unleash does not let it in."),
    "not_granted": N_("It has no grant, and without one nobody is let in."),
    "grant_expired": N_("Its grant has expired."),
    "not_in_phase": N_("The phases that are open do not include it."),
}
"""The same in a sentence about one tenant."""

STATES: Mapping[str, tuple[str, Tone]] = {
    "active": (N_("active"), "good"),
    "pending": (N_("not begun"), "warn"),
    "suspended": (N_("suspended"), "bad"),
    "expired": (N_("expired"), "calm"),
    "revoked": (N_("revoked"), "calm"),
    "waiting": (N_("waiting"), "warn"),
    "approved": (N_("approved"), "good"),
    "denied": (N_("denied"), "bad"),
    "withdrawn": (N_("withdrawn"), "calm"),
    "running": (N_("running"), "good"),
    "paused": (N_("paused"), "warn"),
    "completed": (N_("completed"), "calm"),
    "rolled_back": (N_("rolled back"), "bad"),
    "applied": (N_("done"), "good"),
    "rejected": (N_("rejected"), "bad"),
    "planned": (N_("planned"), "warn"),
    "conflict": (N_("in conflict"), "bad"),
    "cancelled": (N_("cancelled"), "calm"),
    "healthy": (N_("met"), "good"),
    "failing": (N_("exceeded"), "bad"),
    "not_enough": (N_("not enough yet"), "warn"),
    "no_data": (N_("nothing yet"), "calm"),
    "not_yet": (N_("not yet"), "warn"),
    "held": (N_("held"), "warn"),
    "dispatched": (N_("at the vendor"), "warn"),
    "settled": (N_("settled"), "good"),
    "void": (N_("void"), "calm"),
    "unknown": (N_("unknown"), "bad"),
    "refused": (N_("refused"), "bad"),
    "open": (N_("open"), "warn"),
    "resolved": (N_("resolved"), "good"),
    "spam": (N_("spam"), "calm"),
    "up": (N_("good"), "good"),
    "down": (N_("bad"), "bad"),
    "on": (N_("on"), "good"),
    "off": (N_("off"), "calm"),
    "stopped": (N_("stopped"), "bad"),
    "gone": (N_("gone"), "bad"),
    "half_open": (N_("half open"), "warn"),
    "account_refused": (N_("account refused"), "bad"),
    "behind": (N_("behind"), "warn"),
    "nearly": (N_("nearly used up"), "warn"),
    "full": (N_("used up"), "bad"),
    "over": (N_("over the cap"), "bad"),
    "disabled": (N_("disabled"), "calm"),
    "deprecated": (N_("deprecated"), "warn"),
    "retired": (N_("retired"), "calm"),
    "dismissed": (N_("dismissed"), "calm"),
    "outdated": (N_("outdated"), "calm"),
    "ready": (N_("ready"), "warn"),
    "done": (N_("done"), "good"),
    "dead": (N_("dead"), "bad"),
    "live": (N_("live"), "good"),
    "test": (N_("test"), "calm"),
    "final": (N_("final"), "good"),
    "provisional": (N_("not final"), "warn"),
    "agrees": (N_("agrees"), "good"),
    "differs": (N_("differs"), "bad"),
    "clean": (N_("adds up"), "good"),
    "wrong": (N_("does not add up"), "bad"),
    "stale": (N_("stale"), "warn"),
    "confirmed": (N_("confirmed"), "good"),
    "pushed": (N_("written"), "good"),
    "drift": (N_("differs there"), "bad"),
    "failed": (N_("failed"), "bad"),
    "archived": (N_("archived"), "calm"),
    "added": (N_("added"), "good"),
    "changed": (N_("changed"), "warn"),
    "revived": (N_("revived"), "good"),
    "removed": (N_("removed"), "calm"),
    "client": (N_("for servers"), "good"),
    "frontend": (N_("for frontends"), "calm"),
}

UNITS: Mapping[str, str] = {
    "image": N_("images"),
    "usd_micro": N_("dollars"),
    "request": N_("requests"),
    "slot": N_("calls"),
}

PERIODS: Mapping[str, str] = {
    "minute": N_("a minute"),
    "day": N_("a day"),
    "month": N_("a month"),
    "life": N_("in all"),
    "concurrent": N_("at a time"),
}

LIMITS: Mapping[str, str] = {
    "minute": N_("%(amount)s a minute"),
    "day": N_("%(amount)s a day"),
    "month": N_("%(amount)s a month"),
    "life": N_("%(amount)s in all"),
    "concurrent": N_("%(amount)s at a time"),
}

PROPOSALS: Mapping[str, str] = {
    "retires": N_("Its vendor names another day on which %(model)s ends."),
    "gone": N_("Its vendor no longer lists %(model)s, or only as retired."),
    "unlisted": N_(
        "Its vendor lists %(model)s, which is like this one. It would come in disabled, without a price."
    ),
    "retiring": N_("%(model)s ends soon. Move its callers to another model, or dismiss this."),
}

LEVELS: Mapping[str, str] = {
    "platform": N_("all tenants together"),
    "phase": N_("all tenants of a phase together"),
    "tenant": N_("the tenant"),
    "feature": N_("the tenant, for one feature"),
    "api_key": N_("one key"),
    "end_user": N_("one end user"),
}
"""Whom a limit counts."""

ROLES: Mapping[str, str] = {"viewer": N_("viewer"), "editor": N_("editor"), "admin": N_("admin")}

FEATURES: Mapping[str, str] = {
    "image-generation": N_("Image generation"),
    "image-analysis": N_("Image analysis"),
}

POLICIES: Mapping[str, str] = {
    "follow": N_("the model that stands in for it answers"),
    "map": N_("it becomes an effort"),
    "strict": N_("the call is refused"),
}
"""What becomes of a call by an old name, and of a thinking budget for a model that takes none."""

TEMPLATES: Mapping[str, str] = {
    "partner_beta": N_("Your own people, partners by grant, a program, a growing share of all, everyone"),
    "percentage": N_("A growing share of all tenants, then everyone"),
    "internal_first": N_("Your own people, then everyone"),
}
"""What a plan can begin with."""

SOURCES: Mapping[str, str] = {
    "usage": N_("by what the vendor told"),
    "price_list": N_("by the price list"),
    "estimate": N_("as reserved, because nobody could tell"),
}
"""What a charge was taken from."""

EVENTS: Mapping[str, str] = {
    "called": N_("A key called"),
    "decided": N_("Decided"),
    "held": N_("Reserved"),
    "dispatched": N_("Sent to the vendor"),
    "unknown": N_("No answer that tells"),
    "settled": N_("Charged"),
    "void": N_("Given back, nothing charged"),
    "stored": N_("Pictures kept"),
    "refined": N_("Prompt rewritten by Claude"),
    "guardrail": N_("Refused by the vendor for its content"),
    "evaluated": N_("Judged by Claude"),
    "refused": N_("Refused"),
    "rated": N_("Rated by an end user"),
    "changed": N_("Changed by an admin"),
}
"""What happened in the story of a request."""

CATEGORIES: Mapping[str, str] = {
    "sexual": N_("sexual content"),
    "minors": N_("minors"),
    "violence": N_("violence"),
    "hate": N_("hate"),
    "harassment": N_("harassment"),
    "self_harm": N_("self-harm"),
    "illicit": N_("illicit acts"),
    "cyber": N_("attacks on computers"),
    "bio": N_("biological harm"),
    "likeness": N_("likeness of a person"),
    "copyright": N_("copyright"),
    "policy": N_("the vendor's policy"),
}
"""What content is refused for."""

POINTS: Mapping[str, str] = {
    "prompt": N_("the prompt"),
    "input_image": N_("a picture that was sent"),
    "output_image": N_("the picture that was made"),
    "output_text": N_("the text that was written"),
}
"""What is refused."""

CRITERIA: Mapping[str, str] = {
    "shows_what_was_asked": N_("Shows what was asked"),
    "text_rendered_right": N_("Text rendered right"),
    "free_of_defects": N_("Free of defects"),
}
"""What pictures are judged by."""

ENTRIES: Mapping[str, str] = {
    "reserve": N_("reserved"),
    "settle": N_("charged"),
    "void": N_("given back"),
    "slot": N_("place freed"),
    "late": N_("charged late"),
}
"""What an entry of the ledger does to a window, for a request."""

ACTIONS: Mapping[str, str] = {
    "access_request.approved": N_("Access request approved"),
    "access_request.created": N_("Access request received"),
    "access_request.denied": N_("Access request denied"),
    "access_request.withdrawn": N_("Access request withdrawn"),
    "adjustment.added": N_("Use adjusted"),
    "alias.added": N_("Alias added"),
    "alias.changed": N_("Alias changed"),
    "alias.removed": N_("Alias removed"),
    "change_request.added": N_("Change filed for approval"),
    "change_request.approved": N_("Change approved"),
    "change_request.rejected": N_("Change rejected"),
    "change_request.void": N_("Change void"),
    "change_request.withdrawn": N_("Change withdrawn"),
    "feature.killed": N_("Stopped"),
    "feature.revived": N_("Revived"),
    "feedback.triaged": N_("Feedback sorted"),
    "flag.added": N_("Flag added"),
    "flag.archived": N_("Flag archived"),
    "flag.changed": N_("Flag changed"),
    "flag.fetched": N_("Flags at Unleash changed"),
    "flag.imported": N_("Flags imported"),
    "flag.pushed": N_("Plan to be written to Unleash anew"),
    "flag.revived": N_("Flag revived"),
    "flag_token.added": N_("Flag token added"),
    "flag_token.revoked": N_("Flag token revoked"),
    "grant.changed": N_("Grant changed"),
    "grant.created": N_("Access granted"),
    "grant.expired": N_("Access ended"),
    "grant.revoked": N_("Access revoked"),
    "hold.settled": N_("Hold settled"),
    "hold.voided": N_("Hold voided"),
    "job.replayed": N_("Job done again"),
    "key.added": N_("Key added"),
    "key.revoked": N_("Key revoked"),
    "key.rotated": N_("Key rotated"),
    "meter.added": N_("Meter added"),
    "meter.archived": N_("Meter archived"),
    "meter.changed": N_("Meter changed"),
    "model.added": N_("Model added"),
    "model.changed": N_("Model changed"),
    "model.reset": N_("Model reset"),
    "model.retired": N_("Model retired"),
    "plan.added": N_("Plan added"),
    "plan.advanced": N_("Plan advanced"),
    "plan.edited": N_("Plan changed"),
    "plan.ended": N_("Plan ended"),
    "plan.jumped": N_("Plan jumped"),
    "plan.paused": N_("Plan paused"),
    "plan.restarted": N_("Phase begun anew"),
    "plan.resumed": N_("Plan resumed"),
    "plan.rolled_back": N_("Plan rolled back"),
    "segment.added": N_("Segment added"),
    "segment.changed": N_("Segment changed"),
    "segment.removed": N_("Segment removed"),
    "schedule.added": N_("Step scheduled"),
    "schedule.applied": N_("Scheduled step taken"),
    "schedule.cancelled": N_("Schedule cancelled"),
    "proposal.applied": N_("Proposal applied"),
    "proposal.dismissed": N_("Proposal dismissed"),
    "schedule.conflict": N_("Schedule in conflict"),
    "tenant.active": N_("Tenant activated"),
    "tenant.added": N_("Tenant added"),
    "tenant.changed": N_("Tenant changed"),
    "tenant.suspended": N_("Tenant suspended"),
    "token.added": N_("Token added"),
    "token.revoked": N_("Token revoked"),
    "topup.added": N_("Topped up"),
    "topup.voided": N_("Top-up taken back"),
    "user.added": N_("User added"),
    "user.changed": N_("User changed"),
    "user.disabled": N_("User disabled"),
    "user.enabled": N_("User enabled"),
    "user.link_made": N_("Sign-in link made"),
    "user.password_set": N_("Password set"),
    "vendor.disabled": N_("Vendor switched off"),
    "vendor.enabled": N_("Vendor switched on"),
    "webhook.added": N_("Webhook added"),
    "webhook.changed": N_("Webhook changed"),
    "webhook.removed": N_("Webhook removed"),
    "webhook.resent": N_("Message sent again"),
    "webhook.rotated": N_("Webhook's secret renewed"),
    "webhook.tested": N_("Webhook tried out"),
}
"""What the audit log says was done."""


STEPS: Mapping[str, str] = {
    "advance": N_("Advance"),
    "rollback": N_("Roll back"),
    "jump": N_("Jump"),
    "restart": N_("Begin the phase anew"),
    "pause": N_("Pause"),
    "resume": N_("Resume"),
    "edit": N_("Edit"),
}
"""What is done to a plan."""


def reason(code: str) -> str:
    return _said(REASONS, code)


def step(code: str) -> str:
    return _said(STEPS, code)


def verdict(code: str) -> str:
    return _said(VERDICTS, code)


def state(code: str) -> str:
    return _(STATES[code][0]) if code in STATES else code


def tone(code: str) -> Tone:
    return STATES[code][1] if code in STATES else "calm"


def unit(code: str) -> str:
    return _said(UNITS, code)


def period(code: str) -> str:
    return _said(PERIODS, code)


def level(code: str) -> str:
    return _said(LEVELS, code)


def threshold(reached: int) -> str:
    """What an alert told, in percent of the cap; 0: a request did not fit."""
    return _("%(share)s used", share=percent(reached / 100)) if reached else _("a request did not fit")


def amount(value: int, unit: str) -> str:
    """So much of a unit: `3 images`."""
    match unit:
        case "usd_micro":
            return money(value)
        case "image":
            return ngettext("%(n)s image", "%(n)s images", value)
        case "slot":
            return ngettext("%(n)s call", "%(n)s calls", value)
        case _:
            return ngettext("%(n)s request", "%(n)s requests", value)


def limit(cap: int, unit: str, period: str) -> str:
    """A cap and its period: `3 images a day`."""
    return _(LIMITS[period], amount=amount(cap, unit))


def role(code: str) -> str:
    return _said(ROLES, code)


def feature(code: str) -> str:
    return _said(FEATURES, code)


def policy(code: str) -> str:
    return _said(POLICIES, code)


def switch(code: str) -> str:
    """What a stop is of: a feature, or a vendor."""
    vendor = vendor_of(code)
    return feature(code) if vendor is None else _("vendor %(vendor)s", vendor=vendor)


def template(code: str) -> str:
    return _said(TEMPLATES, code)


def proposal(kind: str, model: str) -> str:
    """What a proposal says."""
    return _(PROPOSALS[kind], model=model)


def source(code: str) -> str:
    return _said(SOURCES, code)


def charged(source: str, cost: int) -> str:
    """So much of a cost was taken from there: `US$0.04 by the price list`."""
    return _("%(cost)s %(source)s", cost=money(cost), source=_said(SOURCES, source))


def event(code: str) -> str:
    return _said(EVENTS, code)


def category(code: str) -> str:
    return _said(CATEGORIES, code)


def point(code: str) -> str:
    return _said(POINTS, code)


def criterion(code: str) -> str:
    return _said(CRITERIA, code)


def entry(code: str) -> str:
    return _said(ENTRIES, code)


def action(code: str) -> str:
    return _said(ACTIONS, code)


def _said(names: Mapping[str, str], code: str) -> str:
    return _(names[code]) if code in names else code
