"""Generations as their callers follow them: queued, made by a job, ended.

    queued -> dispatched -> running -> succeeded | refused | failed | unknown
       |           |           |
       +-----------+-----------+-> cancelled

What became of the work and what it cost stands on its hold, whoever moved that: a job, a caller who waits, the sweeper, a person.
So a status is never written down: it follows from the hold, and from what a job adds to it. `unknown` is no end: it becomes
`succeeded` when the answer comes late, and `failed` when it is charged, or not, without one.

Times in UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.holds import Hold
from rollout.core.images import ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.times import rfc3339
from rollout.core.uses import Generation, StoredImage
from rollout.errors import (
    Conflict,
    ContentRefused,
    InvalidRequest,
    OutcomeUnknown,
    ResultPurged,
    RolloutError,
    UpstreamFailed,
    UpstreamUnavailable,
    by_code,
)

Status = Literal["queued", "dispatched", "running", "succeeded", "refused", "failed", "unknown", "cancelled"]

STATUSES: tuple[Status, ...] = get_args(Status)
GOING_ON: tuple[Status, ...] = ("queued", "dispatched", "running")

FIRST_LOOK, LONGEST_PAUSE = 2, 10
LONGEST_TASK = 3600
"""Seconds after which nobody believes any more that a vendor's task will end."""


@dataclass(frozen=True)
class GenerationJob:
    """What a job knows of its generation. `request`: what is sent, from `written`; `task_id`: what the vendor calls it, since
    `task_at`; `progress` in percent; `error`: how it failed, from `problem`."""

    tenant_id: str
    generation_id: str
    request: Mapping[str, Any]
    progress: int = 0
    task_id: str | None = None
    task_at: int | None = None
    error: Mapping[str, Any] | None = None
    cancelled_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True)
class Generated:
    """A generation with its hold, its pictures as far as they are kept, and, where it was not made while its caller waited, its job."""

    generation: Generation
    hold: Hold
    job: GenerationJob | None = None
    images: Sequence[StoredImage] = ()

    @property
    def status(self) -> Status:
        return status_of(self.hold, self.job)

    @property
    def progress(self) -> int:
        """In percent."""
        if self.status == "succeeded":
            return 100
        return self.job.progress if self.job else 0

    @property
    def is_going_on(self) -> bool:
        return self.status in GOING_ON


def status_of(hold: Hold, job: GenerationJob | None) -> Status:
    """How far a generation has come. `db.generation_jobs` says the same in SQL."""
    if job and job.cancelled_at is not None:
        return "cancelled"
    if hold.state == "held":
        return "queued"
    if hold.state == "dispatched":
        return "running" if job and job.task_id else "dispatched"
    if hold.state == "unknown":
        return "unknown"
    if hold.state == "void" or not hold.was_answered:
        return "failed"
    if not hold.images:
        return "refused"
    return "failed" if job and job.error else "succeeded"


def next_look(elapsed: int, random: float) -> int:
    """Seconds until a task is looked at again that the vendor took so many seconds ago: from 2 to 10, with jitter; `random` in [0, 1)."""
    pause = min(LONGEST_PAUSE, max(FIRST_LOOK, elapsed / 4))
    return max(1, round(pause * (0.75 + random / 2)))


def written(request: ImageRequest, keep: Callable[[InputImage], str]) -> dict[str, Any]:
    """A request as it waits for its job: `keep` stores the caller's pictures and gives their sha256."""

    def kept(image: InputImage) -> dict[str, Any]:
        return {**vars(image), "data": keep(image)}

    return {
        **vars(request),
        "images": [kept(image) for image in request.images],
        "mask": kept(request.mask) if request.mask else None,
        "warnings": list(request.warnings),
    }


def read(stored: Mapping[str, Any], get: Callable[[str], bytes | None]) -> ImageRequest:
    """The request that `written` wrote down. Raises ResultPurged when a picture is not kept any more."""

    def picture(image: Mapping[str, Any]) -> InputImage:
        data = get(image["data"])
        if data is None:
            raise ResultPurged("The pictures that were sent are no longer kept.")
        return InputImage(**{**image, "data": data})

    return ImageRequest(
        **{
            **stored,
            "images": tuple(picture(image) for image in stored["images"]),
            "mask": picture(stored["mask"]) if stored["mask"] else None,
            "warnings": tuple(stored["warnings"]),
        }
    )


def problem(error: RolloutError) -> dict[str, Any]:
    """An error as it is kept and shown."""
    return {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy_text,
        "retryable": error.retryable,
        "status": error.http_status,
        **error.members,
    }


