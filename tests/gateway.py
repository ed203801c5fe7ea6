"""The gateway wired on one database: real decisions and ledger, a vendor that does as it is told, the partner's door."""

from __future__ import annotations

import base64
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import doors
import orjson
import pytest
from clocks import Clock
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from rollout.api.compat import anthropic, chat, models, moderations, openai
from rollout.api.native import generations as native_generations
from rollout.api.native import images
from rollout.blobs.files import FileBlobs
from rollout.core.catalogue import Model, Usage
from rollout.core.decisions import GENERATION
from rollout.core.holds import Hold
from rollout.core.images import Finished, Partial, Picture
from rollout.core.jobs import Job, JobWaits
from rollout.core.tenants import SCOPES, Mode, NewKey, Scope
from rollout.core.wire import read_message, read_message_event, split_events
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.providers.base import (
    Found,
    ImageCall,
    Images,
    LookUp,
    MessageAnswer,
    MessageCall,
    MessageEvent,
    Messages,
    Progress,
    Providers,
    Tasks,
)
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.messages import SandboxMessages
from rollout.providers.sandbox.tasks import SandboxTasks
from rollout.providers.sandbox.works import Works
from rollout.services.admission import Admission
from rollout.services.analyze import Analyze
from rollout.services.asking import Asking
from rollout.services.breakers import Breakers
from rollout.services.catalogue import InForce
from rollout.services.changes import Changes
from rollout.services.chat import Chat
from rollout.services.evaluate import Evaluate
from rollout.services.events import Event
from rollout.services.features import Features
from rollout.services.generate import Generate
from rollout.services.generation_jobs import KIND, GenerationJobs
from rollout.services.generations import Generations
from rollout.services.guardrails import Guardrails
from rollout.services.ids import first_id
from rollout.services.images import Images as StoredImages
from rollout.services.jobs import JobQueue
from rollout.services.joins import Joins
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.models import Models
from rollout.services.moderations import Moderations
from rollout.services.refine import Refine
from rollout.services.results import Results
from rollout.services.routing import Routing
from rollout.services.vendors import Vendors
from rollout.services.workers import Workers
from rollout.web import admission, pages, problems, requests

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
B64 = base64.b64encode(PNG)
USAGE = Usage(input=12, output=1056, text_in=12)
COST = 31_740
"""What USAGE comes to at the prices of gpt-image-2.5-flare, in micro-dollars."""
IMAGE_MODEL = "gpt-image-2.5-flare"
MESSAGE_MODEL = "claude-sonnet-5-5"
LEASE, GRACE, RETENTION_DAYS, SYNC_WAIT, FAILURES = 120, 900, 30, 170, 3


def finished(count: int = 1, usage: Usage | None = USAGE) -> Finished:
    pictures = tuple(Picture(B64, "image/png") for _ in range(count))
    return Finished(pictures, usage, 1_795_348_800, "1024x1024", "medium", "opaque", "png", "vendor_1")


MESSAGE = (
    b'{"id":"msg_1", "type":"message","role":"assistant","content":[{"type":"text","text":"A cat."}],'
    b'"model":"claude-sonnet-5-5","stop_reason":"end_turn","usage":{"input_tokens":30,"output_tokens":5}}'
)
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"type":"message",'
    b'"usage":{"input_tokens":30,"output_tokens":1}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"A cat."}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":5}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database: once is enough."""


def away(*_: object) -> Any:
    """Stands in for `Database.read` and `write` while the database is away."""
    raise LedgerUnavailable(retry_after=2)


@dataclass
class Vendor:
    """Answers both ports. `answers` are used up first: an exception is raised, a callable is called, else it is the answer.

    In `partials` an exception is raised where it stands. `closed` counts streams that were left. `works`: what a look-up finds by id,
    an exception is raised. `seen`: what looks at tasks find, used up like `answers`.
    """

    answers: list[Any] = field(default_factory=list)
    partials: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=lambda: [EVENTS])
    calls: list[ImageCall | MessageCall] = field(default_factory=list)
    closed: int = 0
    works: dict[str, Any] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)

    def generate(self, call: ImageCall) -> Finished:
        answer = self._next(call)
        return finished(call.request.n) if answer is None else answer

    def create(self, call: MessageCall) -> MessageAnswer:
        body = self._next(call) or MESSAGE
        return MessageAnswer(body, *read_message(body), "vendor_1")

    def count_tokens(self, call: MessageCall) -> bytes:
        return self._next(call) or b'{"input_tokens":30}'

    def submit(self, call: ImageCall, reference: str) -> str:
        self.references.append(reference)
        return self._next(call) or f"task_{len(self.references)}"

    def look(self, call: ImageCall, task_id: str, reference: str) -> Progress | Finished:
        self.looks.append(task_id)
        seen = self.seen.pop(0) if self.seen else None
        if isinstance(seen, Exception):
            raise seen
        if callable(seen):
            seen = seen()
        return finished(call.request.n, usage=None) if seen is None else seen

    @contextmanager
    def stream(self, call: Any) -> Iterator[Iterator[Any]]:
        answer = self._next(call)
        try:
            yield self._pictures(call, answer) if isinstance(call, ImageCall) else self._messages()
        finally:
            self.closed += 1

    def _pictures(self, call: ImageCall, answer: Any) -> Iterator[Partial | Finished]:
        for index, partial in enumerate(self.partials):
            if isinstance(partial, Exception):
                raise partial
            yield Partial(Picture(B64, "image/png"), index)
        yield finished(call.request.n) if answer is None else answer

    def _messages(self) -> Iterator[MessageEvent]:
        usage = None
        for part in self.events:
            if isinstance(part, Exception):
                raise part
            for event in split_events([part]):
                usage, stop_reason = read_message_event(event.data, usage)
                yield MessageEvent(event.name, event.raw, usage, stop_reason)

    def look_up(self, upstream_id: str) -> Found | None:
        found = self.works.get(upstream_id)
        if isinstance(found, Exception):
            raise found
        return found

    def _next(self, call: ImageCall | MessageCall) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


