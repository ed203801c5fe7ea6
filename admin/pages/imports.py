"""/admin/flags/import and /admin/flags/export: flags from Unleash's documents, looked at before anything changes, and as files."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, request

from rollout.core.flagd import flagd_document
from rollout.core.flags import PRODUCTION
from rollout.core.imports import Import, Mode
from rollout.errors import InvalidRequest, PayloadTooLarge
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .flag_forms import parse_document
from .forms import FORM_NAME, ReasonForm, attempt, read
from .queries import PageView
from .room import room

routes = Blueprint("imports", __name__)

MAX_BYTES = 400_000
"""What is looked at stands in the page's next form, and a form holds no more."""


class ImportView(PageView):
    environment: str = PRODUCTION


class ExportView(ImportView):
    format: Literal["unleash", "flagd"] = "unleash"


class ImportForm(ReasonForm):
    """`document`: its text; a file comes before it."""

    environment: str = PRODUCTION
    mode: Mode = "merge"
    document: str | None = None


@routes.get("/flags/import")
@operation("Import flags, or take them away as a file", auth=viewer, query=ImportView)
def show_import(query: ImportView) -> Answer:
    return _shown(query.environment)


@routes.post("/flags/import")
@operation("Show what a document would change, or import it; the form's name says which", auth=editor)
def import_flags() -> Answer:
    looked: list[Response] = []

    def look() -> None:
        looked.append(_looked_at(read(ImportForm)))

    def take() -> None:
        form = read(ImportForm)
        _run(form, parse_document(form.document or ""), dry_run=False)

    if request.form.get(FORM_NAME) == "take":
        environment = urlencode({"environment": request.form.get("environment", PRODUCTION)})
        return attempt(take, then=f"/admin/flags?{environment}", again=lambda: _looked_at(read(ImportForm)))
    return attempt(look, then=looked.pop, again=partial(_shown, PRODUCTION))


@routes.get("/flags/export")
@operation("All flags of an environment, as a file", auth=viewer, query=ExportView)
def export_flags(query: ExportView) -> Answer:
    document = services().imports.export(query.environment)
    if query.format == "flagd":
        document, _ = flagd_document(document)
    answer = Response(orjson.dumps(document, option=orjson.OPT_INDENT_2), content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="flags-{query.format}.json"'
    return answer


def _shown(environment: str) -> Answer:
    _, left_out = flagd_document(services().imports.export(environment))
    environments = sorted({environment, *services().flags.environments()})
    return room("flags_import.html", environment=environment, environments=environments, left_out=left_out)


def _looked_at(form: ImportForm) -> Response:
    document = parse_document(_text(form))
    found = _run(form, document, dry_run=True)
    return room("flags_imported.html", form=form, found=found, text=orjson.dumps(document).decode())


def _run(form: ImportForm, document: dict[str, Any], *, dry_run: bool) -> Import:
    return services().imports.run(
        actor(), document, form.reason, environment=form.environment, mode=form.mode, dry_run=dry_run
    )


def _text(form: ImportForm) -> str:
    """Raises InvalidRequest, PayloadTooLarge."""
    file = request.files.get("file")
    sent = file.read(MAX_BYTES + 1) if file else (form.document or "").encode()
    if len(sent) > MAX_BYTES:
        raise PayloadTooLarge(
            "The document is too large for this page.",
            remedy="Use the command: rollout flags import FILE. Or the admin API.",
        )
    try:
        return sent.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("The file is not UTF-8 text.", param="file") from None
