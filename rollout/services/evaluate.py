"""Claude judges the finished pictures of a generation. Failure behaviour: open; the pictures are delivered all the same.

Who is late or fails is written down too, so that a replay tells what was told the first time.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from rollout.core.decisions import Decision
from rollout.core.evaluations import Evaluation, Judgements, evaluation_json
from rollout.core.generation_jobs import Generated
from rollout.core.uses import Generation
from rollout.db import evaluations
from rollout.db.engine import Database
from rollout.services.asking import MODEL, Asking, Question, Skipped
from rollout.services.calls import Call
from rollout.services.results import Delivered, Work
from rollout.services.tasks import load

log = structlog.get_logger()

SECONDS = 15.0
LOOK_SECONDS = 0.25

Ground = Decision | Generation
"""By which feature, in which phase, the pictures were made: as it was decided, or written down."""


class Evaluate:
    def __init__(
        self, database: Database, asking: Asking, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._database, self._asking, self._sleep = database, asking, sleep
        self._question = Question(load("evaluate"), SECONDS)

    def judged(self, call: Call, decision: Ground, work: Work, delivered: Delivered) -> Delivered:
        """The pictures with what Claude found of them, where that was asked for; never raises."""
        if not work.extensions.evaluate:
            return delivered
        return replace(delivered, evaluation=self._judge(call, decision, work, delivered))

    def judge_later(self, call: Call, decision: Decision, work: Work, delivered: Delivered) -> None:
        """The same, for who does not wait for it: what was found is read by `found`."""
        context = contextvars.copy_context()
        arguments = (self.judged, call, decision, work, delivered)
        threading.Thread(target=context.run, args=arguments, name="evaluation", daemon=True).start()

    def again(self, delivered: Delivered) -> Delivered:
        """A replayed answer with what was found the first time."""
        if not delivered.result.body.get("evaluate"):
            return delivered
        found = self.found(delivered.tenant_id, delivered.result.body["generation"])
        return replace(delivered, evaluation=found)

    def once_judged(self, delivered: Delivered) -> Delivered:
        """What a job has made, with what it finds of it: waits as long as a judge may take."""
        for _ in range(int(SECONDS / LOOK_SECONDS)):
            told = self.again(delivered)
            if told.evaluation != evaluation_json(None):
                return told
            self._sleep(LOOK_SECONDS)
        return self.again(delivered)

    def found(self, tenant_id: str, generation_id: str) -> dict[str, Any]:
        """What was found of a generation whose evaluation was asked for, as callers see it."""
        with self._database.read() as tx:
            return evaluation_json(evaluations.of_generation(tx, tenant_id, generation_id))

    def extensions(self, made: Generated) -> dict[str, Any]:
        """What came of the extensions that a generation was asked for with, by name, while that is known."""
        body = made.hold.result.body if made.hold.result else {}
        with self._database.read() as tx:
            evaluation = evaluations.of_generation(tx, made.generation.tenant_id, made.generation.id)
        found = {"refine_prompt": body["refine_prompt"]} if body.get("refine_prompt") else {}
        if evaluation is not None or body.get("evaluate"):
            found["evaluate"] = evaluation_json(evaluation)
        return found

    def _judge(self, call: Call, decision: Ground, work: Work, delivered: Delivered) -> dict[str, Any]:
        found = Evaluation(
            tenant_id=work.tenant_id,
            generation_id=work.generation_id,
            feature=decision.feature,
            phase=decision.phase,
            run=decision.run,
            model=work.model.name,
            judge=MODEL,
        )
        try:
            content = _content(work, delivered)
            told = self._asking.ask(call, self._question, content, Judgements).as_json()
            least = min(judgement["score"] for judgement in told.values())
            found = replace(found, scores=told, score=least)
        except Skipped as skipped:
            found = replace(found, skipped=skipped.reason)
        return evaluation_json(self._kept(found))

    def _kept(self, found: Evaluation) -> Evaluation:
        try:
            with self._database.write() as tx:
                evaluations.add(tx, replace(found, created_at=self._database.now(tx)))
        except Exception as error:
            log.exception("evaluation_not_kept", generation=found.generation_id, error=repr(error))
        return found


def _content(work: Work, delivered: Delivered) -> list[dict[str, Any]]:
    pictures = [
        (image["media_type"], delivered.pictures[image["$blob"]]) for image in delivered.result.body["images"]
    ]
    return [{"type": "text", "text": f"<asked>{work.asked_for}</asked>"}, *map(_block, pictures)]


def _block(picture: tuple[str, bytes]) -> dict[str, Any]:
    media_type, b64 = picture
    source = {"type": "base64", "media_type": media_type, "data": msgspec.Raw(b'"' + b64 + b'"')}
    return {"type": "image", "source": source}
