"""OpenAI's images as the vendor answers them: generations, edits, streams of either, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from rollout.core.catalogue import Usage
from rollout.core.guardrails import Point
from rollout.core.images import Finished, Member, Operation, Partial, Picture, parse_image_request
from rollout.core.input_images import Upload
from rollout.core.steering import parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import ImageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, json_reply, vendor_status

WIRE = "openai_images"
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIImagesSandbox:
    """The images of OpenAI and of who speaks its wire."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = SandboxImages(bench.works, bench.sleep, bench.hang_seconds)

    def make(
        self,
        request_id: str,
        operation: Operation,
        members: Mapping[str, Member],
        images: Sequence[Upload] = (),
        mask: Upload | None = None,
    ) -> Reply:
        """/v1/images/generations and /v1/images/edits. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._make(work, operation, members, images, mask)

    def _make(
        self,
        work: Work,
        operation: Operation,
        members: Mapping[str, Member],
        images: Sequence[Upload],
        mask: Upload | None,
    ) -> Reply:
        try:
            model = self._bench.model(_text(members.get("model")), WIRE)
            request = parse_image_request(operation, members, images, mask, model)
            steering = parse_steering(request.prompt)
        except RolloutError as error:
            return refusal(
                vendor_status(error), error.message, code=error.code, param=error.members.get("param")
            )
        work.until = self._bench.clock() + steering.takes
        told = self._bench.fault(refusal, steering, streaming=request.stream)
        if told:
            return told
        late = request.stream and steering.flagged == "output"
        try:
            finished = self._images.make(
                ImageCall(model, request), replace(steering, flagged=None) if late else steering
            )
        except Rejected as rejected:
            return refusal(400, rejected.message, code="invalid_image_file", param=rejected.param)
        except Refused as refused:
            return json_reply({"error": _blocked(refused.category, refused.point)}, 400)
        work.finish(len(finished.pictures), finished.usage)
        if not request.stream:
            return self._bench.json(_body(finished), steering)
        kind = "image_generation" if operation == "generate" else "image_edit"
        return self._bench.stream(_events(kind, self._images.partials(request), finished, late), steering)


def refusal(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Reply:
    """An error in OpenAI's envelope."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return json_reply({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def _text(member: Member | None) -> str:
    """A scalar as text whatever its form; what is none becomes a name that no model has."""
    return bytes(member or b"").decode("utf-8", "replace").strip('"')


def _blocked(category: str, point: Point) -> dict[str, Any]:
    """OpenAI's error object for content; category and point stand in the message."""
    what = "generated image" if point == "output_image" else "request"
    return {
        "message": f"SANDBOX: {what} rejected by the safety system. safety_violations=[{category}].",
        "type": "image_generation_user_error",
        "param": None,
        "code": "moderation_blocked",
    }


def _body(finished: Finished) -> dict[str, Any]:
    body: dict[str, Any] = {"created": finished.created, **_about(finished)}
    body["data"] = [{"b64_json": _quoted(picture)} for picture in finished.pictures]
    if finished.usage:
        body["usage"] = _usage(finished.usage)
    return body


def _events(kind: str, partials: Iterator[Partial], finished: Finished, refused: bool) -> Iterator[bytes]:
    """Partial images, then a completed event for each picture, or the error of a refusal after the work."""
    about = {"created_at": finished.created, **_about(finished)}
    for partial in partials:
        shown = {"b64_json": _quoted(partial.picture), "partial_image_index": partial.index}
        yield _event(f"{kind}.partial_image", **shown, **about)
    if refused:
        yield _event("error", error=_blocked("policy", "output_image"))
        return
    for index, picture in enumerate(finished.pictures):
        usage = _share(finished.usage, index, len(finished.pictures))
        told = {"usage": _usage(usage)} if usage else {}
        yield _event(f"{kind}.completed", b64_json=_quoted(picture), **about, **told)


def _about(finished: Finished) -> dict[str, Any]:
    names = ("background", "output_format", "quality", "size")
    return {name: getattr(finished, name) for name in names}


def _share(usage: Usage | None, index: int, pictures: int) -> Usage | None:
    """What one of several completed events tells: its part of the output, and the input with the first."""
    if usage is None:
        return None
    output = usage.output * (index + 1) // pictures - usage.output * index // pictures
    return replace(usage, output=output) if index == 0 else Usage(output=output)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"text_tokens": usage.text_in, "image_tokens": usage.image_in},
        "output_tokens": usage.output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": usage.output},
        "total_tokens": usage.input + usage.output,
    }


def _quoted(picture: Picture) -> msgspec.Raw:
    return msgspec.Raw(b'"' + picture.b64 + b'"')


def _event(name: str, **members: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode({"type": name, **members}) + b"\n\n"
