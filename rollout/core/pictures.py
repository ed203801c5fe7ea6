"""What a picture is by its bytes: its type, its size, whether it is transparent or moves.

Only headers are read, never pixels. Source: the PNG, JPEG, WebP and GIF specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from zlib import crc32

from rollout.errors import InvalidRequest

MAX_EDGE = 16_384
MAX_PIXELS = 64_000_000


def media_type_and_size(data: bytes, param: str = "image") -> tuple[str, int, int]:
    """(media type, width, height) by the first bytes of a PNG, JPEG, WebP or GIF; pixels. Raises
    InvalidRequest naming `param`.

    Needs the header only: for a JPEG everything up to its first frame, which metadata may push beyond 64 KiB.
    """
    media_type = media_type_of(data)
    if media_type is None:
        raise InvalidRequest(f"`{param}` is not a PNG, JPEG, WebP or GIF picture.", param=param)
    size = _size_by_header(_HEADERS[media_type], data)
    if size is None:
        raise InvalidRequest(f"`{param}` is a damaged or cut {short_name(media_type)} picture.", param=param)
    if max(size) > MAX_EDGE or size[0] * size[1] > MAX_PIXELS:
        raise InvalidRequest(
            f"`{param}` says it is {size[0]}x{size[1]} pixels: "
            f"at most {MAX_EDGE} an edge and {MAX_PIXELS:,} in all.",
            param=param,
        )
    return media_type, *size


def media_type_of(head: bytes) -> str | None:
    """What the first 12 bytes show: the media type of a PNG, JPEG, WebP or GIF, else None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"GIF8"):
        return "image/gif"
    return None


def short_name(media_type: str) -> str:
    """`PNG` for image/png."""
    return media_type.removeprefix("image/").upper()


def _size_by_header(read: Callable[[bytes], tuple[int, int] | None], data: bytes) -> tuple[int, int] | None:
    """None for a header that is cut, contradicts itself, or says a picture has no pixels."""
    try:
        size = read(data)
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _png_size(data: bytes) -> tuple[int, int] | None:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    (checksum,) = struct.unpack_from(">I", data, 29)
    return (width, height) if (length, kind) == (13, b"IHDR") and crc32(data[12:29]) == checksum else None


def is_animated(data: bytes, media_type: str) -> bool:
    """Whether a picture moves: a PNG with an acTL chunk before its pixels, a WebP with the flag, any GIF."""
    if media_type == "image/png":
        return b"acTL" in _png_chunks(data)
    if media_type == "image/webp":
        return data[12:16] == b"VP8X" and bool(data[20] & 0x02)
    return media_type == "image/gif"


def png_has_alpha(data: bytes) -> bool:
    """Whether a PNG has an alpha channel, or transparency for a palette or a colour (its tRNS chunk stands
    before the pixels)."""
    return data[25] in (4, 6) or b"tRNS" in _png_chunks(data)


def _png_chunks(data: bytes) -> set[bytes]:
    """The kinds of chunks before the pixels."""
    kinds: set[bytes] = set()
    at = 8
    while at + 8 <= len(data) and b"IDAT" not in kinds:
        length, kind = struct.unpack_from(">I4s", data, at)
        kinds.add(kind)
        at += 12 + length
    return kinds


def _gif_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return (width, height) if data[3:6] in (b"87a", b"89a") else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        flags_and_edges = struct.unpack_from("<I3s3s", data, 20)
        width, height = (1 + int.from_bytes(edge, "little") for edge in flags_and_edges[1:])
        return width, height
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1) if data[20] == 0x2F else None
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return (width & 0x3FFF, height & 0x3FFF) if data[23:26] == b"\x9d\x01\x2a" else None
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the first frame header (SOF0..SOF15 without the tables DHT, JPG, DAC), walking over all segments
    before it."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            return None
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


_HEADERS: Mapping[str, Callable[[bytes], tuple[int, int] | None]] = {
    "image/png": _png_size,
    "image/jpeg": _jpeg_size,
    "image/webp": _webp_size,
    "image/gif": _gif_size,
}
