"""What is served, and by whom: mounts the surfaces over the services of `rollout.wiring`, starts and stops a worker's threads.

The only module of `rollout` that imports `admin`.
"""

from __future__ import annotations

import gc
import os
import secrets
import socket
from dataclasses import dataclass

import structlog
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import admin
from rollout import jobs
from rollout.api import docs, feedback_page, ofrep, ops
from rollout.api.compat import anthropic, chat, models, moderations, openai
from rollout.api.native import (
    access_requests,
    analyses,
    features,
    feedback,
    generations,
    images,
    me,
    product_tables,
    quotas,
    statements,
    usage,
    webhooks,
)
from rollout.api.sandbox.mount import create_sandbox_blueprint
from rollout.api.unleash import client, edge, frontend, streaming
from rollout.errors import LedgerUnavailable
from rollout.services.registry import Services
from rollout.services.sandbox.bench import Bench
from rollout.services.upstream_flags import UpstreamFlags
from rollout.services.workers import Worker
from rollout.settings import Settings
from rollout.sync.listen import waiter
from rollout.sync.refresher import Refresher
from rollout.sync.unleash import Feeder
from rollout.web import admission, pages, polls, problems, requests

log = structlog.get_logger()


def create_app(services: Services) -> Flask:
    """The WSGI application over wired services; the same for a worker and for a test."""
    app = Flask("rollout", static_folder=None)
    app.extensions["rollout"] = services
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_mb * 1_000_000
    requests.install(app)
    problems.install(app)
    pages.install(app)
    admission.install(app, services.admission)
    for routes in (
        openai,
        anthropic,
        chat,
        moderations,
        models,
        me,
        features,
        access_requests,
        quotas,
        usage,
        statements,
        webhooks,
        feedback,
        generations,
        images,
        analyses,
        product_tables,
        client,
        streaming,
        edge,
        frontend,
        ofrep,
        feedback_page,
        docs,
        ops,
    ):
        app.register_blueprint(routes.routes)
    app.register_blueprint(admin.create_blueprint())
    polls.install(app, services)
    if hops := services.settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def create_sandbox() -> Flask:
    """The sandbox provider over HTTP: no tenants, flags or quotas."""
    app = Flask("rollout_sandbox", static_folder=None)
    app.register_blueprint(create_sandbox_blueprint(Bench()))
    return app


@dataclass(frozen=True)
class Running:
    """The threads of one worker."""

    services: Services
    worker: Worker
    refresher: Refresher
    background: jobs.Background
    feeder: Feeder | None

    def stop(self) -> None:
        """Stop the threads, write down what waits, stop being counted, close the pools."""
        if self.feeder is not None:
            self.feeder.stop()
        self.background.stop()
        self.services.requests.flush()
        self.services.flag_metrics.flush()
        self.refresher.stop()
        self.worker.stop()
        self.services.close()


def calm_collector() -> None:
    """Let the garbage collector look less often, and never at what was there at the start.

    Rows of a large batch are many young objects and no garbage cycles: by its default of 700 it walked through the whole process
    several times a second, and every caller waited (p99 of a reserve with 128 waiting: 75 to 90 ms; so: 40). To look seldom is no
    better: with 50,000 one look in mid-page took 76 ms, with 10,000 at most 13.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def start(services: Services, *, apart: bool = False) -> Running:
    """Start a worker's threads; call it after the fork, never before: threads do not survive one.

    `apart`: the jobs that one worker does for all are done by `rollout worker`, not here.

    Failure behaviour: a worker that finds no database is `starting` until there is one. One that gave up would take the whole
    service with it when it is born again in an outage.
    """
    state, database = services.state, services.database
    worker = Worker(
        database,
        worker_id(),
        socket.gethostname(),
        os.getpid(),
        lambda: state.snapshot.revision,
        troubles=services.breakers.troubles,
    )
    try:
        state.refresh()
        worker.report()
    except LedgerUnavailable as error:
        log.error("started_without_database", error=str(error.__cause__ or error))
    refresher = Refresher(waiter(services.settings.database), state.refresh, worker.report)
    background = jobs.Background(services, apart=apart)
    feeder = _feeder(services.settings, services.upstream) if services.upstream else None
    services.changes.landed = refresher.nudge
    refresher.start()
    background.start()
    if feeder is not None:
        feeder.start()
    return Running(services, worker, refresher, background, feeder)


def _feeder(settings: Settings, upstream: UpstreamFlags) -> Feeder:
    return Feeder(
        settings.unleash_url,
        settings.unleash_token,
        upstream,
        streaming=settings.unleash_streaming == "on",
    )


def worker_id() -> str:
    """Unique for each process on each machine: `host:pid:random`."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
