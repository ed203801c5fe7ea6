"""One use of a feature: a generation or an analysis, and the pictures that a generation left behind.

Immutable facts, written with the hold; how the use ended and what it cost stands on the hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollout.core.images import Operation

Mode = Literal["live", "test"]


@dataclass(frozen=True, kw_only=True)
class Use:
    """Who, by which decision, in which phase, on which model.

    `vendor` is who answered (`sandbox` in a vendor's place), `model` the catalogue's name; times are UTC
    epoch seconds.
    """

    tenant_id: str
    id: str
    hold_id: str
    request_id: str
    decision_id: str
    api_key_id: str
    end_user: str | None
    feature: str
    phase: str | None
    run: int | None
    vendor: str
    model: str
    requested_model: str
    mode: Mode
    created_at: int


@dataclass(frozen=True, kw_only=True)
class Generation(Use):
    operation: Operation
    prompt: str
    images_asked: int


@dataclass(frozen=True, kw_only=True)
class Analysis(Use):
    pass


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """A delivered picture; its bytes lie in the blob store under `sha256` until `expires_at`."""

    tenant_id: str
    id: str
    generation_id: str
    position: int
    sha256: str
    media_type: str
    bytes: int
    created_at: int
    expires_at: int
