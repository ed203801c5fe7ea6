"""What becomes of a generation's work: pictures kept, the work charged, its answer stored and replayed.

Pictures' bytes go to the blob store before the transaction that charges the work and writes their rows: a crash in
between leaves bytes that nobody owns, never a row without bytes.
"""

from __future__ import annotations

import binascii
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pybase64

from rollout.blobs.base import Blobs
from rollout.core.catalogue import Cost, Model, Usage
from rollout.core.extensions import NONE, Extensions
from rollout.core.feedback import make_handle
from rollout.core.holds import Actual, StoredResult
from rollout.core.images import Finished, ImageRequest, Picture
from rollout.core.pictures import media_type_of
from rollout.core.prices import actual_image_cost, tells_cost, usage_image_cost
from rollout.core.uses import StoredImage
from rollout.db import images
from rollout.db.engine import Tx
from rollout.errors import ResultPurged, UpstreamFailed
from rollout.providers.base import Fault, ImageCall, NoPicture, Refused
from rollout.services import upstream
from rollout.services.calls import Told
from rollout.services.guardrails import noted
from rollout.services.ids import NewId
from rollout.services.ledger import Held
from rollout.services.writer import Also

WITHHELD = "The feature was switched off while this was made; it is charged but not delivered."


@dataclass(frozen=True)
class Work:
    """Pictures to be made, after every check; `headers` are those of its answer, `end_user` is whom the tenant serves,
    `asked_for` the prompt as the caller wrote it. `refined`: what came of rewriting it, where that was asked for."""

    tenant_id: str
    generation_id: str
    end_user: str | None
    to_send: ImageCall
    headers: Mapping[str, str]
    asked_for: str
    extensions: Extensions = NONE
    refined: Mapping[str, Any] | None = None

    @property
    def model(self) -> Model:
        return self.to_send.model

    @property
    def request(self) -> ImageRequest:
        return self.to_send.request


@dataclass(frozen=True)
class Delivered:
    """Finished pictures: `result` as it is stored, and by sha256 the base64 text of what it refers to. `evaluation`: what was
    found of them, where that was asked for and waited for."""

    tenant_id: str
    result: StoredResult
    told: Told
    pictures: Mapping[str, bytes]
    evaluation: Mapping[str, Any] | None = None

    @property
    def extensions(self) -> dict[str, Any]:
        """What came of the extensions that were asked for, by name."""
        found = {"refine_prompt": self.result.body.get("refine_prompt"), "evaluate": self.evaluation}
        return {name: value for name, value in found.items() if value is not None}


