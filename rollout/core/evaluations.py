"""Evaluations: what Claude found of a finished picture, for each criterion a score with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

MAX_REASONS = 3
MAX_REASON_CHARACTERS = 500


class Judgement(msgspec.Struct):
    """`score` from 0, not at all, to 1, fully."""

    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    reasons: list[str]

    def as_json(self) -> dict[str, Any]:
        reasons = [reason[:MAX_REASON_CHARACTERS] for reason in self.reasons[:MAX_REASONS]]
        return {"score": self.score, "reasons": reasons}


class Judgements(msgspec.Struct):
    """The answer of the judge, criterion by criterion."""

    shows_what_was_asked: Judgement
    text_rendered_right: Judgement
    free_of_defects: Judgement

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).as_json() for name in self.__struct_fields__}


@dataclass(frozen=True)
class Evaluation:
    """Of one generation. `model` made the picture, `judge` looked at it; `scores` by criterion as JSON and `score`, the least of
    them, or why it was `skipped`. `created_at` in UTC epoch seconds."""

    tenant_id: str
    generation_id: str
    feature: str
    phase: str | None
    run: int | None
    model: str
    judge: str
    scores: Mapping[str, Any] | None = None
    score: float | None = None
    skipped: str | None = None
    created_at: int = 0


POOR = 0.5
"""A picture whose least score is below this is a poor one."""

UNFINISHED = "unfinished"
"""Why there is no evaluation of a picture yet, or none any more: it is still looked at, or who looked has died."""


def evaluation_json(evaluation: Evaluation | None) -> dict[str, Any]:
    """The shape that callers see of an evaluation that was asked for."""
    if evaluation is None:
        return {"skipped": UNFINISHED}
    if evaluation.scores is None:
        return {"skipped": evaluation.skipped}
    return {"model": evaluation.judge, "score": evaluation.score, "criteria": dict(evaluation.scores)}
