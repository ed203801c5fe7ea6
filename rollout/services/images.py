"""Delivered pictures: their signed, expiring addresses, and how they are forgotten when their time
is over."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

import structlog

from rollout.blobs.base import Blobs
from rollout.core.uses import StoredImage
from rollout.db import images
from rollout.db.engine import Clock, Database
from rollout.errors import NotFound, ResultPurged

log = structlog.get_logger()

SETTLING_SECONDS = 3600
"""A picture's bytes are put before the row that owns them is written; younger bytes are not
deleted."""


@dataclass(frozen=True)
class Signed:
    """What the query of a picture's address carries: whose it is, until when (UTC epoch seconds),
    which key signed it."""

    tenant_id: str
    expires_at: int
    key_id: str
    signature: str


class Images:
    """`secret` signs addresses, `public_url` is what they begin with."""

    def __init__(
        self, database: Database, blobs: Blobs, secret: bytes, clock: Clock, public_url: str
    ) -> None:
        self._database, self._blobs, self._clock, self._public_url = database, blobs, clock, public_url
        self._secret = hmac.new(secret, b"image addresses", hashlib.sha256).digest()
        self._key_id = hashlib.sha256(self._secret).hexdigest()[:8]

    def url(self, tenant_id: str, image_id: str, expires_at: int) -> str:
        """The address under which anybody may fetch the picture until `expires_at`."""
        return self._public_url + self.path(tenant_id, image_id, expires_at)

    def path(self, tenant_id: str, image_id: str, expires_at: int) -> str:
        """The same for pages of this service, by whatever name they are reached."""
        signature = self._signature(tenant_id, image_id, expires_at)
        query = {"exp": expires_at, "kid": self._key_id, "t": tenant_id, "sig": signature}
        return f"/api/v1/images/{image_id}?{urlencode(query)}"

    def read(self, image_id: str, signed: Signed) -> tuple[StoredImage, bytes]:
        """The picture. Raises NotFound for an address that we did not sign, ResultPurged when its
        time is over."""
        genuine = self._signature(signed.tenant_id, image_id, signed.expires_at)
        if signed.key_id != self._key_id or not hmac.compare_digest(
            genuine.encode(), signed.signature.encode()
        ):
            raise NotFound(
                "There is no such picture.", remedy="Copy the whole address again, with its signature."
            )
        with self._database.read() as tx:
            found = images.get(tx, signed.tenant_id, image_id)
        now = self._clock()
        if found is None or min(found.expires_at, signed.expires_at) <= now:
            raise _purged()
        data = self._blobs.get(found.sha256)
        if data is None:
            raise _purged()
        return found, data

    def purge(self, limit: int = 500) -> int:
        """Forget pictures whose time is over; their bytes go with their last row. Returns how many
        were forgotten.

        Rows go first: a crash in between leaves bytes that nobody finds, never a row without bytes.
        """
        now = int(self._clock())
        with self._database.write() as tx:
            gone = images.expired(tx, now, limit)
            for picture in gone:
                images.delete(tx, picture)
            digests = {picture.sha256 for picture in gone}
            unowned = digests - images.still_kept(tx, sorted(digests))
        for sha256 in sorted(unowned):
            self._blobs.delete(sha256, put_before=now - SETTLING_SECONDS)
        if gone:
            log.info("pictures_purged", pictures=len(gone), files=len(unowned))
        return len(gone)

    def _signature(self, tenant_id: str, image_id: str, expires_at: int) -> str:
        text = f"{tenant_id}\n{image_id}\n{expires_at}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def _purged() -> ResultPurged:
    return ResultPurged(
        "This picture is no longer kept.", remedy="Pictures are kept for a limited time; generate it again."
    )
