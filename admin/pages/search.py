"""/admin/search: any id opens what it names; anything else looks for tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from flask import Blueprint, redirect
from pydantic import Field

from rollout.errors import NotFound
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer
from .queries import PageView
from .room import room

routes = Blueprint("search", __name__)

FOUND = 50


class SearchView(PageView):
    """`q`: an id, or how a tenant's id begins, or a part of its name."""

    q: str = Field("", max_length=200)


@routes.get("/search")
@operation("Find a tenant by name, or what an id names", auth=viewer, query=SearchView)
def search(query: SearchView) -> Answer:
    wanted = query.q.strip()
    try:
        place = _place(wanted)
    except NotFound:
        place = None
    if place is not None:
        return redirect(place, 303)  # type: ignore[return-value]
    found = services().tenants.page(after=None, limit=FOUND, search=wanted) if wanted else []
    return room("search.html", wanted=wanted, tenants=found, most=FOUND)


def _place(wanted: str) -> str | None:
    """The address of what the id names; None: it is no id. Raises NotFound."""
    find = _PLACES.get(wanted.partition("_")[0]) if "_" in wanted else _tenant
    return find(wanted) if find and wanted else None


def _tenant(tenant_id: str) -> str:
    return _address("tenants", services().tenants.get(tenant_id).id)


def _at(noun: str) -> Callable[[str], str]:
    return lambda wanted: _address(noun, wanted)


def _address(noun: str, id_: str) -> str:
    return f"/admin/{noun}/{quote(id_, safe='')}"


_PLACES: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("req", "gen", "anl", "hold", "fb", "img", "dec"), _at("requests")),
    "mtr": _at("meters"),
    "acc": _at("access-requests"),
    "usr": _at("users"),
    "grt": _at("grants"),
    "key": lambda wanted: f"{_address('tenants', services().keys.owner(wanted))}/keys/{quote(wanted)}",
}
