"""/admin/api/v1/catalogue"""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint

from rollout.core.catalogue_rows import Kind
from rollout.core.templates import SHARES
from rollout.services.catalogue_rows import NO_ROW
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, admin, editor, viewer
from .features import AcksOut

routes = Blueprint("catalogue", __name__)


class DisableIn(Shape):
    """`in_flight`: what the vendor already has is charged, and delivered or withheld."""

    reason: str | None = None
    in_flight: Literal["finish", "withhold"] = "finish"
    remind_at: Moment | None = None


class EnableIn(Shape):
    reason: str | None = None


class SwitchedVendorOut(Shape):
    vendor: str
    enabled: bool
    revision: int
    acks: AcksOut
    in_flight: dict[str, int]


class VendorOut(SwitchedVendorOut):
    kill: dict[str, Any] | None
    models: list[str]


@routes.get("/catalogue/vendors")
@operation("List the catalogue's vendors", auth=viewer)
def list_vendors() -> Answer:
    return {"data": services().vendors.list(), "next_cursor": None}


@routes.get("/catalogue/vendors/<name>")
@operation("Show a vendor, and how far its last switch has spread", auth=viewer, answer=VendorOut)
def show_vendor(name: str) -> Answer:
    return services().vendors.get(name)


@routes.post("/catalogue/vendors/<name>/disable")
@operation("Switch a vendor off", auth=editor, body=DisableIn, answer=SwitchedVendorOut)
def disable_vendor(name: str, body: DisableIn) -> Answer:
    return services().vendors.disable(
        actor(), name, body.reason, in_flight=body.in_flight, remind_at=epoch_or_none(body.remind_at)
    )


@routes.post("/catalogue/vendors/<name>/enable")
@operation("Switch a vendor on again", auth=admin, body=EnableIn, answer=SwitchedVendorOut)
def enable_vendor(name: str, body: EnableIn) -> Answer:
    return services().vendors.enable(actor(), name, body.reason)


# -- models and aliases ------------------------------------------------------------------------------------------------


class RemoveIn(Shape):
    """`dry_run`: everything is checked, nothing is changed."""

    reason: str | None = None
    dry_run: bool = False


class RowIn(RemoveIn):
    """`document`: the whole row, as GET shows it; what is left out is as by default."""

    document: dict[str, Any]


class PriceIn(RemoveIn):
    """`price`: `id`, `as_of` (a day), `source`, and micro-dollars by `per_million`, `tiers`, `per_image`."""

    price: dict[str, Any]


class RetireIn(RemoveIn):
    """`successor`: who answers in its place; left out, the one that the row names."""

    successor: str | None = None


class MoveIn(RemoveIn):
    """`to`: the next model. `template`, `phase`: of the plan by which tenants go over."""

    to: str
    template: str = SHARES
    phase: str | None = None


class FinishIn(RemoveIn):
    """`call_off`: the name stays with the model that it has, whoever had gone over."""

    call_off: bool = False


class RowOut(Shape):
    """`origin`: `seed`, what this version came with, or `row`, what stands over it; who changed that, and when, where one does."""

    name: str
    document: dict[str, Any]
    origin: Literal["seed", "row"]
    version: int
    changed_at: str | None
    changed_by: str | None


class MoveOut(Shape):
    row: RowOut
    plan: dict[str, Any]


@routes.get("/catalogue/models")
@operation("List the catalogue's models", auth=viewer)
def list_models() -> Answer:
    return {"data": services().catalogue_rows.list("model"), "next_cursor": None}


@routes.get("/catalogue/models/<name>")
@operation("Show a model of the catalogue", auth=viewer, answer=RowOut)
def show_model(name: str) -> Answer:
    return _versioned(services().catalogue_rows.get("model", name))


@routes.put("/catalogue/models/<name>")
@operation(
    "Put a model in the catalogue, new or in the place of what it is", auth=admin, body=RowIn, answer=RowOut
)
def put_model(name: str, body: RowIn) -> Answer:
    return _put("model", name, body)


@routes.post("/catalogue/models/<name>/prices")
@operation("Give a model a new price", auth=admin, body=PriceIn, answer=RowOut)
def add_price(name: str, body: PriceIn) -> Answer:
    rows = services().catalogue_rows
    return _versioned(
        rows.add_price(actor(), name, body.price, body.reason, based_on=_based_on(), dry_run=body.dry_run)
    )


