"""Bytes kept as files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rollout.blobs.files import FileBlobs

DATA = b"a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_what_was_put_is_there_once_under_its_sum(folder: Path) -> None:
    blobs = FileBlobs(folder)

    assert [blobs.put(DATA), blobs.put(DATA)] == [SHA256, SHA256]
    assert blobs.get(SHA256) == DATA
    assert files(folder) == [folder / SHA256[:2] / SHA256[2:]]


def test_what_was_never_put_is_not_there(folder: Path) -> None:
    assert FileBlobs(folder).get(SHA256) is None


def test_bytes_are_deleted_unless_they_were_put_again_since(folder: Path) -> None:
    blobs = FileBlobs(folder)
    blobs.put(DATA)
    os.utime(folder / SHA256[:2] / SHA256[2:], (1000, 1000))

    blobs.delete(SHA256, put_before=1000)
    assert blobs.get(SHA256) == DATA

    blobs.put(DATA)
    blobs.delete(SHA256, put_before=1001)
    assert blobs.get(SHA256) == DATA

    os.utime(folder / SHA256[:2] / SHA256[2:], (1000, 1000))
    blobs.delete(SHA256, put_before=1001)
    blobs.delete(SHA256, put_before=1001)
    assert blobs.get(SHA256) is None


def test_a_write_that_fails_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        FileBlobs(folder).put(DATA)

    assert files(folder) == []
