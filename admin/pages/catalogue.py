"""/admin/catalogue: models, whose they are, the names that lead to them, and what their vendors' lists say otherwise"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from flask import Blueprint, url_for
from pydantic import Field

from rollout.core.audit import differences
from rollout.core.catalogue import Lifecycle, Model
from rollout.core.catalogue_checks import STATES, State
from rollout.core.catalogue_rows import Kind, read_model
from rollout.core.decisions import ANALYSIS, FEATURES, GENERATION, move_of
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest
from rollout.services.audit import Search
from rollout.services.catalogue_rows import NO_ROW
from rollout.web.language import _, money
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import typed, words
from .auth import actor, admin, editor, viewer
from .forms import FormView, LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("catalogue", __name__)

SHOWN_CHANGES = 20
COLUMNS = ("id", "vendor", "model", "kind", "found", "state", "created_at", "ended_at", "ended_by")
ABILITIES: Mapping[str, tuple[str, ...]] = {
    GENERATION: (
        *("sizes", "size_rule", "aspect_ratios", "qualities", "formats", "transparency", "max_images"),
        *(
            "max_input_images",
            "mask",
            "input_fidelities",
            "streams",
            "partial_images",
            "compression",
            "moderation",
        ),
        *("is_async", "usage", "on_unknown", "faults"),
    ),
    ANALYSIS: (
        *("image_input", "thinking", "efforts", "structured_outputs", "max_input_tokens", "max_tokens"),
        *("usage", "on_unknown", "faults"),
    ),
}
"""What is shown of a row by feature, by the names that it has there."""

AMOUNTS = ("per_million", "tiers", "per_image", "per_input_image")


class ModelsView(PageView):
    """`q`: a part of a model's name, or of one that leads to it."""

    vendor: str | None = Field(None, max_length=64)
    lifecycle: Lifecycle | None = None
    feature: str | None = Field(None, max_length=64)
    q: str | None = Field(None, max_length=100)


class ModelForm(ReasonForm):
    """What changes often; the rest of a row is put by the API or the command line. `fallbacks`: names, by spaces."""

    lifecycle: Lifecycle
    enabled: Literal["yes", "no"]
    successor: str | None = None
    deprecated_at: LocalMoment | None = None
    retires_at: LocalMoment | None = None
    fallbacks: str = ""


class PriceForm(ReasonForm):
    """`amounts`: the JSON of a price's numbers, in micro-dollars."""

    id: str
    as_of: str
    source: str
    amounts: str


class AliasForm(ReasonForm):
    to: str
    warning: str | None = None


class NewAliasForm(AliasForm):
    name: str


class MoveForm(ReasonForm):
    to: str


class ProposalsView(ListView):
    state: State | None = "open"


# -- models ------------------------------------------------------------------------------------------------------------


@routes.get("/catalogue")
@operation("Models of the catalogue, by vendor", auth=viewer, query=ModelsView)
def show_models(query: ModelsView) -> Answer:
    rows, leading = services().catalogue_rows.list("model"), _leading()
    all_ = [(row, model, leading.get(model.name, [])) for row in rows for model in [_model(row)]]
    shown = [(row, model, names) for row, model, names in all_ if _is_wanted(query, model, names)]
    vendors = sorted({row["document"]["vendor"] for row in rows})
    return room(
        "catalogue.html",
        query=query,
        rows=sorted(shown, key=lambda one: (one[1].vendor, one[1].lifecycle == "retired", one[1].name)),
        vendors=[(vendor, vendor) for vendor in vendors],
        features=[(feature, words.feature(feature)) for feature in FEATURES],
        lifecycles=_lifecycles(),
        price_of=price_of,
    )


@routes.get("/catalogue/models/<name>")
@operation("A model: what it can do, what it costs, who changed it", auth=viewer, query=PageView)
def show_model(name: str, query: PageView) -> Answer:
    return _shown_model(name)


