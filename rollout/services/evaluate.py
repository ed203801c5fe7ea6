"""Claude judges the finished pictures of a generation. Failure behaviour: open; the pictures are delivered all the same.

A generation has one evaluation at most: the first that is written down, which for a judge who is late says so.
"""

from __future__ import annotations

import contextvars
import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from rollout.core.evaluations import Evaluation, Judgements, evaluation_json
from rollout.db import evaluations
from rollout.db.engine import Database
from rollout.services.asking import Asking, Skipped, load
from rollout.services.calls import Call

log = structlog.get_logger()


@dataclass(frozen=True)
class Made:
    """A generation to be judged: what was asked for, and what came of it as (media type, base64 text)."""

    generation_id: str
    feature: str
    phase: str | None
    run: int | None
    model: str
    prompt: str
    pictures: Sequence[tuple[str, bytes]]


class Evaluate:
    def __init__(self, database: Database, asking: Asking) -> None:
        self._database, self._asking, self._question = database, asking, load("evaluate")

    def judge(self, call: Call, made: Made) -> dict[str, Any]:
        """The evaluation as callers see it, written down; never raises."""
        found = Evaluation(
            tenant_id=call.tenant_id,
            generation_id=made.generation_id,
            feature=made.feature,
            phase=made.phase,
            run=made.run,
            model=made.model,
            judge=self._question.model,
            scores=None,
            score=None,
            skipped=None,
            created_at=0,
        )
        try:
            told = self._asking.ask(call, self._question, _content(made), Judgements).as_json()
            least = min(judgement["score"] for judgement in told.values())
            found = dataclasses.replace(found, scores=told, score=least)
        except Skipped as skipped:
            found = dataclasses.replace(found, skipped=skipped.reason)
        self._keep(found)
        return evaluation_json(found)

    def judge_later(self, call: Call, made: Made) -> None:
        """The same, for who does not wait for it; what was found is read by `of`."""
        context = contextvars.copy_context()
        judge = threading.Thread(
            target=context.run, args=(self.judge, call, made), name="evaluation", daemon=True
        )
        judge.start()

    def of(self, tenant_id: str, generation_id: str) -> dict[str, Any]:
        """What was found of a generation whose evaluation was asked for, as callers see it."""
        with self._database.read() as tx:
            return evaluation_json(evaluations.of_generation(tx, tenant_id, generation_id))

    def _keep(self, found: Evaluation) -> None:
        try:
            with self._database.write() as tx:
                evaluations.add(tx, dataclasses.replace(found, created_at=self._database.now(tx)))
        except Exception as error:
            log.exception("evaluation_not_kept", generation=found.generation_id, error=repr(error))


def _content(made: Made) -> list[dict[str, Any]]:
    pictures = [
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": media_type,
                "data": msgspec.Raw(b'"' + b64 + b'"'),
            },
        }
        for media_type, b64 in made.pictures
    ]
    return [{"type": "text", "text": f"<asked>{made.prompt}</asked>"}, *pictures]
