"""The composition root of the services: those of one process, be it a worker, a command or a test; no Flask, no threads."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.request import getproxies_environment

from rollout.blobs.files import FileBlobs
from rollout.db.engine import Clock, Database
from rollout.delivery.unleash import UnleashAdmin
from rollout.delivery.webhooks import Post
from rollout.services import providers
from rollout.services.access import Access
from rollout.services.adjustments import Adjustments
from rollout.services.admission import Admission
from rollout.services.alerts import Alerts
from rollout.services.analysis_results import AnalysisResults
from rollout.services.analyze import Analyze
from rollout.services.asking import Asking
from rollout.services.audit import AuditLog
from rollout.services.breakers import Breakers
from rollout.services.catalogue_checks import CatalogueChecks
from rollout.services.catalogue_rows import CatalogueRows
from rollout.services.change_requests import ChangeRequests
from rollout.services.changes import Changes
from rollout.services.chat import Chat
from rollout.services.client_features import ClientFeatures
from rollout.services.controller import Controller
from rollout.services.evaluate import Evaluate
from rollout.services.events import Events
from rollout.services.explain import Explain
from rollout.services.features import Features
from rollout.services.feedback import Feedback
from rollout.services.flag_answers import FlagAnswers
from rollout.services.flag_metrics import FlagMetrics
from rollout.services.flag_push import FlagPushes, follow
from rollout.services.flag_tokens import FlagTokens
from rollout.services.flags import Flags
from rollout.services.generate import Generate
from rollout.services.generation_jobs import GenerationJobs
from rollout.services.generations import Generations
from rollout.services.grants import Grants
from rollout.services.guardrails import Guardrails
from rollout.services.ids import NewId, new_id
from rollout.services.images import Images
from rollout.services.imports import Imports
from rollout.services.jobs import LEASE_SECONDS, JobQueue
from rollout.services.joins import Joins
from rollout.services.keys import Keys
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.models import Models
from rollout.services.moderations import Moderations
from rollout.services.moves import Moves
from rollout.services.overview import Overview
from rollout.services.passwords import Passwords
from rollout.services.plans import Plans
from rollout.services.product_tables import ProductTables
from rollout.services.refine import Refine
from rollout.services.registry import Services
from rollout.services.requests import Requests
from rollout.services.resolutions import Resolutions, leave_job, reviewed
from rollout.services.results import Results
from rollout.services.routing import Routing
from rollout.services.schedules import Schedules
from rollout.services.segments import Segments
from rollout.services.sessions import Sessions
from rollout.services.simulations import Simulations
from rollout.services.state import State
from rollout.services.statements import Statements
from rollout.services.switches import Switches
from rollout.services.task_pictures import TaskPictures
from rollout.services.tasks import Tasks
from rollout.services.tenants import Tenants
from rollout.services.tokens import Tokens
from rollout.services.topups import TopUps
from rollout.services.upstream_flags import Upstream, UpstreamFlags
from rollout.services.usage import UsageReports
from rollout.services.users import Users
from rollout.services.vendors import Vendors
from rollout.services.verifications import Verifications
from rollout.services.webhooks import Webhooks
from rollout.services.workers import Workers
from rollout.settings import Settings


def build(
    settings: Settings,
    *,
    clock: Clock = time.time,
    new_id: NewId = new_id,
    connect: bool = False,
    draining: Callable[[], bool] = lambda: False,
) -> Services:
    """The services of one process, without threads. `connect` builds the vendors' clients: a worker needs them, a command does not."""
    check_admin_is_ours()
    secret = (settings.secret_key or embedded_secret(Path(settings.home))).encode()
    database = Database(settings.database, clock)
    events = Events(new_id)
    changes = (
        Changes(database, events, follow(new_id)) if settings.has_upstream else Changes(database, events)
    )
    lease = min(
        LEASE_SECONDS, max(1, settings.hold_lease_seconds // 2)
    )  # a job is taken over before its hold is lost
    queue = JobQueue(database, changes, new_id, lease)
    upstream = _upstream(settings, database, changes) if settings.has_upstream else None
    state, workers = State(database, secret, upstream, clock=clock), Workers(database)
    catalogue = state.catalogue
    ledger = Ledger(
        database,
        lease_seconds=settings.hold_lease_seconds,
        grace_seconds=settings.unknown_grace_seconds,
        new_id=new_id,
        emit=events.emit_all,
        doubt=leave_job(queue),
        reviewed=lambda: reviewed(catalogue()),
    )
    switches = Switches(database, changes, events, ledger, workers, catalogue)
    features = Features(database, state, switches, clock=clock)
    plans = Plans(database, changes, catalogue, new_id)
    change_requests = ChangeRequests(database, changes, plans, new_id)
    passwords, meters = Passwords(), Meters(database, changes, new_id)
    statements = Statements(database)
    breakers = Breakers(clock, settings.breaker_failures)
    vendors = (
        providers.connect(settings, getproxies_environment(), breakers)
        if connect
        else providers.Disconnected()
    )
    blobs = FileBlobs(settings.blob_folder)
    results = Results(blobs, new_id, secret=secret, retention_days=settings.retention_days)
    routing = Routing(catalogue, features, breakers)
    analyze = Analyze(features, ledger, routing, vendors, new_id, secret=secret)
    product_tables = ProductTables(database, changes, new_id)
    analysis_results = AnalysisResults(database, retention_days=settings.retention_days)
    places = Admission(settings.places)
    asking = Asking(analyze, places)
    evaluate = Evaluate(database, asking)
    refine, generations = Refine(asking), Generations(database, changes, ledger)
    generation_jobs = GenerationJobs(
        database,
        state,
        features,
        ledger,
        queue,
        catalogue,
        vendors,
        breakers,
        blobs,
        results,
        refine,
        evaluate,
        new_id,
    )
    return Services(
        settings=settings,
        admission=places,
        database=database,
        changes=changes,
        jobs=queue,
        events=events,
        webhooks=Webhooks(database, changes, secret, new_id, Post(private=settings.webhooks_private == "on")),
        state=state,
        workers=workers,
        ledger=ledger,
        catalogue=catalogue,
        catalogue_rows=CatalogueRows(database, changes),
        catalogue_checks=CatalogueChecks(database, changes, catalogue, vendors, events, new_id),
        moves=Moves(changes, plans, change_requests),
        providers=vendors,
        breakers=breakers,
        tenants=Tenants(database, changes),
        keys=Keys(database, changes, secret, new_id),
        tokens=Tokens(database, changes, secret, new_id, clock),
        flag_tokens=FlagTokens(database, changes, state, secret, new_id, clock),
        flag_answers=FlagAnswers(state, features, secret, clock),
        flag_metrics=FlagMetrics(database, state, clock),
        client_features=ClientFeatures(state),
        users=Users(database, changes, secret, new_id, passwords),
        sessions=Sessions(database, secret, clock, passwords),
        grants=Grants(database, changes, new_id),
        access=Access(database, changes, new_id),
        meters=meters,
        alerts=Alerts(database),
        topups=TopUps(database, changes, ledger, new_id),
        adjustments=Adjustments(database, changes, ledger, new_id),
        models=Models(features, catalogue, vendors),
        features=features,
        switches=switches,
        vendors=Vendors(database, switches, catalogue),
        plans=plans,
        change_requests=change_requests,
        schedules=Schedules(database, changes, plans, new_id),
        controller=Controller(database, changes, change_requests),
        flags=Flags(database, changes, clock),
        imports=Imports(database, changes),
        segments=Segments(database, changes),
        upstream=upstream,
        flag_pushes=FlagPushes(database, changes, new_id, upstream, _unleash_admin(settings)),
        explain=Explain(database, state, features),
        simulations=Simulations(database, meters),
        generate=Generate(
            features,
            ledger,
            Joins(database),
            routing,
            vendors,
            results,
            refine,
            evaluate,
            generation_jobs,
            generations,
            new_id,
            secret=secret,
            sync_wait=settings.sync_wait_seconds,
        ),
        generation_jobs=generation_jobs,
        generations=generations,
        analyze=analyze,
        tasks=Tasks(
            features,
            ledger,
            routing,
            vendors,
            new_id,
            secret=secret,
            pictures=TaskPictures(database, blobs),
            tables=product_tables,
            results=analysis_results,
        ),
        product_tables=product_tables,
        analysis_results=analysis_results,
        chat=Chat(features, ledger, routing, vendors, new_id, secret=secret),
        moderations=Moderations(features, routing, vendors),
        evaluate=evaluate,
        guardrails=Guardrails(database, retention_days=settings.retention_days),
        images=Images(database, blobs, secret, clock, settings.url),
        feedback=Feedback(database, changes, secret, new_id, clock),
        usage=UsageReports(database),
        resolutions=Resolutions(database, ledger, catalogue, vendors),
        statements=statements,
        verifications=Verifications(database, ledger, statements, events, new_id),
        requests=Requests(database, clock, catalogue, retention_days=settings.retention_days),
        overview=Overview(database, plans, ledger, workers),
        audit=AuditLog(database),
        draining=draining,
    )


def _upstream(settings: Settings, database: Database, changes: Changes) -> UpstreamFlags:
    server = Upstream(settings.unleash_url, settings.unleash_token, settings.unleash_environment)
    return UpstreamFlags(database, changes, server, max_age=settings.flags_max_age)


def _unleash_admin(settings: Settings) -> UnleashAdmin:
    return UnleashAdmin(
        settings.unleash_url,
        settings.unleash_admin_token,
        settings.unleash_project,
        settings.unleash_environment,
    )


def embedded_secret(home: Path) -> str:
    """The secret key in `home`, made at first use; processes that start at once agree on one."""
    file = home / "secret.key"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = home / f"secret.key.{os.getpid()}"
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii"
        ) as out:
            out.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # linked whole or not at all: nobody ever reads half a key
            os.link(draft, file)
        draft.unlink()
    return file.read_text(encoding="ascii").strip()


def check_admin_is_ours() -> None:
    """Another distribution can overwrite the package `admin`; say so instead of failing somewhere inside it."""
    ours = Path(__file__).resolve().parents[1] / "admin"
    found = Path(str(getattr(find_spec("admin"), "origin", None))).resolve().parent
    if found != ours:
        sys.exit(
            f"error: the package `admin` at {found} is not Phasegate's ({ours}). Install phasegate in an environment of its own."
        )