class Results:
    """`secret` keys feedback handles; `retention_days` is how long pictures are kept."""

    def __init__(self, blobs: Blobs, new_id: NewId, *, secret: bytes, retention_days: int) -> None:
        self._blobs, self._new_id = blobs, new_id
        self._secret, self._retention = secret, retention_days * 86_400

    def headers(self, work: Work, held: Held) -> dict[str, str]:
        """Those of the work's answer, with its id and the handle by which it is rated."""
        expires_at = held.now + self._retention
        handle = make_handle(self._secret, work.tenant_id, work.generation_id, work.end_user, expires_at)
        return {**work.headers, "x-rollout-feedback": handle, "x-rollout-generation": work.generation_id}

    def settle(
        self, work: Work, held: Held, told: Told, finished: Finished, *, also: Also | None = None
    ) -> Delivered:
        """Keep the pictures, charge the work, and write both down in one transaction, and what `also` writes. Raises Fault for what
        is no picture."""
        held.upstream_id = finished.vendor_request_id or held.upstream_id
        expires_at = held.now + self._retention
        kept = [
            self._keep(work, position, picture, expires_at)
            for position, picture in enumerate(finished.pictures)
        ]
        result = StoredResult(200, told.headers, _result_body(work, finished, kept, expires_at))

        def own(tx: Tx, now: int) -> None:
            images.add(tx, [dataclasses.replace(image, created_at=now) for image in kept])
            if also is not None:
                also(tx, now)

        cost = actual_image_cost(work.model, work.request, finished)
        actual = Actual(cost, len(kept), _usage(finished.usage), held.upstream_id)
        held.settle(actual, result, also=own)
        texts = {image.sha256: picture.b64 for image, picture in zip(kept, finished.pictures, strict=True)}
        return Delivered(work.tenant_id, result, told, texts)

    @contextlib.contextmanager
    def failures_settled(self, work: Work, held: Held) -> Iterator[None]:
        """A refusal for content, and work that led to no picture, are the vendor's answer: charged as far as it was billed, kept,
        and replayed."""
        try:
            yield
        except Refused as refused:
            self._settle_failure(
                work,
                held,
                refused,
                StoredResult(
                    400, work.headers, {"generation": work.generation_id, "category": refused.category}
                ),
            )
            raise
        except NoPicture as nothing:
            self._settle_failure(
                work, held, nothing, StoredResult(502, work.headers, {"generation": work.generation_id})
            )
            raise

    def replayed(self, tenant_id: str, result: StoredResult, told: Told) -> Delivered:
        """The stored answer, as it was first given. Raises ContentRefused and UpstreamFailed if that was it, ResultPurged when
        pictures are gone."""
        if result.status == 400:
            raise upstream.refusal(result.body["category"], told.headers)
        if result.status != 200:
            raise UpstreamFailed(headers=told.headers)
        texts = {}
        if result.body["response_format"] == "b64_json":
            texts = {image["$blob"]: self._stored_text(image["$blob"]) for image in result.body["images"]}
        if not all(texts.values()):
            raise ResultPurged(
                "The pictures of this request are no longer kept.",
                generation=result.body["generation"],
                images=[image["id"] for image in result.body["images"]],
                headers=told.headers,
            )
        return Delivered(tenant_id, result, told, texts)

    def _settle_failure(
        self, work: Work, held: Held, failed: Refused | NoPicture, result: StoredResult
    ) -> None:
        usage = failed.usage
        unbilled = Cost(0, "price_list", work.model.price.id)
        cost = usage_image_cost(work.model, usage) if tells_cost(usage, work.model) else unbilled
        actual = Actual(cost, 0, _usage(usage), failed.vendor_request_id or held.upstream_id)
        if isinstance(failed, Refused):
            event = noted(work.tenant_id, held.id, failed.category, failed.point, failed.vendor_code)
            held.settle(actual, result, also=event)
        else:
            held.settle(actual, result, why="the work led to no picture")

    def _keep(self, work: Work, position: int, picture: Picture, expires_at: int) -> StoredImage:
        """The picture's bytes in the store. Raises Fault for what is no picture."""
        data, media_type = _decoded(picture)
        return StoredImage(
            tenant_id=work.tenant_id,
            id=self._new_id("img"),
            generation_id=work.generation_id,
            position=position,
            sha256=self._blobs.put(data),
            media_type=media_type,
            bytes=len(data),
            created_at=0,
            expires_at=expires_at,
        )

    def _stored_text(self, sha256: str) -> bytes:
        """The picture as base64 text; empty when it is no longer kept."""
        return pybase64.b64encode(self._blobs.get(sha256) or b"")


def _decoded(picture: Picture) -> tuple[bytes, str]:
    """The picture's bytes and the type that they show. Raises Fault when they are none."""
    try:
        data = pybase64.b64decode(picture.b64, validate=True)
    except binascii.Error as error:
        raise Fault(f"the vendor sent broken base64: {error}") from error
    media_type = media_type_of(data)
    if media_type is None:
        raise Fault("the vendor sent something that is no picture")
    return data, media_type


def _usage(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else dataclasses.asdict(usage)


def _result_body(
    work: Work, finished: Finished, kept: Sequence[StoredImage], expires_at: int
) -> dict[str, Any]:
    """What is stored for replays; from it, and from it alone, every answer is rendered."""
    refined = (work.refined or {}).get("prompt")
    revised = [picture.revised_prompt or refined for picture in finished.pictures]
    return {
        "generation": work.generation_id,
        "operation": work.request.operation,
        "response_format": work.request.response_format,
        "created": finished.created,
        "images": [
            {"id": image.id, "$blob": image.sha256, "media_type": image.media_type, "revised_prompt": prompt}
            for image, prompt in zip(kept, revised, strict=True)
        ],
        "size": finished.size,
        "quality": finished.quality,
        "background": finished.background,
        "output_format": finished.output_format,
        "usage": _usage(finished.usage),
        "expires_at": expires_at,
        "refine_prompt": work.refined,
        "evaluate": work.extensions.evaluate,
    }
