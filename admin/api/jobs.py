"""/admin/api/v1/jobs"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.core.jobs import job_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("jobs", __name__)


class JobQuery(PageQuery):
    """`state`: ready, running, done, dead; `subject`: what the job is about, such as a webhook or a hold."""

    state: str | None = None
    kind: str | None = None
    subject: str | None = None


class JobOut(Shape):
    """`run_at`: when it is due, of a running one when its worker is given up."""

    id: str
    tenant: str | None
    kind: str
    subject: str | None
    state: str
    attempt: int
    max_attempts: int
    run_at: str
    last_error: str | None
    outcome: dict[str, Any] | None
    payload: dict[str, Any]
    created_at: str
    ended_at: str | None


@routes.get("/jobs")
@operation("List background jobs, newest first", auth=viewer, query=JobQuery)
def list_jobs(query: JobQuery) -> Answer:
    rows = services().jobs.page(
        state=query.state,
        kind=query.kind,
        subject=query.subject,
        cursor=query.cursor,
        limit=query.limit + 1,
    )
    return listing(rows, query.limit, lambda job: job.id, job_json)


@routes.get("/jobs/<job_id>")
@operation("Show a background job", auth=viewer, answer=JobOut)
def show_job(job_id: str) -> Answer:
    return job_json(services().jobs.get(job_id))


@routes.post("/jobs/<job_id>/replay")
@operation("Do an ended job again, with all of its attempts", auth=editor, body=Reason, answer=JobOut)
def replay_job(job_id: str, body: Reason) -> Answer:
    return job_json(services().jobs.replay(actor(), job_id, body.reason))
