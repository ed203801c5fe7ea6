"""/admin/ledger: how the books were found when they were added up, and a button to do it now."""

from __future__ import annotations

from flask import Blueprint, redirect, url_for

from rollout.core.verifications import verification_json
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .lists import show_list
from .queries import ListView

routes = Blueprint("ledger", __name__)

COLUMNS = ("id", "at", "seconds", "clean", "differences", "actor")
SHOWN = 30
"""Differences that the page shows; the API and the command know all that are kept."""


@routes.get("/ledger")
@operation("How the books were found, newest first", auth=viewer, query=ListView)
def show_ledger(query: ListView) -> Answer:
    verifications = services().verifications
    return show_list(
        "ledger.html",
        query,
        lambda cursor, limit: verifications.page(cursor=cursor, limit=limit),
        lambda one: one.id,
        file="ledger",
        columns=COLUMNS,
        as_row=verification_json,
        shown=SHOWN,
    )


@routes.post("/ledger/verify")
@operation("Add up the books now", auth=editor)
def verify_ledger() -> Answer:
    services().verifications.run(actor().name)
    return redirect(url_for(".show_ledger"), 303)  # type: ignore[return-value]
