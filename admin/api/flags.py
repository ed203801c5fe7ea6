"""/admin/api/v1/flags: those beyond the plans, by environment and name. A name that was imported may hold anything, `/` too."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint
from pydantic import Field

from rollout.core.documents import MAX_BYTES
from rollout.core.flagd import flagd_document
from rollout.core.flags import PRODUCTION, Flag
from rollout.core.imports import Mode
from rollout.services.flags import Kept
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("flags", __name__)


class EnvironmentQuery(Shape):
    environment: str = PRODUCTION


class FlagsQuery(PageQuery):
    """`q`: a part of the name; `stale`: only those that nobody asked for in 30 days."""

    cursor: str | None = Field(None, max_length=500)
    environment: str = PRODUCTION
    q: str | None = Field(None, max_length=200)
    archived: bool = False
    stale: bool = False


class FlagIn(Shape):
    """`document`: a flag in Unleash's format, whole; `accept_warnings`: it is meant as it stands."""

    document: dict[str, Any]
    accept_warnings: bool = False
    reason: str | None = None


class Warned(Shape):
    param: str
    message: str


class FlagOut(Shape):
    """`asked_at`: the hour in which an SDK last asked; `stale`: not for 30 days."""

    environment: str
    name: str
    project: str
    document: dict[str, Any]
    version: int
    created_at: str
    updated_at: str
    archived_at: str | None
    asked_at: str | None
    stale: bool


class FlagKept(FlagOut):
    """`warnings`: what was accepted."""

    warnings: list[Warned]


class ImportQuery(EnvironmentQuery):
    """`mode`: `replace` archives the environment's other flags; `dry_run`: only say what would change."""

    mode: Mode = "merge"
    dry_run: bool = False


class ImportIn(Shape):
    """`document`: what Unleash's client features, delta or export answered, whole; a dry run needs no reason."""

    document: dict[str, Any]
    reason: str | None = None


class Changed(Shape):
    """`kind`: flag or segment, whose name is its number; `change`: added, changed, revived, archived or removed."""

    kind: str
    name: str
    change: str


class ImportWarned(Warned):
    """`flag`: the one in which `param` stands; null: the document."""

    flag: str | None


class ImportOut(Shape):
    """`unchanged`: how many flags are as the document has them already."""

    environment: str
    mode: Mode
    dry_run: bool
    changes: list[Changed]
    unchanged: int
    warnings: list[ImportWarned]


class ExportQuery(EnvironmentQuery):
    format: Literal["unleash", "flagd"] = "unleash"


class LeftOut(Shape):
    name: str
    reason: str


class ExportOut(Shape):
    """`left_out`: flags that the format cannot say exactly."""

    environment: str
    format: str
    document: dict[str, Any]
    left_out: list[LeftOut]


@routes.get("/flags")
@operation("List flags in order of name", auth=viewer, query=FlagsQuery)
def list_flags(query: FlagsQuery) -> Answer:
    rows = services().flags.page(
        environment=query.environment,
        archived=query.archived,
        stale=query.stale,
        search=query.q,
        cursor=query.cursor,
        limit=query.limit + 1,
    )
    return listing(rows, query.limit, lambda flag: flag.name, services().flags.shown)


@routes.post("/flags")
@operation(
    "Add a flag; what may not be meant is refused with `warnings` until they are accepted",
    auth=editor,
    query=EnvironmentQuery,
    body=FlagIn,
    answer=FlagKept,
    status=201,
)
def add_flag(query: EnvironmentQuery, body: FlagIn) -> Answer:
    kept = services().flags.add(
        actor(),
        body.document,
        body.reason,
        environment=query.environment,
        accept_warnings=body.accept_warnings,
    )
    return _kept(kept, 201)


@routes.post("/flags/import")
@operation(
    "Take the flags of a document of Unleash's: all or none",
    auth=editor,
    query=ImportQuery,
    body=ImportIn,
    answer=ImportOut,
    largest=MAX_BYTES,
)
def import_flags(query: ImportQuery, body: ImportIn) -> Answer:
    done = services().imports.run(
        actor(),
        body.document,
        body.reason,
        environment=query.environment,
        mode=query.mode,
        dry_run=query.dry_run,
    )
    return {**query.model_dump(), **done.as_json()}


@routes.get("/flags/export")
@operation("All flags of an environment as one document", auth=viewer, query=ExportQuery, answer=ExportOut)
def export_flags(query: ExportQuery) -> Answer:
    document = services().imports.export(query.environment)
    left_out: list[dict[str, str]] = []
    if query.format == "flagd":
        document, left_out = flagd_document(document)
    return {**query.model_dump(), "document": document, "left_out": left_out}


@routes.get("/flags/<path:name>")
@operation("Show a flag", auth=viewer, query=EnvironmentQuery, answer=FlagOut)
def show_flag(name: str, query: EnvironmentQuery) -> Answer:
    return _shown(services().flags.get(name, environment=query.environment))


@routes.put("/flags/<path:name>")
@operation(
    "Put a flag in the place of what it is",
    auth=editor,
    query=EnvironmentQuery,
    body=FlagIn,
    answer=FlagKept,
)
def put_flag(name: str, query: EnvironmentQuery, body: FlagIn) -> Answer:
    kept = services().flags.put(
        actor(),
        name,
        body.document,
        body.reason,
        environment=query.environment,
        accept_warnings=body.accept_warnings,
        based_on=based_on(required=True),
    )
    return _kept(kept)


@routes.post("/flags/<path:name>/archive")
@operation(
    "Archive a flag: it is served no more", auth=editor, query=EnvironmentQuery, body=Reason, answer=FlagOut
)
def archive_flag(name: str, query: EnvironmentQuery, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(
        services().flags.archive(actor(), name, body.reason, environment=query.environment, based_on=seen)
    )


@routes.post("/flags/<path:name>/revive")
@operation("Serve an archived flag again", auth=editor, query=EnvironmentQuery, body=Reason, answer=FlagOut)
def revive_flag(name: str, query: EnvironmentQuery, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(
        services().flags.revive(actor(), name, body.reason, environment=query.environment, based_on=seen)
    )


def _shown(flag: Flag) -> Answer:
    return versioned(services().flags.shown(flag), flag.version)


def _kept(kept: Kept, status: int = 200) -> Answer:
    warnings = [vars(doubt) for doubt in kept.doubts]
    return versioned({**services().flags.shown(kept.flag), "warnings": warnings}, kept.flag.version, status)
