"""The nouns of `doors` with feedback and usage, and the doors in front of these."""

from __future__ import annotations

from types import SimpleNamespace

from doors import ALICE, SECRET, Door, application, counting_ids, wire
from flask.testing import FlaskClient

from rollout.api import feedback_page
from rollout.api.native import feedback, statements, usage
from rollout.core.feedback import make_handle
from rollout.core.tenants import SCOPES, NewKey, Scope
from rollout.core.tokens import NewToken, Role
from rollout.db.engine import Clock, Database
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.images import Images
from rollout.services.statements import Statements
from rollout.services.usage import UsageReports


class NoBytes:
    """A blob store for those who only ask where a picture is."""

    def put(self, data: bytes) -> str:
        raise NotImplementedError

    def get(self, sha256: str) -> bytes | None:
        return None

    def delete(self, sha256: str, *, put_before: float) -> None:
        pass


def wire_ratings(database: Database, clock: Clock) -> SimpleNamespace:
    services = wire(database, clock)
    services.feedback = Feedback(database, Changes(database), SECRET, counting_ids(), clock)
    services.usage = UsageReports(database)
    services.statements = Statements(database)
    services.images = Images(database, NoBytes(), SECRET, clock, "https://gate.example")
    return services


def handle(
    clock: Clock, tenant_id: str = "acme", generation_id: str = "gen_1", end_user: str | None = None
) -> str:
    """One that lives for an hour."""
    return make_handle(SECRET, tenant_id, generation_id, end_user, int(clock()) + 3600)


def client(services: SimpleNamespace) -> FlaskClient:
    app = application(services)
    for routes in (feedback, feedback_page, usage, statements):
        app.register_blueprint(routes.routes)
    return app.test_client()


def key(services: SimpleNamespace, tenant_id: str = "acme", scopes: tuple[Scope, ...] = SCOPES) -> str:
    text: str = services.keys.add(ALICE, tenant_id, NewKey("test", scopes=scopes), "test").secret
    return text


def partner(services: SimpleNamespace, tenant_id: str = "acme", scopes: tuple[Scope, ...] = SCOPES) -> Door:
    return Door(client(services), "/api/v1", key(services, tenant_id, scopes))


def admin(services: SimpleNamespace, role: Role = "editor") -> Door:
    issued = services.tokens.add(ALICE, NewToken(f"{role}s", role), "test")
    return Door(client(services), "/admin/api/v1", issued.secret)
