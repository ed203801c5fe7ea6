"""`/f/{handle}`: a page on which an end user rates one picture. No key, cookie or script; only sending its form changes anything."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, redirect, request, url_for
from pydantic import BaseModel

from rollout.core.feedback import Asked, Handle, Opinion, opinion
from rollout.errors import InvalidRequest, RolloutError, UnsupportedMediaType
from rollout.web.feedback import REASONS
from rollout.web.language import LANGUAGES, N_, _
from rollout.web.operation import FORMS, Answer, operation, public
from rollout.web.pages import plain, render_problems_by
from rollout.web.wired import services

routes = Blueprint("feedback_page", __name__, url_prefix="/f", template_folder="templates")

MAX_WORDS = 500
MAX_BYTES = 64_000

PROBLEMS: Mapping[int, tuple[str, str]] = {
    404: (N_("There is nothing here"), N_("The link is not complete, or it is not one of ours. Open it again from where you got it.")),
    410: (N_("This link has expired"), N_("A picture can be rated for as long as it is kept. This time is over.")),
    413: (N_("That was too much"), N_("Nothing was saved. Go back and write at most 500 characters.")),
}  # fmt: skip


class Address(BaseModel):
    """`r` chooses a thumb beforehand, `lang` the language; what mail programs add to links is ignored."""

    r: str | None = None
    lang: str | None = None


@routes.before_request
def _errors_are_pages() -> None:
    render_problems_by(_problem)


@routes.after_request
def _no_robots(response: Response) -> Response:
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@routes.get("/<handle>")
@operation("A page on which an end user rates a picture", auth=public, query=Address)
def show(handle: str, query: Address) -> Answer:
    opened = services().feedback.open(handle)
    asked = services().feedback.asked(opened)
    said = _opinion_now(asked)
    return _page(
        handle,
        opened,
        asked,
        rating=query.r if query.r in ("up", "down") else said and said.rating,
        reasons=said.reasons if said else (),
        comment=said and said.comment,
    )


@routes.post("/<handle>")
@operation("Rate the picture, or take the rating back", auth=public, raw_body=FORMS)
def send(handle: str) -> Answer:
    opened = services().feedback.open(handle)
    asked = services().feedback.asked(opened)
    if request.mimetype not in FORMS:
        raise UnsupportedMediaType("Send the page's form.")
    request.max_content_length = MAX_BYTES
    if "withdraw" in request.form:
        if asked.said:
            services().feedback.withdraw(opened.tenant_id, asked.said.id, opened)
        return _shown_again(handle)
    rating, reasons = request.form.get("rating", ""), request.form.getlist("reasons")
    comment = request.form.get("comment", "").replace("\r\n", "\n")
    try:
        said = _checked(rating, reasons, comment)
    except InvalidRequest as error:
        return _page(handle, opened, asked, rating=rating, reasons=reasons, comment=comment, error=error)
    services().feedback.submit(opened.tenant_id, opened.generation_id, opened.end_user, said)
    return _shown_again(handle)


def _checked(rating: str, reasons: list[str], comment: str) -> Opinion:
    if rating not in ("up", "down"):
        raise InvalidRequest("Choose one of the two thumbs.", param="rating")
    if len(comment) > MAX_WORDS:
        raise InvalidRequest("At most 500 characters, please.", param="comment")
    return opinion(rating, reasons, comment)  # type: ignore[arg-type]


def _opinion_now(asked: Asked) -> Opinion | None:
    return asked.said.opinion if asked.said and asked.said.state != "withdrawn" else None


def _page(
    handle: str,
    opened: Handle,
    asked: Asked,
    *,
    error: InvalidRequest | None = None,
    **filled: object,
) -> Response:
    picture = asked.picture and services().images.path(
        opened.tenant_id, asked.picture.id, asked.picture.expires_at
    )
    return plain(
        "rate.html",
        error.http_status if error else 200,
        here=_here(handle),
        asked=asked,
        picture=picture,
        error=error,
        reason_words=REASONS,
        max_words=MAX_WORDS,
        languages=LANGUAGES,
        **filled,
    )


def _problem(error: RolloutError) -> Response:
    title, text = PROBLEMS.get(error.http_status, (error.default_message(), error.remedy_text))
    return plain("rate_problem.html", error.http_status, title=_(title), text=_(text))


def _shown_again(handle: str) -> Response:
    return redirect(_here(handle), 303)  # type: ignore[return-value]


def _here(handle: str) -> str:
    """This page in the language that the link asked for."""
    return url_for(".show", handle=handle, lang=request.args.get("lang"))
