"""Generate pictures: decision, model, request, worst cost, hold, vendor, store, settle, answer.

Failure behaviour: closed. Without a decision, a price or the books nothing is started. Once the
vendor may have the call, every way out leaves a hold that is settled, void by the vendor's own
word, or unknown.
"""

from __future__ import annotations

import binascii
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64

from rollout.blobs.base import Blobs
from rollout.core import rehearsal
from rollout.core.catalogue import Cost, Resolved
from rollout.core.decisions import GENERATION, Decision
from rollout.core.feedback import check_end_user, make_handle
from rollout.core.holds import Actual, HoldRequest, StoredResult
from rollout.core.images import (
    Finished,
    ImageRequest,
    Member,
    Operation,
    Partial,
    Picture,
    parse_image_request,
)
from rollout.core.input_images import Upload
from rollout.core.meters import Unit
from rollout.core.pictures import media_type_of
from rollout.core.prices import actual_image_cost, maximum_image_cost, usage_image_cost
from rollout.core.uses import Generation, StoredImage
from rollout.db import generations, images
from rollout.db.engine import Tx
from rollout.errors import FeatureKilled, InvalidRequest, ResultPurged
from rollout.providers.base import Fault, ImageCall, Providers, Refused
from rollout.providers.base import Images as ImagesPort
from rollout.services import calls, upstream
from rollout.services.calls import Call, Delivery, Opened, Told
from rollout.services.catalogue import InForce
from rollout.services.features import Features
from rollout.services.guardrails import noted
from rollout.services.ids import NewId
from rollout.services.joins import Joins
from rollout.services.ledger import Held, Ledger

DEFAULT_MODEL = "gpt-image-2.5-flare"
"""Answers a request that names no model."""


@dataclass(frozen=True)
class Asked:
    """A request for pictures as it was sent: `members` but `rollout`, and the files of a form."""

    operation: Operation
    members: Mapping[str, Member]
    images: Sequence[Upload] = ()
    mask: Upload | None = None


@dataclass(frozen=True)
class Preview:
    """A picture on its way, and the request that it belongs to; `at` in UTC epoch seconds."""

    partial: Partial
    request: ImageRequest
    at: int


@dataclass(frozen=True)
class Delivered:
    """Finished pictures: `result` as it is stored, and by sha256 the base64 text of what it refers to."""

    tenant_id: str
    result: StoredResult
    told: Told
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class _Work:
    """A request that has passed every check before the hold."""

    call: Call
    decision: Decision
    resolved: Resolved
    request: ImageRequest
    maximum: Cost
    generation_id: str
    end_user: str | None
    vendor: str
    port: ImagesPort
    to_send: ImageCall
    headers: Mapping[str, str]