class OneVendor:
    """The port `Providers`: one vendor for all models, the sandbox for tests."""

    def __init__(self, vendor: Vendor, clock: Clock) -> None:
        self._vendor = vendor
        works = Works(clock)
        self._sandbox = SandboxImages(works, lambda _: None, 0), SandboxMessages(works, lambda _: None, 0)
        self._tasks = SandboxTasks(self._sandbox[0], lambda _: None, 0)

    def images(self, model: Model, *, test: bool) -> tuple[str, Images]:
        return ("sandbox", self._sandbox[0]) if test else (model.vendor, self._vendor)

    def tasks(self, model: Model, *, test: bool) -> tuple[str, Tasks]:
        return ("sandbox", self._tasks) if test else (model.vendor, self._vendor)

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]:
        return ("sandbox", self._sandbox[1]) if test else (model.vendor, self._vendor)

    def answers(self, model: Model) -> bool:
        return True

    def look_ups(self, vendor: str) -> LookUp | None:
        return self._vendor


class Gateway:
    """acme is in the beta, globex is not; neither has meters until a test adds them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        folder: Path,
        providers: Providers | None = None,
        catalogue: InForce | None = None,
        **places: int,
    ) -> None:
        self.database, self.clock, self.vendor = database, clock, Vendor()
        self._providers, self._catalogue = providers or OneVendor(self.vendor, clock), catalogue
        self.services = doors.wire(database, clock)
        self.new_id = ids_in_order(clock)
        self.meanwhile: list[Callable[[], object]] = []
        self.works, self.told = True, list[Event]()
        self.ledger = Ledger(
            database,
            lease_seconds=LEASE,
            grace_seconds=GRACE,
            new_id=self.new_id,
            emit=lambda _tx, _now, events: self.told.extend(events),
            sleep=lambda _: None,
        )
        self.folder = folder / "blobs"
        self.blobs = FileBlobs(self.folder)
        self._wire({"generation": 4, "analysis": 4, "stream": 1, **places})
        self.app = self._app()
        self.services.grants.add(doors.ALICE, "acme", GENERATION, "test")
        for meter in self.services.meters.page(tenant="acme", after=None, limit=100):
            self.services.meters.archive(doors.ALICE, meter.id, "each test sets its own")
        self.services.state.refresh()

    def _wire(self, places: dict[str, int]) -> None:
        old, providers = self.services, self._providers
        self.places = Admission(places)
        catalogue = self._catalogue or old.state.catalogue
        changes = Changes(self.database)
        switches = doors.switches_of(self.database, changes, self.ledger, Workers(self.database))
        features = Features(self.database, old.state, switches, clock=self.clock)
        self.breakers = Breakers(self.clock, FAILURES)
        routing = Routing(catalogue, features, self.breakers)
        analyze = Analyze(features, self.ledger, routing, providers, self.new_id, secret=doors.SECRET)
        asking = Asking(analyze, self.places)
        evaluate, refine = Evaluate(self.database, asking), Refine(asking)
        results = Results(self.blobs, self.new_id, secret=doors.SECRET, retention_days=RETENTION_DAYS)
        queue = JobQueue(self.database, changes, self.new_id)
        generations = Generations(self.database, changes, self.ledger, self.while_working)
        generation_jobs = GenerationJobs(
            self.database,
            old.state,
            features,
            self.ledger,
            queue,
            catalogue,
            providers,
            self.breakers,
            self.blobs,
            results,
            refine,
            evaluate,
            self.new_id,
            random=lambda: 0.5,
            sleep=lambda _: None,
        )
        self.services = SimpleNamespace(
            **{
                **vars(old),
                "features": features,
                "switches": switches,
                "vendors": Vendors(self.database, switches, catalogue),
                "ledger": self.ledger,
                "meters": Meters(self.database, changes, self.new_id),
                "models": Models(features, catalogue, providers),
                "images": StoredImages(
                    self.database, self.blobs, doors.SECRET, self.clock, "https://gate.test"
                ),
                "breakers": self.breakers,
                "routing": routing,
                "analyze": analyze,
                "chat": Chat(features, self.ledger, routing, providers, self.new_id, secret=doors.SECRET),
                "moderations": Moderations(features, routing, providers),
                "evaluate": evaluate,
                "guardrails": Guardrails(self.database, retention_days=RETENTION_DAYS),
                "generate": Generate(
                    features,
                    self.ledger,
                    Joins(self.database, self.while_waiting),
                    routing,
                    providers,
                    results,
                    refine,
                    evaluate,
                    generation_jobs,
                    generations,
                    self.new_id,
                    secret=doors.SECRET,
                    sync_wait=SYNC_WAIT,
                ),
                "draining": lambda: False,
                "jobs": queue,
                "generation_jobs": generation_jobs,
                "generations": generations,
            }
        )

    def _app(self) -> Flask:
        app = Flask("gateway", static_folder=None)
        app.extensions["rollout"] = self.services
        app.config["MAX_CONTENT_LENGTH"] = 64_000_000
        requests.install(app)
        problems.install(app)
        pages.install(app)
        admission.install(app, self.places)
        for routes in (openai, anthropic, chat, moderations, models, images, native_generations):
            app.register_blueprint(routes.routes)
        return app

    def door(self, tenant_id: str = "acme", mode: Mode = "live", scopes: tuple[Scope, ...] = SCOPES) -> Door:
        issued = self.services.keys.add(doors.ALICE, tenant_id, NewKey("test", mode, scopes), "test")
        return Door(self.app.test_client(), issued.secret)

    def limit(self, unit: str, period: str, cap: int, feature: str | None = GENERATION) -> None:
        """A hard meter for acme."""
        fields = {"unit": unit, "period": period, "cap": cap, "feature": feature}
        self.services.meters.add(doors.ALICE, "acme", fields, "test")
        self.services.state.refresh()

    def wait(self, seconds: float) -> None:
        """Time passes; the worker goes on looking at the revision."""
        self.clock.advance(seconds)
        self.services.state.refresh()

    def while_waiting(self, _: float) -> None:
        """What happens while a retry waits for the first try: one of `meanwhile` at each look."""
        self.meanwhile.pop(0)()

    def work(self) -> list[Any]:
        """What is due of the jobs that make pictures, each done once; their outcomes, seconds for one that waits."""
        return [self._carried_out(job) for job in self.services.jobs.claim({KIND}, 16)]

    def _carried_out(self, job: Job) -> Any:
        queue = self.services.jobs
        try:
            outcome = self.services.generation_jobs.carry_out(job)
        except JobWaits as waits:
            queue.wait(job, waits.seconds)
            return waits.seconds
        except LedgerUnavailable as error:
            queue.fail(job, error)
            return error
        queue.finish(job, outcome)
        return outcome["status"]

    def while_working(self, seconds: float) -> None:
        """Time passes for who waits for a job, and somebody does what is due."""
        self.wait(seconds)
        self.ledger.renew_queued()
        if self.works:
            self.work()

    def holds(self) -> list[Hold]:
        """All holds, oldest first."""
        return self.ledger.holds(tenant=None, state=None, cursor=None, limit=100)[::-1]

    def lose_pictures(self) -> None:
        for file in self.folder.glob("*/*"):
            file.unlink()

    def the_hold(self) -> Hold:
        (hold,) = self.holds()
        return hold


class Door:
    """A client with a key, which sends what the SDKs send."""

    def __init__(self, client: FlaskClient, secret: str) -> None:
        self._client, self.secret = client, secret

    def called_over(self, connection: socket.socket) -> None:
        """The server finds the caller at the other end of `connection`."""
        self._client.environ_base = {**self._client.environ_base, "gunicorn.socket": connection}

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._client.get(path, headers=self._headers(headers))

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        """`body` as JSON, or (bytes) as it is."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"content_type": "application/json", **headers}
        return self._client.post(path, data=raw, headers=self._headers(headers))

    def generate(self, *, idem_key: str | None = None, **members: Any) -> TestResponse:
        headers = {} if idem_key is None else {"Idempotency_Key": idem_key}
        body = {"model": IMAGE_MODEL, "prompt": "a lighthouse", **members}
        return self.post("/v1/images/generations", body, **headers)

    def edit(self, form: dict[str, Any], **headers: str) -> TestResponse:
        return self._client.post(
            "/v1/images/edits", data=form, content_type="multipart/form-data", headers=self._headers(headers)
        )

    def analyze(
        self, *, idem_key: str | None = None, prompt: str = "What is this?", **members: Any
    ) -> TestResponse:
        headers = {} if idem_key is None else {"Idempotency_Key": idem_key}
        body = {
            "model": MESSAGE_MODEL,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": prompt}],
            **members,
        }
        return self.post("/v1/messages", body, **headers)

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"Authorization": f"Bearer {self.secret}", **names}


def ids_in_order(clock: Clock) -> Callable[[str], str]:
    """Ids that tell the time of the test's clock, in the order of their making."""
    count = itertools.count(1)
    return lambda prefix: f"{first_id(prefix, int(clock()))[:-8]}{next(count):08}"


def events(response: TestResponse) -> list[tuple[str, Any]]:
    """(name, data) of each event of a stream."""
    return [(event.name, orjson.loads(event.data)) for event in split_events([response.data])]
