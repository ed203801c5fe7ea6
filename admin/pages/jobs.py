"""/admin/jobs"""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

from flask import Blueprint, url_for

from rollout.core.jobs import Job, job_json
from rollout.services.registry import Services
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("jobs", __name__)

COLUMNS = (
    "id", "tenant", "kind", "subject", "state", "attempt", "max_attempts", "run_at", "last_error", "created_at", "ended_at",
)  # fmt: skip


class JobsView(ListView):
    state: Literal["dead", "ready", "running", "done"] = "dead"


@routes.get("/jobs")
@operation("Background jobs, newest first", auth=viewer, query=JobsView)
def show_jobs(query: JobsView) -> Answer:
    return show_list(
        "jobs.html",
        query,
        partial(_jobs, services(), query),
        lambda job: job.id,
        file="jobs",
        columns=COLUMNS,
        as_row=job_json,
    )


@routes.get("/jobs/<job_id>")
@operation("A background job: what it does, and how its last attempt ended", auth=viewer, query=PageView)
def show_job(job_id: str, query: PageView) -> Answer:
    return _shown(job_id)


@routes.post("/jobs/<job_id>/replay")
@operation("Do an ended job again", auth=editor)
def replay_job(job_id: str) -> Answer:
    def act() -> None:
        services().jobs.replay(actor(), job_id, read(ReasonForm).reason)

    return attempt(act, then=url_for(".show_job", job_id=job_id), again=lambda: _shown(job_id))


def _shown(job_id: str) -> Answer:
    job = services().jobs.get(job_id)
    return room("job.html", job=job, payload=json.dumps(job.payload, indent=2, ensure_ascii=False))


def _jobs(wired: Services, query: JobsView, cursor: str | None, at_once: int) -> list[Job]:
    return wired.jobs.page(state=query.state, cursor=cursor, limit=at_once)
