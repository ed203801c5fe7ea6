"""Files for browsers: named by their content, so that they may be kept for ever; gzipped once at start."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from flask import Response, request

from rollout.errors import NotFound

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    media_type: str
    content: bytes
    gzipped: bytes


class Assets:
    """The files of a folder that browsers may load, under `prefix`: `console.css` is at `<prefix>/console.<hash>.css`."""

    def __init__(self, folder: Traversable, prefix: str) -> None:
        self._prefix = prefix
        self._by_path: dict[str, Asset] = {}
        self._paths: dict[str, str] = {}
        for file in _loadable(folder):
            stem, _, kind = file.name.rpartition(".")
            content = file.read_bytes()
            path = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
            self._by_path[path] = Asset(MEDIA_TYPES[kind], content, gzip.compress(content, 9, mtime=0))
            self._paths[file.name] = path

    def url(self, name: str) -> str:
        """Raises KeyError for a file that is not there."""
        return f"{self._prefix}/{self._paths[name]}"

    def send(self, path: str) -> Response:
        """Raises NotFound, also for an older version of a file."""
        asset = self._by_path.get(path)
        if asset is None:
            raise NotFound()
        response = Response(content_type=asset.media_type)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return zipped(response, asset.content, asset.gzipped)


def zipped(response: Response, content: bytes, gzipped: bytes | None = None) -> Response:
    """`response` with `content` as its body, gzipped for those who take it."""
    response.headers["Vary"] = "Accept-Encoding"
    if request.accept_encodings.quality("gzip"):
        response.headers["Content-Encoding"] = "gzip"
        content = gzip.compress(content, 5) if gzipped is None else gzipped
    response.set_data(content)
    return response


def _loadable(folder: Traversable) -> Iterable[Traversable]:
    return (file for file in folder.iterdir() if file.name.rpartition(".")[2] in MEDIA_TYPES)
