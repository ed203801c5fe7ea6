"""Feedback on a generation: a thumb, reasons and words, one for each end user, the latest wins.

A handle lets an end user rate one generation without a key: base64url of 16 bytes of HMAC-SHA256 and of a
JSON array that says what it opens. Whoever has it may rate as that end user until it expires, and no more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.times import rfc3339
from rollout.core.uses import StoredImage
from rollout.errors import InvalidRequest, NotFound, ResultPurged

Rating = Literal["up", "down"]
FeedbackState = Literal["open", "resolved", "spam", "withdrawn"]
Triage = Literal["open", "resolved", "spam"]

STATES: tuple[FeedbackState, ...] = get_args(FeedbackState)
TRIAGE: tuple[Triage, ...] = get_args(Triage)

ANONYMOUS = "anonymous"
"""The end user of feedback that names none."""

MAX_MARKS = 100
"""So many items are triaged in one change."""

MAX_REASONS = 10
MAX_COMMENT = 2000
MAX_END_USER = 255
MAX_HANDLE = 2048

_REASON = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MAC_BYTES = 16
_PURPOSE = b"feedback-handle\n"


@dataclass(frozen=True)
class Opinion:
    """What an end user says. `reasons` are free slugs (`wrong_colour`): partners name their own."""

    rating: Rating
    reasons: tuple[str, ...] = ()
    comment: str | None = None

    def __post_init__(self) -> None:
        if self.rating not in get_args(Rating):
            raise InvalidRequest("A rating is up or down.", param="rating")
        if len(self.reasons) > MAX_REASONS:
            raise InvalidRequest(f"There are at most {MAX_REASONS} reasons.", param="reasons")
        for index, reason in enumerate(self.reasons):
            if not _REASON.fullmatch(reason):
                raise InvalidRequest(
                    "A reason is 1-50 lower-case letters, digits, hyphens and underscores.",
                    param=f"reasons.{index}",
                )
        if self.comment is not None and len(self.comment) > MAX_COMMENT:
            raise InvalidRequest(f"A comment has at most {MAX_COMMENT} characters.", param="comment")
        if self.comment is not None and _CONTROL.search(self.comment):
            raise InvalidRequest("A comment is text without control characters.", param="comment")


@dataclass(frozen=True)
class FeedbackItem:
    """An opinion as it is kept; times in UTC epoch seconds.

    `feature` to `model` are as they were when the picture was made, whenever the opinion arrives.
    """

    id: str
    tenant_id: str
    generation_id: str
    end_user: str
    opinion: Opinion
    state: FeedbackState
    feature: str
    phase: str | None
    run: int | None
    vendor: str
    model: str
    created_at: int
    updated_at: int
    version: int = 1

    def state_after_new_words(self) -> FeedbackState:
        """Resolved or withdrawn, it is open again when its end user speaks again; spam stays spam."""
        return "spam" if self.state == "spam" else "open"


@dataclass(frozen=True)
class Wanted:
    """Which feedback to list; None: any."""

    tenant: str | None = None
    generation: str | None = None
    end_user: str | None = None
    state: FeedbackState | None = None
    rating: Rating | None = None
    feature: str | None = None
    phase: str | None = None
    vendor: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class InboxItem:
    """Feedback with what it is about; `others` is how many more opinions there are on the same generation, up to 100.

    `picture` is the first one's id, kept until `picture_until` (UTC epoch seconds); None when it is no longer kept.
    """

    item: FeedbackItem
    prompt: str | None
    request_id: str | None
    requested_model: str | None
    picture: str | None
    picture_until: int | None
    others: int


@dataclass(frozen=True)
class Asked:
    """What an end user is asked about: whose picture it is, the first one while it is kept, and what they said so far."""

    tenant_name: str
    picture: StoredImage | None
    said: FeedbackItem | None


@dataclass(frozen=True)
class Mark:
    """What becomes of one item; `version` None: whatever it is now."""

    id: str
    version: int | None
    state: Triage


@dataclass(frozen=True)
class Handle:
    """What a handle opens, until `expires_at` (UTC epoch seconds); `end_user` None: nobody was named."""

    tenant_id: str
    generation_id: str
    end_user: str | None
    expires_at: int


def opinion(rating: Rating, reasons: Sequence[str], comment: str | None) -> Opinion:
    """An opinion as it was sent: blank words are none, and a reason counts once. Raises InvalidRequest."""
    words = (comment or "").strip() or None
    return Opinion(rating, tuple(dict.fromkeys(reasons)), words)


def check_end_user(end_user: str | None) -> str:
    """The end user's name, `anonymous` for None; raises InvalidRequest."""
    if end_user is None:
        return ANONYMOUS
    if not end_user.strip() or len(end_user) > MAX_END_USER or not end_user.isprintable():
        raise InvalidRequest(f"An end user is 1-{MAX_END_USER} printable characters.", param="end_user")
    return end_user


def make_handle(
    secret: bytes, tenant_id: str, generation_id: str, end_user: str | None, expires_at: int
) -> str:
    """A token that `open_handle` takes until `expires_at`; safe in URLs and headers."""
    parts = [tenant_id, generation_id, expires_at, end_user]
    payload = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
    return _text(_mac(secret, payload) + payload)


def open_handle(token: str, secret: bytes, now: float) -> Handle:
    """What `token` opens. Raises NotFound for one that we did not sign, ResultPurged for an expired one."""
    raw = _bytes(token) if len(token) <= MAX_HANDLE else b""
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    # Another spelling of the same bytes is refused too, so that one handle has one text.
    if not hmac.compare_digest(mac, _mac(secret, payload)) or _text(raw) != token:
        raise NotFound(
            "There is no such feedback handle.", param="handle", remedy="Copy the whole handle again."
        )
    tenant_id, generation_id, expires_at, end_user = json.loads(payload)
    if expires_at <= now:
        raise ResultPurged(
            "This feedback handle has expired.",
            param="handle",
            remedy="A handle lives as long as its picture is kept; with an API key feedback is still taken.",
        )
    return Handle(tenant_id, generation_id, end_user, expires_at)


COLUMNS = (
    "id",
    "tenant",
    "generation",
    "end_user",
    "rating",
    "reasons",
    "comment",
    "state",
    "feature",
    "phase",
    "model",
    "vendor",
    "created_at",
    "updated_at",
)
"""The members of `feedback_json`, in order."""


def feedback_json(item: FeedbackItem) -> dict[str, Any]:
    """The shape that clients see."""
    return {
        "id": item.id,
        "tenant": item.tenant_id,
        "generation": item.generation_id,
        "end_user": item.end_user,
        "rating": item.opinion.rating,
        "reasons": list(item.opinion.reasons),
        "comment": item.opinion.comment,
        "state": item.state,
        "feature": item.feature,
        "phase": item.phase,
        "model": item.model,
        "vendor": item.vendor,
        "created_at": rfc3339(item.created_at),
        "updated_at": rfc3339(item.updated_at),
    }


def _mac(secret: bytes, payload: bytes) -> bytes:
    return hmac.new(secret, _PURPOSE + payload, hashlib.sha256).digest()[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(token: str) -> bytes:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
