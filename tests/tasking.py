"""Named tasks wired on the gateway, the answers of a vendor to them, and labels that the sandbox can read."""

from __future__ import annotations

import base64
import io
from typing import Any

import doors
import orjson
from flask import Flask
from gateway import RETENTION_DAYS, Door, Gateway
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from werkzeug.test import TestResponse

from rollout.api.native import analyses, product_tables
from rollout.core.tenants import SCOPES, Mode, Scope
from rollout.services.analysis_results import AnalysisResults
from rollout.services.changes import Changes
from rollout.services.product_tables import ProductTables
from rollout.services.task_pictures import TaskPictures
from rollout.services.tasks import Tasks


class Tasking(Gateway):
    def _wire(self, *arguments: Any) -> None:
        super()._wire(*arguments)
        services = self.services
        services.product_tables = ProductTables(self.database, Changes(self.database), self.new_id)
        services.analysis_results = AnalysisResults(self.database, retention_days=RETENTION_DAYS)
        services.tasks = Tasks(
            services.features,
            self.ledger,
            services.routing,
            self._providers,
            self.new_id,
            secret=doors.SECRET,
            pictures=TaskPictures(self.database, self.blobs),
            tables=services.product_tables,
            results=services.analysis_results,
        )

    def _app(self, *arguments: Any) -> Flask:
        app = super()._app(*arguments)
        for routes in (analyses, product_tables):
            app.register_blueprint(routes.routes)
        return app

    def door(
        self, tenant_id: str = "acme", mode: Mode = "live", scopes: tuple[Scope, ...] = SCOPES
    ) -> TaskDoor:
        return TaskDoor(self.app.test_client(), super().door(tenant_id, mode, scopes).secret)

    def sent(self) -> list[Any]:
        """The bodies that the vendor was sent."""
        return [orjson.loads(call.body) for call in self.vendor.calls]


class TaskDoor(Door):
    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> TestResponse:
        return self._client.open(path, method=method, data=body, headers=self._headers(headers))


def ask(door: Door, task: str = "describe", **members: Any) -> TestResponse:
    """`headers` as keyword arguments that begin with a capital letter."""
    headers = {name: members.pop(name) for name in list(members) if name[0].isupper()}
    body = {"task": task, "images": [{"data": encoded(label_png())}], **members}
    return door.post("/api/v1/analyses", body, **headers)


def replied(
    value: Any, *, stop_reason: str = "end_turn", usage: tuple[int, int] | None = (1_000, 200), **more: Any
) -> bytes:
    """A Messages answer whose text is `value` as JSON, or (str) as it is; `usage` in tokens in and out."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        **more,
    }
    if usage is not None:
        message["usage"] = dict(zip(("input_tokens", "output_tokens"), usage, strict=True))
    return orjson.dumps(message)


def label_png(*lines: str, size: tuple[int, int] = (320, 200)) -> bytes:
    """A picture with these lines written on it, and as its text `Label`."""
    picture = Image.new("RGB", size, "white")
    text = "\n".join(lines)
    ImageDraw.Draw(picture).multiline_text((12, 12), text, fill="black")
    notes = PngInfo()
    notes.add_itxt("Label", text)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