class Generate:
    """`secret` keys feedback handles and what vendors learn of end users; `retention_days` is how
    long pictures are kept."""

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        joins: Joins,
        catalogue: InForce,
        providers: Providers,
        blobs: Blobs,
        new_id: NewId,
        *,
        secret: bytes,
        retention_days: int,
    ) -> None:
        self._features, self._ledger, self._joins, self._catalogue = features, ledger, joins, catalogue
        self._providers, self._blobs, self._new_id = providers, blobs, new_id
        self._secret, self._retention = secret, retention_days * 86_400

    def run(self, call: Call, asked: Asked) -> Delivered:
        """The pictures, made now or replayed. Raises RolloutError."""
        decision = calls.decide(self._features, call.identity, GENERATION)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked)
            with self._begun(work) as held:
                if isinstance(held, Delivered):
                    return held
                outcome.dispatched(held.id, work.headers)
                told, delivery = self._told(work, held)
                with _refusal_settled(work, held), delivery.watched():
                    finished = upstream.send(work.resolved.model, lambda: work.port.generate(work.to_send))
                delivered = self._settle(work, held, told, finished)
            self._check_not_withheld(work)
            return delivered

    def stream(self, call: Call, asked: Asked) -> Opened[Preview | Delivered]:
        """Partial pictures, then the Delivered, which comes only once it is settled. Raises
        RolloutError, also while iterating."""
        return Opened(self._parts(call, asked))

    def _parts(self, call: Call, asked: Asked) -> Iterator[Told | Preview | Delivered]:
        decision = calls.decide(self._features, call.identity, GENERATION)
        with upstream.outcome(decision) as outcome:
            work = self._prepare(call, decision, asked)
            with self._begun(work) as held:
                if isinstance(held, Delivered):
                    yield held.told
                    yield held
                    return
                outcome.dispatched(held.id, work.headers)
                told, delivery = self._told(work, held)
                yield told
                finished = yield from _passed_on(work, held, delivery)
                delivered = self._settle(work, held, told, finished)
            self._check_not_withheld(work)
            yield delivered

    def _prepare(self, call: Call, decision: Decision, asked: Asked) -> _Work:
        resolved = self._catalogue().resolve(_model_name(asked.members), GENERATION)
        calls.check_vendor(decision, resolved.model)
        self._features.check_vendor(resolved.model.vendor)
        request = parse_image_request(
            asked.operation, asked.members, asked.images, asked.mask, resolved.model
        )
        if call.is_test:
            rehearsal.check(request.prompt, decision.id)
        end_user = call.end_user or request.end_user
        vendor, port = self._providers.images(resolved.model, test=call.is_test)
        return _Work(
            call=call,
            decision=decision,
            resolved=resolved,
            request=request,
            maximum=maximum_image_cost(resolved.model, request),
            generation_id=self._new_id("gen"),
            end_user=check_end_user(end_user) if end_user else None,
            vendor=vendor,
            port=port,
            to_send=ImageCall(resolved.model, request, call.upstream_user(self._secret, end_user)),
            headers=calls.headers(call, decision, resolved, vendor, request.warnings),
        )

    @contextlib.contextmanager
    def _begun(self, work: _Work) -> Iterator[Held | Delivered]:
        """The work's hold, or the answer that an earlier try of the same call has brought."""
        call = work.call
        if (joined := self._joins.find(call)) is not None:
            told = calls.told_again(joined.result, (), 0, joined.delivery)
            yield self._replayed(call, joined.result, told)
            return
        with self._ledger.hold(_hold_request(work), also=_recorded(work)) as held:
            if held.replay is None:
                yield held
            else:
                told = calls.told_again(held.replay, held.limits, held.now)
                yield self._replayed(call, held.replay, told)

    def _settle(self, work: _Work, held: Held, told: Told, finished: Finished) -> Delivered:
        """Store the pictures, charge the work, and write both down in one transaction."""
        held.upstream_id = finished.vendor_request_id
        expires_at = held.now + self._retention
        kept = [
            self._keep(work, position, picture, expires_at)
            for position, picture in enumerate(finished.pictures)
        ]
        result = StoredResult(200, told.headers, _result_body(work, finished, kept, expires_at))

        def own(tx: Tx, now: int) -> None:
            images.add(tx, [dataclasses.replace(image, created_at=now) for image in kept])

        cost = actual_image_cost(work.resolved.model, work.request, finished)
        usage = None if finished.usage is None else dataclasses.asdict(finished.usage)
        held.settle(Actual(cost, len(kept), usage, finished.vendor_request_id), result, also=own)
        texts = {image.sha256: picture.b64 for image, picture in zip(kept, finished.pictures, strict=True)}
        return Delivered(work.call.tenant_id, result, told, texts)

    def _keep(self, work: _Work, position: int, picture: Picture, expires_at: int) -> StoredImage:
        """The picture's bytes in the store. Raises Fault for what is no picture."""
        data, media_type = _decoded(picture)
        return StoredImage(
            tenant_id=work.call.tenant_id,
            id=self._new_id("img"),
            generation_id=work.generation_id,
            position=position,
            sha256=self._blobs.put(data),
            media_type=media_type,
            bytes=len(data),
            created_at=0,
            expires_at=expires_at,
        )

    def _told(self, work: _Work, held: Held) -> tuple[Told, Delivery]:
        handle = make_handle(
            self._secret, work.call.tenant_id, work.generation_id, work.end_user, held.now + self._retention
        )
        delivery = self._joins.delivery(work.call, held.id)
        headers = {**work.headers, "x-rollout-feedback": handle}
        return Told(headers, held.limits, held.now, delivery), delivery

    def _replayed(self, call: Call, result: StoredResult, told: Told) -> Delivered:
        """The stored answer, as it was first given. Raises ContentRefused if that was it,
        ResultPurged when pictures are gone."""
        if result.status != 200:
            raise upstream.refusal(result.body["category"], told.headers)
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
        return Delivered(call.tenant_id, result, told, texts)

    def _stored_text(self, sha256: str) -> bytes:
        """The picture as base64 text; empty when it is no longer kept."""
        return pybase64.b64encode(self._blobs.get(sha256) or b"")

    def _check_not_withheld(self, work: _Work) -> None:
        """Raises FeatureKilled when a kill since the decision says that running work is charged but
        not delivered."""
        if self._features.withheld(work.call.identity.facts, work.decision, work.resolved.model.vendor):
            raise FeatureKilled(
                "The feature was switched off while this was made; it is charged but not delivered."
            )


