"""Pictures that a caller sends to be edited, and the mask that says where: known by their bytes, never by what
the caller says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.core.catalogue import Model
from rollout.core.pictures import is_animated, media_type_and_size, png_has_alpha, short_name
from rollout.errors import InvalidRequest

MAX_INPUT_BYTES = 50_000_000
MAX_MASK_BYTES = 4_000_000


@dataclass(frozen=True)
class Upload:
    """A file of a multipart request, as it came; `field` is its name there, `media_type` what its part
    claims."""

    field: str
    data: bytes
    media_type: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class InputImage:
    """A picture that the caller sent, its type read from its bytes; pixels."""

    data: bytes
    media_type: str
    width: int
    height: int
    filename: str = "image.png"


def read_input_images(uploads: Sequence[Upload], model: Model) -> tuple[InputImage, ...]:
    """The pictures of an edit. Raises InvalidRequest that names the field."""
    if not model.max_input_images:
        raise InvalidRequest(
            f"{model.name} edits no pictures: it takes no `image`.",
            param="image",
            remedy="Ask a model that edits, or send the prompt alone to /v1/images/generations.",
        )
    if not uploads:
        raise InvalidRequest("`image` is required: one picture or several.", param="image")
    if len(uploads) > model.max_input_images:
        raise InvalidRequest(
            f"`image`: at most {model.max_input_images} pictures for {model.name}, not {len(uploads)}.",
            param="image",
        )
    return tuple(_input_image(upload, MAX_INPUT_BYTES) for upload in uploads)


def read_mask(upload: Upload, image: InputImage, model: Model) -> InputImage:
    """The mask of `image`: what is transparent is edited, whatever the vendor wants to see. Raises
    InvalidRequest."""
    if model.mask == "none":
        raise InvalidRequest(
            f"{model.name} takes no `mask`.",
            param="mask",
            remedy="Leave it out and say in the prompt what is to change, or ask a model that takes one.",
        )
    mask = _input_image(upload, MAX_MASK_BYTES)
    if mask.media_type != "image/png" or not png_has_alpha(mask.data):
        raise InvalidRequest(
            "`mask` must be a PNG with an alpha channel: what is transparent is edited.", param="mask"
        )
    if (mask.width, mask.height) != (image.width, image.height):
        raise InvalidRequest(
            f"`mask` is {mask.width}x{mask.height} and the picture {image.width}x{image.height}: "
            "both must have the same size.",
            param="mask",
        )
    return mask


def _input_image(upload: Upload, most_bytes: int) -> InputImage:
    if len(upload.data) >= most_bytes:
        raise InvalidRequest(
            f"`{upload.field}` must be smaller than {most_bytes // 1_000_000} MB.", param=upload.field
        )
    media_type, width, height = media_type_and_size(upload.data, upload.field)
    claimed = (upload.media_type or "").partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if claimed.startswith("image/") and claimed != media_type:
        raise InvalidRequest(
            f"`{upload.field}` claims to be {claimed} but is {media_type}.", param=upload.field
        )
    if media_type == "image/gif":
        raise InvalidRequest(f"`{upload.field}` is a GIF; send a PNG, WebP or JPEG.", param=upload.field)
    if is_animated(upload.data, media_type):
        raise InvalidRequest(
            f"`{upload.field}` is an animated {short_name(media_type)}; send one frame of it.",
            param=upload.field,
        )
    return InputImage(upload.data, media_type, width, height, f"image.{short_name(media_type).lower()}")
