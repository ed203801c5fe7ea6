"""The port to where pictures are kept: bytes once, under their sha256.

Whose they are, and until when, stands in rows.
"""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    def put(self, data: bytes) -> str:
        """Keep `data` durably; its sha256 in hex. Raises OSError."""
        ...

    def get(self, sha256: str) -> bytes | None:
        """The bytes, or None when they are not (or no longer) kept. Raises OSError."""
        ...

    def delete(self, sha256: str, *, put_before: float) -> None:
        """Forget the bytes, unless somebody put them at or after `put_before` (UTC epoch seconds): that one's
        row may not be written yet. Nothing kept under that name: nothing to do. Raises OSError."""
        ...
