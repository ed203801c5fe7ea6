"""The pictures of a named task: as they came, at an address that the vendor fetches, or the tenant's own from the store.

Where the answer will say positions, pictures are made smaller here: the vendor would do it silently, and speak of pixels
that nobody has.
"""

from __future__ import annotations

import io

from rollout.blobs.base import Blobs
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.tasks import Given, Picture, TaskRequest, in_base64, picture_at, read_picture
from rollout.core.uses import StoredImage
from rollout.db import generations, images
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest, NotFound, ResultPurged

MAX_SHOWN_EDGE = 1_568
MAX_SHOWN_PIXELS = 1_150_000
"""What every Claude model looks at pixel by pixel. Source: Anthropic's vision guide."""


class TaskPictures:
    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs

    def read(self, tenant_id: str, request: TaskRequest) -> list[Picture]:
        """In their order. Raises InvalidRequest, NotFound, ResultPurged, each naming its field."""
        exact = request.task == "detect_objects"
        return [
            self._picture(tenant_id, given, f"images.{index}", exact=exact)
            for index, given in enumerate(request.images)
        ]

    def _picture(self, tenant_id: str, given: Given, param: str, *, exact: bool) -> Picture:
        """`exact`: positions in it will be told, so the vendor must see the very pixels that it is sent."""
        if given.url is not None:
            return picture_at(given.url, f"{param}.url")
        own = given.generation
        image = (
            read_picture(given, param) if own is None else self._own(tenant_id, own, f"{param}.generation")
        )
        sent = _shrunk(image, param) if exact else image
        source = in_base64(sent.data, sent.media_type)
        return Picture(source, (image.width, image.height), (sent.width, sent.height))

    def _own(self, tenant_id: str, name: str, param: str) -> InputImage:
        """The tenant's picture of that id, or the first one of its generation. Raises NotFound, ResultPurged."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = _find(tx, tenant_id, name)
            if found is None and not _was_made(tx, tenant_id, name):
                raise NotFound(f"You have no picture {name[:100]!r}.", param=param)
        data = self._blobs.get(found.sha256) if found is not None and found.expires_at > now else None
        if data is None:
            raise ResultPurged("This picture is no longer kept.", param=param)
        return InputImage(data, *media_type_and_size(data, param))


def _shrunk(image: InputImage, param: str) -> InputImage:
    """The picture, at most so large; unchanged where it is. Raises InvalidRequest for one that cannot be decoded."""
    by_pixels = (MAX_SHOWN_PIXELS / (image.width * image.height)) ** 0.5
    scale = min(MAX_SHOWN_EDGE / max(image.width, image.height), by_pixels)
    if scale >= 1:
        return image
    from PIL import Image  # large pictures alone need it

    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    try:
        picture = Image.open(io.BytesIO(image.data))
        picture.draft("RGB", size)
        out = io.BytesIO()
        picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "PNG", compress_level=1)
    except Exception as error:  # Pillow's decoders raise whatever the damage leads to
        raise InvalidRequest(f"`{param}` cannot be decoded: {error}.", param=param) from error
    return InputImage(out.getvalue(), "image/png", *size)


def _find(tx: Tx, tenant_id: str, name: str) -> StoredImage | None:
    if name.startswith("img_"):
        return images.get(tx, tenant_id, name)
    return next(iter(images.of_generation(tx, tenant_id, name)), None)


def _was_made(tx: Tx, tenant_id: str, name: str) -> bool:
    generation = generations.find(tx, name)
    return generation is not None and generation.tenant_id == tenant_id
