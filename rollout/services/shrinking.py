"""Pictures made smaller before they are sent, where the vendor would do it silently and say positions in its own pixels."""

from __future__ import annotations

import io

from rollout.core.input_images import InputImage
from rollout.errors import InvalidRequest

MAX_EDGE = 1_568
MAX_PIXELS = 1_150_000
"""What every Claude model looks at pixel by pixel. Source: Anthropic's vision guide."""


def shrunk(image: InputImage, param: str) -> InputImage:
    """The picture, at most so large; unchanged where it is. Raises InvalidRequest for one that cannot be decoded."""
    scale = min(MAX_EDGE / max(image.width, image.height), (MAX_PIXELS / (image.width * image.height)) ** 0.5)
    if scale >= 1:
        return image
    from PIL import Image  # asked for by large pictures alone

    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    try:
        picture = Image.open(io.BytesIO(image.data))
        picture.draft("RGB", size)
        out = io.BytesIO()
        picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "PNG", compress_level=1)
    except Exception as error:  # Pillow's decoders raise whatever the damage leads to
        raise InvalidRequest(f"`{param}` cannot be decoded: {error}.", param=param) from error
    return InputImage(out.getvalue(), "image/png", *size)
