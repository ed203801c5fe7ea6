"""Everything that is wired for one process, in one object; handlers and commands get it, nobody looks anything up elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollout.db.engine import Database
from rollout.providers.base import Providers
from rollout.services.access import Access
from rollout.services.adjustments import Adjustments
from rollout.services.admission import Admission
from rollout.services.alerts import Alerts
from rollout.services.analysis_results import AnalysisResults
from rollout.services.analyze import Analyze
from rollout.services.audit import AuditLog
from rollout.services.breakers import Breakers
from rollout.services.catalogue import InForce
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
from rollout.services.flag_push import FlagPushes
from rollout.services.flag_tokens import FlagTokens
from rollout.services.flags import Flags
from rollout.services.generate import Generate
from rollout.services.generation_jobs import GenerationJobs
from rollout.services.generations import Generations
from rollout.services.grants import Grants
from rollout.services.guardrails import Guardrails
from rollout.services.images import Images
from rollout.services.imports import Imports
from rollout.services.jobs import JobQueue
from rollout.services.keys import Keys
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.models import Models
from rollout.services.moderations import Moderations
from rollout.services.moves import Moves
from rollout.services.overview import Overview
from rollout.services.plans import Plans
from rollout.services.product_tables import ProductTables
from rollout.services.requests import Requests
from rollout.services.resolutions import Resolutions
from rollout.services.schedules import Schedules
from rollout.services.segments import Segments
from rollout.services.sessions import Sessions
from rollout.services.simulations import Simulations
from rollout.services.state import State
from rollout.services.statements import Statements
from rollout.services.switches import Switches
from rollout.services.tasks import Tasks
from rollout.services.tenants import Tenants
from rollout.services.tokens import Tokens
from rollout.services.topups import TopUps
from rollout.services.upstream_flags import UpstreamFlags
from rollout.services.usage import UsageReports
from rollout.services.users import Users
from rollout.services.vendors import Vendors
from rollout.services.verifications import Verifications
from rollout.services.webhooks import Webhooks
from rollout.services.workers import Workers
from rollout.settings import Settings


@dataclass(frozen=True)
class Services:
    settings: Settings
    admission: Admission
    database: Database
    changes: Changes
    jobs: JobQueue
    events: Events
    webhooks: Webhooks
    state: State
    ledger: Ledger
    catalogue: InForce
    catalogue_rows: CatalogueRows
    catalogue_checks: CatalogueChecks
    moves: Moves
    providers: Providers
    breakers: Breakers
    tenants: Tenants
    keys: Keys
    tokens: Tokens
    flag_tokens: FlagTokens
    flag_answers: FlagAnswers
    flag_metrics: FlagMetrics
    client_features: ClientFeatures
    users: Users
    sessions: Sessions
    grants: Grants
    access: Access
    meters: Meters
    alerts: Alerts
    topups: TopUps
    adjustments: Adjustments
    models: Models
    features: Features
    switches: Switches
    vendors: Vendors
    plans: Plans
    change_requests: ChangeRequests
    schedules: Schedules
    controller: Controller
    flags: Flags
    imports: Imports
    segments: Segments
    upstream: UpstreamFlags | None
    flag_pushes: FlagPushes
    explain: Explain
    simulations: Simulations
    workers: Workers
    generate: Generate
    generation_jobs: GenerationJobs
    generations: Generations
    analyze: Analyze
    tasks: Tasks
    analysis_results: AnalysisResults
    product_tables: ProductTables
    chat: Chat
    moderations: Moderations
    evaluate: Evaluate
    guardrails: Guardrails
    images: Images
    feedback: Feedback
    usage: UsageReports
    resolutions: Resolutions
    statements: Statements
    verifications: Verifications
    requests: Requests
    overview: Overview
    audit: AuditLog
    draining: Callable[[], bool]

    def close(self) -> None:
        self.database.close()