def raised(found: Generated, headers: Mapping[str, str]) -> RolloutError:
    """Why there are no pictures, for who waited for them; where the work may have been billed, nobody is invited to repeat it."""
    kept = failure(found) or problem(Conflict("The generation was cancelled."))
    told = {name: value for name, value in kept.items() if name not in ("code", "message", "retryable")}
    error = by_code(kept["code"])(kept["message"], headers=headers, **told)
    if error.http_status in (502, 504):
        error.should_retry = False
    return error


def failure(found: Generated) -> dict[str, Any] | None:
    """Why there are no pictures, as far as it is known; None for what goes on, succeeded, or was cancelled."""
    status, hold = found.status, found.hold
    if status in (*GOING_ON, "succeeded", "cancelled"):
        return None
    if found.job and found.job.error:
        return dict(found.job.error)
    if status == "refused":
        category = hold.result.body.get("category") if hold.result else None
        return problem(ContentRefused(category=category))
    if status == "unknown":
        return problem(OutcomeUnknown(hold_id=hold.id))
    if hold.state == "settled":
        return problem(UpstreamFailed("It is charged, and no picture came of it.", hold_id=hold.id))
    return problem(UpstreamUnavailable("No picture came of it; nothing was charged."))


def check_status(name: str | None) -> Status | None:
    """Raises InvalidRequest for a status that there is not."""
    for status in STATUSES:
        if status == name:
            return status
    if name is None:
        return None
    raise InvalidRequest(f"There is no status {name!r}; there are {', '.join(STATUSES)}.", param="status")


def generation_json(found: Generated, url: Callable[[StoredImage], str]) -> dict[str, Any]:
    """The shape that its tenant sees; `url` signs the address of a picture."""
    made, hold, status = found.generation, found.hold, found.status
    result = hold.result.body if hold.result and hold.result.status == 200 else {}
    revised = {image["id"]: image["revised_prompt"] for image in result.get("images", ())}
    delivered = found.images if status == "succeeded" else ()
    is_charged = hold.state == "settled"
    return {
        "id": made.id,
        "status": status,
        "progress": found.progress,
        "operation": made.operation,
        "model": made.model,
        "vendor": made.vendor,
        "mode": made.mode,
        "prompt": made.prompt,
        "n": made.images_asked,
        "images": [
            {
                "id": image.id,
                "url": url(image),
                "media_type": image.media_type,
                "expires_at": rfc3339(image.expires_at),
                "revised_prompt": revised.get(image.id),
            }
            for image in delivered
        ],
        "feedback": hold.result.headers.get("x-rollout-feedback") if hold.result else None,
        "usage": usage_json(hold.usage) if is_charged and hold.settled_from == "usage" else None,
        "cost_usd_micro": hold.cost_usd_micro if is_charged else None,
        "settled_from": hold.settled_from,
        "error": failure(found),
        "hold": hold.id,
        "request_id": made.request_id,
        "decision_id": made.decision_id,
        "created_at": rfc3339(made.created_at),
        "ended_at": rfc3339(_ended_at(found)),
        "links": links(made.id),
    }


def links(generation_id: str) -> dict[str, str]:
    """Where a generation is looked at, and followed."""
    path = f"/api/v1/generations/{generation_id}"
    return {"self": path, "events": f"{path}/events"}


def usage_json(usage: Mapping[str, int] | None) -> dict[str, Any] | None:
    """Tokens in the shape of OpenAI's images API; None where the vendor told none."""
    if usage is None or "input" not in usage:
        return None
    return {
        "input_tokens": usage["input"],
        "output_tokens": usage["output"],
        "total_tokens": usage["input"] + usage["output"],
        "input_tokens_details": {"text_tokens": usage["text_in"], "image_tokens": usage["image_in"]},
    }


def operator_json(found: Generated) -> dict[str, Any]:
    """The shape that operators see: without what the tenant wrote and got."""
    made, job = found.generation, found.job
    return {
        "id": made.id,
        "tenant": made.tenant_id,
        "status": found.status,
        "progress": found.progress,
        "model": made.model,
        "vendor": made.vendor,
        "mode": made.mode,
        "n": made.images_asked,
        "hold": found.hold.id,
        "task_id": job.task_id if job else None,
        "cost_usd_micro": found.hold.cost_usd_micro if found.hold.state == "settled" else None,
        "error": failure(found),
        "request_id": made.request_id,
        "created_at": rfc3339(made.created_at),
        "ended_at": rfc3339(_ended_at(found)),
    }


def _ended_at(found: Generated) -> int | None:
    return found.hold.settled_at or (found.job.ended_at if found.job else None)
