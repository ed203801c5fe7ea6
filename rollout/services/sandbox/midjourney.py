"""Midjourney's tasks as CometAPI answers them: codes of a submit, a task that comes on with each look, a picture at an address."""

from __future__ import annotations

import binascii
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import pybase64

from rollout.core.catalogue import Model
from rollout.core.images import ImageRequest, aspect_ratio_of
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.steering import Steering, parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import ImageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.tasks import FAILURE, percent_after
from rollout.services.sandbox.bench import Bench, Reply, json_reply

WIRE = "midjourney"
_KEPT = 1_000
_PROMPT = re.compile(r"(?P<text>.+?)(?: --ar (?P<ratio>[\d.]+:[\d.]+))? --v (?P<version>[\d.]+)", re.DOTALL)
_CODES = {400: 4, 429: 23}
"""What the wire says by code, where others say it by status."""


class _Filter(msgspec.Struct, forbid_unknown_fields=True):
    modes: list[Literal["RELAX", "FAST", "TURBO"]] = []


class _Asked(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    prompt: str
    bot_type: Literal["MID_JOURNEY", "NIJI_JOURNEY"] = "MID_JOURNEY"
    base64_array: list[str] = []
    account_filter: _Filter = msgspec.field(default_factory=_Filter)
    notify_hook: str | None = None
    state: str = ""


@dataclass
class _Task:
    call: ImageCall
    steering: Steering
    prompt: str
    state: str
    looks: int = 0


class MidjourneySandbox:
    """The latest tasks, in memory."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = SandboxImages(bench.works, bench.sleep, bench.hang_seconds)
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, request_id: str, mode: str, body: bytes) -> Reply:
        """/mj-{mode}/mj/submit/imagine. Raises ConnectionDropped."""
        try:
            asked = msgspec.json.decode(body, type=_Asked)
            call = ImageCall(*_request(asked, mode, self._bench))
            steering = parse_steering(call.request.prompt)
        except (RolloutError, msgspec.DecodeError, binascii.Error, Rejected) as error:
            return refusal(400, str(error))
        fails_later = steering.code == FAILURE
        shown = replace(steering, error=None) if fails_later else steering
        if told := self._bench.fault(refusal, shown, streaming=False):
            return told
        if steering.refuse or steering.flagged == "input":
            return _told(24, f"Banned prompt: {steering.refuse or 'policy'}", None)
        task_id = f"17{request_id.rpartition('_')[2]:0>14}"
        with self._lock:
            self._tasks[task_id] = _Task(call, steering, asked.prompt, asked.state)
            while len(self._tasks) > _KEPT:
                self._tasks.popitem(last=False)
        return self._bench.json({"code": 1, "description": "Submit success", "result": task_id}, steering)

    def look(self, task_id: str, host: str) -> Reply:
        """/mj/task/{id}/fetch; its picture lies at `host`."""
        task = self._tasks.get(task_id)
        if task is None:
            return json_reply({"code": 4, "description": f"task {task_id[:100]} not found"}, 404)
        task.looks += 1
        percent = percent_after(task.looks, task.steering)
        told = {"id": task_id, "action": "IMAGINE", "prompt": task.prompt, "state": task.state}
        if percent is not None:
            return json_reply(told | {"status": "IN_PROGRESS", "progress": f"{percent}%"})
        if task.steering.code == FAILURE or task.steering.flagged == "output":
            why = "Flagged by the AI moderators" if task.steering.flagged else "SANDBOX: told to fail"
            return json_reply(told | {"status": "FAILURE", "progress": "100%", "failReason": why})
        picture = {"imageUrl": f"{host}/mj/pictures/{task_id}", "buttons": _BUTTONS}
        return json_reply(told | {"status": "SUCCESS", "progress": "100%", **picture})

    def picture(self, task_id: str) -> Reply:
        """/mj/pictures/{id}, for anybody."""
        task = self._tasks.get(task_id)
        try:
            made = self._images.make(task.call, task.steering) if task else None
        except (Refused, Rejected):
            made = None
        if made is None:
            return json_reply({"code": 4, "description": "no such picture"}, 404)
        (picture,) = made.pictures
        return Reply(200, picture.media_type, [pybase64.b64decode(picture.b64)])


_BUTTONS = [{"customId": f"MJ::JOB::upsample::{index}", "label": f"U{index}"} for index in range(1, 5)]


def refusal(status: int, message: str, *, code: str | None = None) -> Reply:
    """An error in the wire's envelope: where it has a code for it, of status 200."""
    known = _CODES.get(status)
    return _told(known or status, message, None, 200 if known else status)


def _told(code: int, description: str, result: str | None, status: int = 200) -> Reply:
    return json_reply({"code": code, "description": description, "result": result, "properties": {}}, status)


def _request(asked: _Asked, mode: str, bench: Bench) -> tuple[Model, ImageRequest]:
    """Raises ModelNotFound, Rejected, binascii.Error."""
    found = _PROMPT.fullmatch(asked.prompt)
    if found is None or asked.account_filter.modes not in ([], [mode.upper()]):
        raise Rejected("SANDBOX: the prompt ends with --ar and --v, and the modes are those of the path")
    model = bench.model(found["version"], WIRE)
    sizes = [size for size in model.sizes if aspect_ratio_of(size) == (found["ratio"] or "1:1")]
    if not sizes or mode not in model.qualities or len(asked.base64_array) > model.max_input_images:
        raise Rejected("SANDBOX: no such ratio or mode, or too many pictures")
    images = tuple(map(_input, asked.base64_array))
    operation: Literal["edit", "generate"] = "edit" if images else "generate"
    request = ImageRequest(operation, found["text"], model.name, size=sizes[0], quality=mode, images=images)
    return model, request


def _input(told: str) -> InputImage:
    head, _, data = told.partition(";base64,")
    if not head.startswith("data:image/"):
        raise Rejected("SANDBOX: pictures are taken as data URLs")
    decoded = pybase64.b64decode(data, validate=True)
    return InputImage(decoded, *media_type_and_size(decoded))