@routes.post("/catalogue/models/<name>/retire")
@operation("Retire a model: its successor answers", auth=admin, body=RetireIn, answer=RowOut)
def retire_model(name: str, body: RetireIn) -> Answer:
    return _versioned(
        services().catalogue_rows.retire(
            actor(),
            name,
            body.reason,
            successor=body.successor,
            based_on=_based_on(),
            dry_run=body.dry_run,
        )
    )


@routes.delete("/catalogue/models/<name>")
@operation("Bring a model back to what this version came with", auth=admin, body=RemoveIn, answer=RowOut)
def reset_model(name: str, body: RemoveIn) -> Answer:
    return _versioned(
        services().catalogue_rows.reset(
            actor(), name, body.reason, based_on=_based_on(), dry_run=body.dry_run
        )
    )


@routes.post("/catalogue/models/<name>/move")
@operation("Begin to move a model's callers to another one", auth=admin, body=MoveIn, answer=MoveOut)
def move_model(name: str, body: MoveIn) -> Answer:
    return _move("model", name, body)


@routes.post("/catalogue/models/<name>/finish")
@operation("End the move of a model, which is retired by it", auth=admin, body=FinishIn, answer=RowOut)
def finish_model(name: str, body: FinishIn) -> Answer:
    return _finish("model", name, body)


@routes.get("/catalogue/aliases")
@operation("List the catalogue's aliases", auth=viewer)
def list_aliases() -> Answer:
    return {"data": services().catalogue_rows.list("alias"), "next_cursor": None}


@routes.get("/catalogue/aliases/<name>")
@operation("Show an alias of the catalogue", auth=viewer, answer=RowOut)
def show_alias(name: str) -> Answer:
    return _versioned(services().catalogue_rows.get("alias", name))


@routes.put("/catalogue/aliases/<name>")
@operation(
    "Put an alias in the catalogue, new or in the place of what it is", auth=admin, body=RowIn, answer=RowOut
)
def put_alias(name: str, body: RowIn) -> Answer:
    return _put("alias", name, body)


@routes.delete("/catalogue/aliases/<name>")
@operation("Take an alias out of the catalogue", auth=admin, body=RemoveIn, answer=RowOut)
def remove_alias(name: str, body: RemoveIn) -> Answer:
    return services().catalogue_rows.remove_alias(
        actor(), name, body.reason, based_on=_based_on(), dry_run=body.dry_run
    )


@routes.post("/catalogue/aliases/<name>/move")
@operation("Begin to move an alias to another model", auth=admin, body=MoveIn, answer=MoveOut)
def move_alias(name: str, body: MoveIn) -> Answer:
    return _move("alias", name, body)


@routes.post("/catalogue/aliases/<name>/finish")
@operation("End the move of an alias", auth=admin, body=FinishIn, answer=RowOut)
def finish_alias(name: str, body: FinishIn) -> Answer:
    return _finish("alias", name, body)


def _put(kind: Kind, name: str, body: RowIn) -> Answer:
    """A row that is there is changed by If-Match; without one there must be none yet."""
    rows, stated = services().catalogue_rows, _based_on()
    there = any(row["name"] == name for row in rows.list(kind))
    based = based_on(required=True) if there else stated or NO_ROW
    kept = rows.put(actor(), kind, name, body.document, body.reason, based_on=based, dry_run=body.dry_run)
    return _versioned(kept)


def _move(kind: Kind, name: str, body: MoveIn) -> Answer:
    return services().moves.begin(
        actor(),
        kind,
        name,
        body.to,
        body.reason,
        template=body.template,
        phase=body.phase,
        based_on=_based_on(),
        dry_run=body.dry_run,
    )


def _finish(kind: Kind, name: str, body: FinishIn) -> Answer:
    return _versioned(
        services().moves.finish(
            actor(),
            kind,
            name,
            body.reason,
            call_off=body.call_off,
            based_on=_based_on(),
            dry_run=body.dry_run,
        )
    )


def _based_on() -> int | None:
    return based_on(required=False)


def _versioned(row: dict[str, Any]) -> Answer:
    return versioned(row, row["version"])
