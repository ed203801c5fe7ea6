"""gunicorn with Phasegate's settings: gthread, everything built after the fork, drained before it stops.

The table of settings and the measurements behind it are in `docs/operator.md`.
"""

from __future__ import annotations

import contextlib
import mmap
import resource
import signal
import socket
import sys
import time
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from rollout import app, log, wiring
from rollout.cli.polling_worker import PollingWorker, know_again
from rollout.settings import Settings

KEEPALIVE_SECONDS = 75
GRACEFUL_SECONDS = 70


class PortInUse(Exception):
    """The message names the address."""


def listener(address: str, *, tries: int = 1) -> socket.socket:
    """A listening socket on `host:port`, or on one of the `tries - 1` ports after it. Raises PortInUse."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(int(port), int(port) + tries):
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host.strip("[]"), candidate))
            bound.listen(2048)
        except OSError as error:
            bound.close()
            problem = error
            continue
        return bound
    raise PortInUse(
        f"cannot listen on {address}: {problem.strerror}. Stop what uses the port, or set ROLLOUT_LISTEN."
    )


def serve(settings: Settings, bound: socket.socket) -> None:
    """Run until a signal ends it."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _Application(settings, bound).run()


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, bound: socket.socket) -> None:
        self._settings, self._bound = settings, bound
        self._draining = mmap.mmap(-1, 1)  # shared with the workers, which are forked later
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self._settings).items():
            self.cfg.set(name, value)
        self.cfg.set("bind", [f"fd://{self._bound.fileno()}"])
        self.cfg.set("post_fork", self._built_after_fork)
        self.cfg.set("post_request", know_again)
        self.cfg.set("worker_exit", _stop)

    def load(self) -> Flask:
        return self._app

    def run(self) -> None:
        try:
            _DrainingArbiter(self, self._draining, self._settings.drain_seconds).run()
        except RuntimeError as error:
            sys.exit(f"error: {error}")

    def _built_after_fork(self, _arbiter: Any, worker: Any) -> None:
        # Until gunicorn installs the worker's own handlers those of the arbiter are inherited, which would swallow a SIGTERM: a
        # worker stopped while it starts would hold the stop up for the whole graceful time-out.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log.configure(self._settings.log_level, self._settings.log_format)
        services = wiring.build(self._settings, connect=True, draining=lambda: self._draining[0] == 1)
        self._app = app.create_app(services)
        worker.polls = self._app.extensions["polls"]
        worker.rollout_running = app.start(services, apart=self._settings.jobs == "apart")
        app.calm_collector()


def options(settings: Settings) -> dict[str, Any]:
    """gunicorn's settings, each where ours differs from its default."""
    return {
        "worker_class": PollingWorker,
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_connections": max(1000, 2 * settings.threads),
        "keepalive": KEEPALIVE_SECONDS,
        "graceful_timeout": GRACEFUL_SECONDS,
        "limit_request_line": 8190,
        "preload_app": False,
        "control_socket_disable": True,
        "proc_name": "rollout",
        "loglevel": "warning",
    }


class _DrainingArbiter(Arbiter):  # type: ignore[misc]
    """On SIGTERM first tells the proxy (by /readyz) to send nothing new, and stops after `seconds`; on Ctrl-C at once.

    Streams end by either."""

    def __init__(self, application: _Application, flag: mmap.mmap, seconds: int) -> None:
        self._flag, self._seconds = flag, seconds
        super().__init__(application)

    def handle_term(self) -> None:
        self._flag[0] = 1
        time.sleep(self._seconds)
        super().handle_term()

    def handle_int(self) -> None:
        self._flag[0] = 1
        super().handle_int()


def _stop(_arbiter: Any, worker: Any) -> None:
    running = getattr(worker, "rollout_running", None)
    if running is not None:
        running.stop()