@routes.post("/catalogue/models/<name>")
@operation("Change how a model stands", auth=admin)
def change_model(name: str) -> Answer:
    def act() -> None:
        form, rows = read(ModelForm), services().catalogue_rows
        document = {
            **rows.get("model", name)["document"],
            "lifecycle": form.lifecycle,
            "enabled": form.enabled == "yes",
            "successor": form.successor or None,
            "deprecated_at": rfc3339(form.deprecated_at),
            "retires_at": rfc3339(form.retires_at),
            "fallbacks": form.fallbacks.split(),
        }
        rows.put(actor(), "model", name, document, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_model", name=name), again=lambda: _shown_model(name))


@routes.post("/catalogue/models/<name>/price")
@operation("Give a model a new price", auth=admin)
def add_price(name: str) -> Answer:
    def act() -> None:
        form = read(PriceForm)
        price = {"id": form.id, "as_of": form.as_of, "source": form.source, **_amounts(form.amounts)}
        services().catalogue_rows.add_price(actor(), name, price, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_model", name=name), again=lambda: _shown_model(name))


@routes.post("/catalogue/models/<name>/reset")
@operation("Bring a model back to what this version came with", auth=admin)
def reset_model(name: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().catalogue_rows.reset(actor(), name, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_model", name=name), again=lambda: _shown_model(name))


# -- aliases and moves -------------------------------------------------------------------------------------------------


@routes.get("/catalogue/aliases")
@operation("Names that lead to models", auth=viewer, query=PageView)
def show_aliases(query: PageView) -> Answer:
    return _shown_aliases()


@routes.post("/catalogue/aliases")
@operation("Have a new name lead to a model", auth=admin)
def add_alias() -> Answer:
    def act() -> None:
        form = read(NewAliasForm)
        document = {"to": form.to, "warning": form.warning or None}
        services().catalogue_rows.put(actor(), "alias", form.name, document, form.reason, based_on=NO_ROW)

    return attempt(act, then=url_for(".show_aliases"), again=_shown_aliases)


@routes.get("/catalogue/aliases/<name>")
@operation("A name that leads to a model", auth=viewer, query=PageView)
def show_alias(name: str, query: PageView) -> Answer:
    return _shown_alias(name)


@routes.post("/catalogue/aliases/<name>")
@operation("Have a name lead elsewhere at once", auth=admin)
def change_alias(name: str) -> Answer:
    def act() -> None:
        form, rows = read(AliasForm), services().catalogue_rows
        document = {
            **rows.get("alias", name)["document"],
            "to": form.to,
            "warning": form.warning or None,
        }
        rows.put(actor(), "alias", name, document, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_alias", name=name), again=lambda: _shown_alias(name))


@routes.post("/catalogue/aliases/<name>/remove")
@operation("Have a name lead nowhere", auth=admin)
def remove_alias(name: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().catalogue_rows.remove_alias(actor(), name, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_aliases"), again=lambda: _shown_alias(name))


@routes.post("/catalogue/models/<name>/move")
@operation("Begin to move a model's callers to another one", auth=admin)
def move_model(name: str) -> Answer:
    return _move("model", name)


@routes.post("/catalogue/models/<name>/finish")
@operation("End the move of a model, which is retired by it", auth=admin)
def finish_model(name: str) -> Answer:
    return _finish("model", name)


@routes.post("/catalogue/models/<name>/call-off")
@operation("Call the move of a model off", auth=admin)
def call_model_off(name: str) -> Answer:
    return _finish("model", name, call_off=True)


@routes.post("/catalogue/aliases/<name>/move")
@operation("Begin to move an alias to another model", auth=admin)
def move_alias(name: str) -> Answer:
    return _move("alias", name)


@routes.post("/catalogue/aliases/<name>/finish")
@operation("End the move of an alias", auth=admin)
def finish_alias(name: str) -> Answer:
    return _finish("alias", name)


@routes.post("/catalogue/aliases/<name>/call-off")
@operation("Call the move of an alias off", auth=admin)
def call_alias_off(name: str) -> Answer:
    return _finish("alias", name, call_off=True)


def _move(kind: Kind, name: str) -> Answer:
    def act() -> None:
        form = read(MoveForm)
        services().moves.begin(actor(), kind, name, form.to, form.reason, based_on=form.version)

    return attempt(act, then=url_for(f".show_{kind}", name=name), again=lambda: _shown(kind, name))


def _finish(kind: Kind, name: str, *, call_off: bool = False) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().moves.finish(actor(), kind, name, form.reason, call_off=call_off, based_on=form.version)

    return attempt(act, then=url_for(f".show_{kind}", name=name), again=lambda: _shown(kind, name))


# -- vendors -----------------------------------------------------------------------------------------------------------


@routes.get("/catalogue/vendors")
@operation("Vendors: which are on, which are in trouble", auth=viewer, query=PageView)
def show_vendors(query: PageView) -> Answer:
    return _shown_vendors()


@routes.post("/catalogue/vendors/<name>/disable")
@operation("Switch a vendor off", auth=editor)
def disable_vendor(name: str) -> Answer:
    def act() -> None:
        services().vendors.disable(actor(), name, read(ReasonForm).reason, wait=0)

    return attempt(act, then=url_for(".show_vendors"), again=_shown_vendors)


@routes.post("/catalogue/vendors/<name>/enable")
@operation("Switch a vendor on again", auth=admin)
def enable_vendor(name: str) -> Answer:
    def act() -> None:
        services().vendors.enable(actor(), name, read(ReasonForm).reason, wait=0)

    return attempt(act, then=url_for(".show_vendors"), again=_shown_vendors)


# -- proposals ---------------------------------------------------------------------------------------------------------


@routes.get("/catalogue/proposals")
@operation("What vendors' lists say otherwise than the catalogue", auth=viewer, query=ProposalsView)
def show_proposals(query: ProposalsView) -> Answer:
    return _shown_proposals(query)


@routes.post("/catalogue/proposals")
@operation("Ask the vendors for their lists now", auth=editor)
def ask_vendors() -> Answer:
    return attempt(
        services().catalogue_checks.verify,
        then=url_for(".show_proposals"),
        again=lambda: _shown_proposals(_open_ones()),
    )


@routes.post("/catalogue/proposals/<proposal_id>/apply")
@operation("Make the catalogue as the vendor says", auth=admin)
def apply_proposal(proposal_id: str) -> Answer:
    return _end(proposal_id, services().catalogue_checks.apply)


@routes.post("/catalogue/proposals/<proposal_id>/dismiss")
@operation("Leave the catalogue as it is", auth=admin)
def dismiss_proposal(proposal_id: str) -> Answer:
    return _end(proposal_id, services().catalogue_checks.dismiss)


def _end(proposal_id: str, end: Callable[..., object]) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        end(actor(), proposal_id, form.reason, based_on=form.version)

    return attempt(act, then=url_for(".show_proposals"), again=lambda: _shown_proposals(_open_ones()))


# -- what is shown -----------------------------------------------------------------------------------------------------


def price_of(model: Model) -> str:
    """The price that holds, in a few words."""
    if not model.prices:
        return _("none")
    if model.price.per_image:
        cells = [amount for cell in model.price.per_image for amount in cell.by_quality.values()]
        if min(cells) == max(cells):
            return _("%(amount)s a picture", amount=money(cells[0]))
        return _("%(low)s to %(high)s a picture", low=money(min(cells)), high=money(max(cells)))
    rates = model.price.per_million
    return _(
        "%(input)s in, %(output)s out per million tokens",
        input=money(rates.get("in", 0)),
        output=money(rates.get("out", 0)),
    )


def _shown(kind: Kind, name: str) -> Answer:
    return _shown_model(name) if kind == "model" else _shown_alias(name)


def _shown_model(name: str) -> Answer:
    row = services().catalogue_rows.get("model", name)
    model, document = _model(row), row["document"]
    standing = {
        "lifecycle": model.lifecycle,
        "enabled": "yes" if model.enabled else "no",
        "successor": model.successor or "",
        "deprecated_at": typed.moment(model.deprecated_at),
        "retires_at": typed.moment(model.retires_at),
        "fallbacks": " ".join(model.fallbacks),
    }
    return room(
        "model.html",
        row=row,
        model=model,
        change=FormView("change", row["version"], standing),
        price=FormView("price", row["version"]),
        amounts=_amounts_text(document["prices"][-1] if document["prices"] else {}),
        leading=_leading().get(name, []),
        changes=_changes(name),
        abilities=_abilities(document),
        lifecycles=_lifecycles(),
        **_moving(row),
    )


def _shown_aliases() -> Answer:
    rows = services().catalogue_rows.list("alias")
    models = _names(lambda model: model.lifecycle != "retired")
    return room("aliases.html", rows=rows, models=[(name, name) for name in models])


def _shown_alias(name: str) -> Answer:
    row = services().catalogue_rows.get("alias", name)
    return room(
        "alias.html",
        row=row,
        change=FormView("change", row["version"]),
        changes=_changes(name),
        **_moving(row),
    )


def _shown_vendors() -> Answer:
    return room("vendors.html", vendors=services().vendors.list())


def _shown_proposals(query: ProposalsView) -> Answer:
    checks = services().catalogue_checks
    return show_list(
        "proposals.html",
        query,
        lambda cursor, limit: checks.page(state=query.state, cursor=cursor, limit=limit),
        lambda one: one["id"],
        file="proposals",
        columns=COLUMNS,
        as_row=lambda one: {**one, "found": json.dumps(one["found"])},
        states=[(state, words.state(state)) for state in STATES],
    )


def _open_ones() -> ProposalsView:
    return ProposalsView(cursor=None, limit=50)


def _moving(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the part about a row's move shows: where it may move, and by which plan it does."""
    document = row["document"]
    here = (row["name"], document.get("to"))
    feature = (
        document.get("feature") or _model(services().catalogue_rows.get("model", document["to"])).feature
    )
    targets = _names(
        lambda model: (
            model.feature == feature
            and model.lifecycle != "retired"
            and model.enabled
            and model.name not in here
        )
    )
    return {"targets": [(name, name) for name in targets], "plan": move_of(row["name"])}


def _lifecycles() -> list[tuple[str, str]]:
    return [(code, words.state(code)) for code in get_args(Lifecycle)]


def _abilities(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ABILITIES.get(document["feature"], ())
    return [(name, _said(document[name])) for name in names if document[name] not in (None, "", ())]


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _names(is_wanted: Callable[[Model], bool]) -> list[str]:
    """Names of models, in order."""
    models = map(_model, services().catalogue_rows.list("model"))
    return [model.name for model in models if is_wanted(model)]


def _is_wanted(query: ModelsView, model: Model, leading: list[str]) -> bool:
    return (
        query.vendor in (None, model.vendor)
        and query.lifecycle in (None, model.lifecycle)
        and query.feature in (None, model.feature)
        and (query.q is None or any(query.q.lower() in name.lower() for name in (model.name, *leading)))
    )


def _leading() -> dict[str, list[str]]:
    """By model, the aliases that lead to it."""
    found: dict[str, list[str]] = {}
    for row in services().catalogue_rows.list("alias"):
        found.setdefault(row["document"]["to"], []).append(row["name"])
    return found


def _changes(name: str) -> list[dict[str, Any]]:
    rows = services().audit.search(Search(subject=name), before=None, limit=SHOWN_CHANGES).rows
    ours = [row for row in rows if row["action"].startswith(("model.", "alias."))]
    return [
        {**row, "paths": [one.path for one in differences(row["before"], row["after"])]}
        if row["before"] and row["after"]
        else {**row, "paths": []}
        for row in ours
    ]


def _model(row: Mapping[str, Any]) -> Model:
    model, faults = read_model(row["document"])
    assert model is not None, faults
    return model


def _amounts_text(price: Mapping[str, Any]) -> str:
    """The numbers of a price, to be changed for the next one."""
    return json.dumps({name: price[name] for name in AMOUNTS if price.get(name)}, indent=1)


def _amounts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or not found.keys() <= set(AMOUNTS):
            raise ValueError
    except ValueError:
        raise InvalidRequest(
            f"The amounts are a JSON object of {', '.join(AMOUNTS)}.", param="amounts"
        ) from None
    return found
