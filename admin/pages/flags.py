"""/admin/flags: those beyond the plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from flask import Blueprint, request
from pydantic import Field

from rollout.core.authoring import STRATEGIES
from rollout.core.exports import Row
from rollout.core.flags import PRODUCTION, Flag
from rollout.errors import NotFound
from rollout.services.registry import Services
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .flag_forms import DocumentForm, FlagForm, flag_document, flag_fields, parse_document, pretty
from .forms import FORM_NAME, FormView, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("flags", __name__)

Which = Literal["live", "stale", "archived"]

COLUMNS = (
    "environment", "name", "project", "enabled", "type", "strategies", "asked_at", "stale", "version", "created_at", "updated_at",
    "archived_at",
)  # fmt: skip
TYPES = ("release", "experiment", "operational", "kill-switch", "permission")
PAYLOAD_TYPES = ("", "string", "json", "csv", "number")
COUNTED_HOURS, SHOWN_COUNTS = 48, 20


class FlagsView(ListView):
    """`which`: those that are served, those of them that nobody asked for in 30 days, or those that are served no more."""

    cursor: str | None = Field(None, max_length=500)
    environment: str = PRODUCTION
    q: str | None = None
    which: Which = "live"


class NewFlagForm(ReasonForm):
    name: str
    environment: str = PRODUCTION
    type: str = "release"
    description: str | None = None


@routes.get("/flags")
@operation("Flags, in order of name", auth=viewer, query=FlagsView)
def show_flags(query: FlagsView) -> Answer:
    return _list(query)


@routes.post("/flags")
@operation("Add a flag, which is off until its page switches it on", auth=editor)
def add_flag() -> Answer:
    made: list[Flag] = []

    def act() -> None:
        form = read(NewFlagForm)
        document = {
            "name": form.name,
            "type": form.type,
            "description": form.description,
            "strategies": [{"name": "default"}],
        }
        kept = services().flags.add(actor(), document, form.reason, environment=form.environment)
        made.append(kept.flag)

    return attempt(act, then=lambda: address(made.pop()), again=lambda: _list(FlagsView.model_validate({})))


@routes.get("/flags/<environment>/<path:name>")
@operation("A flag: who gets it, and who asks", auth=viewer, query=PageView)
def show_flag(environment: str, name: str, query: PageView) -> Answer:
    return _shown(environment, name)


@routes.post("/flags/<environment>/<path:name>")
@operation("Change, archive or revive a flag; the form's name says which", auth=editor)
def change_flag(environment: str, name: str) -> Answer:
    """A name may hold anything, so nothing can stand behind it in an address."""
    acts = {"change": _change, "document": _replace, "archive": _archive, "revive": _revive}
    act = acts.get(request.form.get(FORM_NAME, ""))
    if act is None:
        raise NotFound()
    flag = services().flags.get(name, environment=environment)
    return attempt(partial(act, flag), then=address(flag), again=lambda: _shown(environment, name))


def address(flag: Flag) -> str:
    return f"/admin/flags/{quote(flag.environment, safe='')}/{quote(flag.name, safe='')}"


def _change(flag: Flag) -> None:
    form = read(FlagForm)
    _put(flag, flag_document(form, flag.document), form)


def _replace(flag: Flag) -> None:
    form = read(DocumentForm)
    _put(flag, parse_document(form.document), form)


def _put(flag: Flag, document: dict[str, Any], form: FlagForm | DocumentForm) -> None:
    services().flags.put(
        actor(),
        flag.name,
        document,
        form.reason,
        environment=flag.environment,
        accept_warnings=form.accept_warnings,
        based_on=form.version,
    )


def _archive(flag: Flag) -> None:
    form = read(ReasonForm)
    services().flags.archive(
        actor(), flag.name, form.reason, environment=flag.environment, based_on=form.version
    )


def _revive(flag: Flag) -> None:
    form = read(ReasonForm)
    services().flags.revive(
        actor(), flag.name, form.reason, environment=flag.environment, based_on=form.version
    )


def _list(query: FlagsView) -> Answer:
    return show_list(
        "flags.html",
        query,
        partial(_page, services(), query),
        lambda flag: flag.name,
        file=f"flags-{query.environment}",
        columns=COLUMNS,
        as_row=partial(_row, services()),
        address=address,
        environments=_pairs(sorted({query.environment, *services().flags.environments()})),
        stale=lambda flag: services().flags.shown(flag)["stale"],
        types=_pairs(TYPES),
    )


def _page(wired: Services, query: FlagsView, cursor: str | None, at_once: int) -> Sequence[Flag]:
    return wired.flags.page(
        environment=query.environment,
        archived=query.which == "archived",
        stale=query.which == "stale",
        search=query.q,
        cursor=cursor,
        limit=at_once,
    )


def _row(wired: Services, flag: Flag) -> Row:
    document = flag.document
    return {
        **wired.flags.shown(flag),
        "enabled": document.get("enabled"),
        "type": document.get("type"),
        "strategies": [one.get("name") for one in document.get("strategies") or ()],
    }


def _shown(environment: str, name: str) -> Answer:
    flag = services().flags.get(name, environment=environment)
    document, fields = flag.document, flag_fields(flag.document)
    counted = services().flag_metrics.page(environment, name, hours=COUNTED_HOURS, limit=SHOWN_COUNTS)
    return room(
        "flag.html",
        flag=flag,
        here=address(flag),
        document=document,
        stale=services().flags.shown(flag)["stale"],
        fields=fields,
        rows={table: _rows(fields, table) for table in ("strategies", "variants")},
        change=FormView("change", flag.version, fields),
        whole=FormView("document", flag.version, {"document": pretty(document)}),
        counted=counted,
        segments=services().segments.page(cursor=None, limit=SHOWN_COUNTS),
        kinds=_pairs(["", *STRATEGIES, *_names(document.get("strategies"))]),
        types=_pairs([*TYPES, str(document.get("type"))]),
        payload_types=_pairs(PAYLOAD_TYPES),
    )


def _rows(fields: dict[str, str], table: str) -> range:
    return range(sum(name.startswith(f"{table}.") and name.endswith(".was") for name in fields))


def _pairs(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Codes to choose from, each once."""
    return [(code, code) for code in dict.fromkeys(codes)]


def _names(strategies: Any) -> list[str]:
    return [str(one.get("name")) for one in strategies or () if isinstance(one, dict)]
