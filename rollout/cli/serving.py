"""`rollout demo | serve | worker | sandbox serve`: commands that run until they are stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from rollout.cli.context import FAILED, refusals, require_schema, settings_or_exit

if TYPE_CHECKING:
    import socket

    from rollout.settings import Settings


@click.command()
def serve() -> None:
    """Serve, with settings from the environment. A port in use is an error; SQLite is migrated, PostgreSQL must be up to date."""
    from rollout import log
    from rollout.db import migrate

    settings = settings_or_exit()
    log.configure(settings.log_level, settings.log_format)
    with refusals():
        if settings.is_embedded:
            migrate.upgrade(settings.database)
        require_schema(settings)
        _prepare(settings)
    _serve(settings, _bound(settings.listen))


@click.command()
def demo() -> None:
    """Seed an embedded database with demo tenants and serve it; vendors without a key are answered by the sandbox."""
    from rollout import log
    from rollout.cli import demonstration, history
    from rollout.db import migrate

    settings = settings_or_exit(sandbox="auto", webhooks_private="on", log_level="warning")
    if not settings.is_embedded:
        sys.exit(
            "error: the demo uses an embedded database: unset ROLLOUT_DATABASE_URL, or run `rollout serve`."
        )
    log.configure("error", settings.log_format)
    bound = _bound(settings.listen, tries=20)
    settings = demonstration.at_port(settings, bound.getsockname()[1])
    with refusals():
        migrate.upgrade(settings.database)
        history.live_through(settings)
        seeded = demonstration.seed(settings)
    demonstration.write_file(settings, seeded)
    demonstration.show(settings, seeded)
    _serve(settings, bound)


@click.command()
def worker() -> None:
    """Do the background jobs apart from the web process; told to stop, it finishes what is in hand."""
    from rollout import app, log, wiring

    settings = settings_or_exit()
    log.configure(settings.log_level, settings.log_format)
    stopped = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: stopped.set())
    require_schema(settings)
    with refusals():
        running = app.start(wiring.build(settings, connect=True))
    app.calm_collector()
    click.echo("background jobs are running; Ctrl-C stops them", err=True)
    stopped.wait()
    running.stop()


@click.group()
def sandbox() -> None:
    """The sandbox provider."""


@sandbox.command("serve")
@click.option("--listen", default="127.0.0.1:8090", show_default=True, metavar="HOST:PORT")
def sandbox_serve(listen: str) -> None:
    """Speak every vendor's wire format over HTTP; GET /sandbox/journal shows what arrived."""
    from werkzeug.serving import make_server

    from rollout.api.sandbox.mount import PATHS
    from rollout.app import create_sandbox
    from rollout.services.providers import VENDORS
    from rollout.settings import variable

    bound = _bound(listen)
    host, port = bound.getsockname()[:2]
    server = make_server(host, port, create_sandbox(), threaded=True, fd=bound.fileno())
    url = f"http://{host}:{port}"
    click.echo(f"sandbox on {url} - point Phasegate at it with these, then start it:", err=True)
    addresses = {"sandbox_url": url, **{f"{name}_base_url": url + PATHS.get(name, "") for name in VENDORS}}
    for name, address in addresses.items():
        click.echo(f"  export {variable(name)}={address}", err=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("", err=True)


def _bound(address: str, tries: int = 1) -> socket.socket:
    from rollout.cli.arbiter import PortInUse, listener

    try:
        return listener(address, tries=tries)
    except PortInUse as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)


def _prepare(settings: Settings) -> None:
    """A fresh database gets the gated feature's plan, so that `serve` needs no seeding."""
    from rollout.core.audit import Actor
    from rollout.wiring import build

    with (
        contextlib.closing(build(settings)) as services,
        services.changes.begin(Actor("system:serve"), "first start") as change,
    ):
        services.plans.ensure_plan(change)


def _serve(settings: Settings, bound: socket.socket) -> None:
    from rollout.cli import arbiter

    arbiter.serve(settings, bound)
