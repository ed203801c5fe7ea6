"""`GET /api/v1/images/{id}`: a picture by its signed, expiring address; whoever has the address may look."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request
from pydantic import BaseModel
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from rollout.errors import InvalidRequest
from rollout.services.images import Signed
from rollout.web.operation import operation, public
from rollout.web.wired import services

routes = Blueprint("images", __name__, url_prefix="/api/v1")


class Address(BaseModel):
    """The query of a signed address: until when, signed by which key, whose picture, the signature.

    Anything else is ignored: who passes an address on may have added to it.
    """

    exp: str = ""
    kid: str = ""
    t: str = ""
    sig: str = ""

    def signed(self) -> Signed:
        """A time that is no number was signed by nobody, like 0."""
        expires_at = int(self.exp) if re.fullmatch("[0-9]{1,12}", self.exp) else 0
        return Signed(self.t, expires_at, self.kid, self.sig)


@routes.get("/images/<image_id>")
@operation("Fetch a picture by its signed address", auth=public, query=Address)
def show_image(image_id: str, query: Address) -> Response:
    image, data = services().images.read(image_id, query.signed())
    response = Response(data, content_type=image.media_type)
    response.set_etag(image.sha256)
    response.headers["Cache-Control"] = "private, max-age=3600, immutable"
    response.headers["X-Content-Type-Options"] = "nosniff"
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=len(data))
    except RequestedRangeNotSatisfiable:
        raise InvalidRequest(
            f"The picture has {len(data)} bytes; this range is not among them.",
            param="Range",
            status=416,
            headers={"Content-Range": f"bytes */{len(data)}"},
        ) from None
    return response
