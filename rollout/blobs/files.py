"""Blobs as files: `folder/ab/cdef...`, written aside, flushed to disk, then renamed.

Nobody sees half a file, and what was put survives a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


class FileBlobs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        file = self._file(sha256)
        try:
            os.utime(file)  # tells `delete` that these bytes were wanted again
        except FileNotFoundError:
            self._write(file, data)
        return sha256

    def get(self, sha256: str) -> bytes | None:
        try:
            return self._file(sha256).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, sha256: str, *, put_before: float) -> None:
        file = self._file(sha256)
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime < put_before:
                file.unlink()

    def _file(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:]

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, aside = tempfile.mkstemp(dir=file.parent, prefix=".put-")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            Path(aside).replace(file)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        _flush_folder(file.parent)


def _flush_folder(folder: Path) -> None:
    """A rename is durable only once the folder's own entry is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