def _hold_request(work: _Work) -> HoldRequest:
    amounts: dict[Unit, int] = {"image": work.request.n}
    return calls.hold_request(
        work.call, work.decision, work.resolved.model, work.vendor, work.maximum, amounts, work.end_user
    )


def _recorded(work: _Work) -> Callable[[Tx, str, int], None]:
    """The generation's row, to be written with the hold."""

    def write(tx: Tx, hold_id: str, now: int) -> None:
        facts = calls.use(work.call, work.decision, work.resolved, work.vendor, hold_id, now)
        generations.add(
            tx,
            Generation(
                id=work.generation_id,
                end_user=work.end_user,
                operation=work.request.operation,
                prompt=work.request.prompt,
                images_asked=work.request.n,
                **facts,
            ),
        )

    return write


def _passed_on(work: _Work, held: Held, delivery: Delivery) -> Generator[Preview, None, Finished]:
    """Partial pictures to the caller; the finished ones are returned, to be settled before anybody
    sees them."""
    finished = None
    with _refusal_settled(work, held), delivery.watched(), contextlib.ExitStack() as stack:
        events = upstream.send(
            work.resolved.model, lambda: stack.enter_context(work.port.stream(work.to_send))
        )
        for event in events:
            if isinstance(event, Finished):
                finished = event
            else:
                yield Preview(event, work.request, held.now)
    if finished is None:
        raise Fault("the stream ended without a finished picture")
    return finished


@contextlib.contextmanager
def _refusal_settled(work: _Work, held: Held) -> Iterator[None]:
    """A refusal for content is the vendor's answer: charged as far as it was billed, kept, and
    replayed."""
    try:
        yield
    except Refused as refused:
        model, usage = work.resolved.model, refused.usage
        cost = usage_image_cost(model, usage) if usage else Cost(0, "price_list", work.maximum.price_id)
        told = None if usage is None else dataclasses.asdict(usage)
        result = StoredResult(400, work.headers, {"category": refused.category})
        held.settle(
            Actual(cost, 0, told, refused.vendor_request_id),
            result,
            also=noted(work.call.tenant_id, held.id, refused.category, refused.point, refused.vendor_code),
        )
        raise


def _model_name(members: Mapping[str, Member]) -> str:
    member = members.get("model")
    if member is None or bytes(member) == b"null":
        return DEFAULT_MODEL
    try:
        return msgspec.json.decode(member, type=str) if isinstance(member, msgspec.Raw) else member.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("`model` must be a string.", param="model") from None


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


def _result_body(
    work: _Work, finished: Finished, kept: Sequence[StoredImage], expires_at: int
) -> dict[str, Any]:
    """What is stored for replays; from it, and from it alone, every answer is rendered."""
    revised = [picture.revised_prompt for picture in finished.pictures]
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
        "usage": None if finished.usage is None else dataclasses.asdict(finished.usage),
        "expires_at": expires_at,
    }
