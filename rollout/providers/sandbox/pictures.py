"""Pictures of the sandbox: drawn by arithmetic, marked SANDBOX where people and programs look; and true facts
about given ones.

The same arguments give the same bytes in every process. A picture is drawn with few colours and little
compression, because a test service should not spend its time on art.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from rollout.core.input_images import InputImage

_MARK = "SANDBOX"
_SOFTWARE = "Phasegate sandbox"
_DESCRIPTION = "SANDBOX: drawn by a program for testing, not by a model"
_EXIF_DESCRIPTION, _EXIF_SOFTWARE = 0x010E, 0x0131
_SHAPES = 9
_MAX_MEASURED_PIXELS = 20_000_000
_TOP_COLOURS = 3


class NotAPicture(ValueError):
    """The bytes begin like a picture but cannot be decoded."""


@dataclass(frozen=True)
class Drawing:
    """What to draw. `seed` tells pictures of one request apart, `caption` is written below the mark;
    pixels."""

    seed: str
    caption: str
    width: int
    height: int
    media_type: str
    transparent: bool = False
    compression: int | None = None


def draw(drawing: Drawing, inputs: Sequence[InputImage] = (), mask: InputImage | None = None) -> bytes:
    """The encoded picture. With `inputs` it shows them, tinted; with a mask it changes only what the mask
    leaves transparent.

    Raises NotAPicture for an input that cannot be decoded.
    """
    picture = _edited(drawing, inputs, mask) if inputs else _invented(drawing)
    _write_mark(picture, drawing.caption)
    return _encode(picture, drawing)


def facts(data: bytes, media_type: str, width: int, height: int) -> str:
    """One sentence of truth about a picture. Raises NotAPicture."""
    digest = hashlib.sha256(data).hexdigest()
    return (
        f"{media_type.removeprefix('image/').upper()}, {width}x{height} pixels, {len(data)} bytes, "
        f"sha256 {digest}, dominant colours {_dominant_colours(data, width * height)}"
    )


def _invented(drawing: Drawing) -> Image.Image:
    """Overlapping discs in a palette that the seed chooses."""
    digest = hashlib.sha256(drawing.seed.encode()).digest()
    ground = (0, 0, 0, 0) if drawing.transparent else _colour(digest, 0)
    picture = Image.new("RGBA" if drawing.transparent else "RGB", (drawing.width, drawing.height), ground)
    pen = ImageDraw.Draw(picture)
    for shape in range(1, _SHAPES + 1):
        x, y, r = (digest[(shape * 3 + part) % len(digest)] / 255 for part in range(3))
        radius = (0.08 + 0.22 * r) * min(drawing.width, drawing.height)
        x, y = x * drawing.width, y * drawing.height
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(digest, shape * 2))
    return picture


def _colour(digest: bytes, at: int) -> tuple[int, int, int]:
    red, green, blue = (digest[(at + part) % len(digest)] for part in range(3))
    return red, green, blue


def _edited(drawing: Drawing, inputs: Sequence[InputImage], mask: InputImage | None) -> Image.Image:
    """The inputs side by side, each filling its part, tinted in the colour of the seed."""
    size = (drawing.width, drawing.height)
    original = Image.new("RGB", size)
    for index, image in enumerate(inputs):
        left, right = (drawing.width * (index + step) // len(inputs) for step in (0, 1))
        part = ImageOps.fit(
            _open(image.data), (max(1, right - left), drawing.height), Image.Resampling.BILINEAR
        )
        original.paste(part, (left, 0))
    tint = Image.new("RGB", size, _colour(hashlib.sha256(drawing.seed.encode()).digest(), 0))
    edited = Image.blend(original, tint, 0.35)
    if mask is None:
        return edited
    keep = _open(mask.data, "RGBA").getchannel("A").resize(size, Image.Resampling.NEAREST)
    return Image.composite(original, edited, keep)


def _open(data: bytes, mode: str = "RGB") -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data))
        picture.draft(mode, (512, 512))
        return picture.convert(mode)
    except Exception as error:
        # Pillow's decoders raise whatever the damage leads to: OSError, SyntaxError, ValueError,
        # struct.error, ...
        raise NotAPicture(f"{type(error).__name__}: {error}") from error


def _write_mark(picture: Image.Image, caption: str) -> None:
    pen = ImageDraw.Draw(picture)
    edge = picture.width // 7
    mark = _font(min(edge, picture.height // 4))
    pen.text(
        (picture.width // 2, picture.height // 2),
        _MARK,
        "white",
        mark,
        "mm",
        stroke_width=max(1, edge // 16),
        stroke_fill="black",
    )
    size = min(picture.width, picture.height) // 28
    if size >= 8:
        lines = textwrap.wrap(caption, 48)[:4]
        position = (picture.width // 2, picture.height - size)
        pen.text(
            position,
            "\n".join(lines),
            "white",
            _font(size),
            "md",
            stroke_width=2,
            stroke_fill="black",
            align="center",
        )


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6, size))


def _encode(picture: Image.Image, drawing: Drawing) -> bytes:
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION], exif[_EXIF_SOFTWARE] = _DESCRIPTION, _SOFTWARE
    out = io.BytesIO()
    if drawing.media_type == "image/png":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Description", _DESCRIPTION)
        notes.add_text("Software", _SOFTWARE)
        picture.save(out, "PNG", compress_level=1, pnginfo=notes, exif=exif)
    elif drawing.media_type == "image/jpeg":
        quality = 85 if drawing.compression is None else max(1, min(95, drawing.compression))
        picture.save(out, "JPEG", quality=quality, exif=exif)
    else:
        quality = 80 if drawing.compression is None else drawing.compression
        picture.save(out, "WEBP", quality=quality, method=0, exif=exif)
    return out.getvalue()


def _dominant_colours(data: bytes, pixels: int) -> str:
    if pixels > _MAX_MEASURED_PIXELS:
        return "not measured, the picture is too large"
    small = _open(data).resize((48, 48), Image.Resampling.BOX).quantize(8)
    palette = small.getpalette() or []
    counts = {colour: count for count, colour in small.getcolors() or () if isinstance(colour, int)}
    total = sum(counts.values())
    return ", ".join(
        f"#{bytes(palette[colour * 3 : colour * 3 + 3]).hex()} {round(100 * count / total)} %"
        for colour, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_TOP_COLOURS]
    )
