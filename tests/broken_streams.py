"""Streams that the vendor breaks, on every route that streams; what each SDK makes of it is one table."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

MODEL, CLAUDE, LLAMA, GROK = "gpt-image-2.6-flare", "claude-sonnet-5-5", "llama-3.2-90b-vision", "grok-4"


@dataclass(frozen=True)
class Row:
    """What the vendor is told, and what the caller hears: `code`, and `status` where it comes before any event."""

    fault: str
    code: str
    status: int | None = None


ROWS = [
    Row("cut=1", "outcome_unknown"),
    Row("json", "upstream_unavailable", 502),
    Row("malformed", "upstream_unavailable", 502),
    Row("html", "upstream_unavailable", 502),
    Row("drop", "outcome_unknown", 504),
]
ROUTES = ("generate", "edit", "messages", "llama", "grok")


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    return out.getvalue()


def body(route: str, row: Row) -> dict[str, Any]:
    """The call's arguments; of an edit without its picture."""
    prompt = f"sandbox:{row.fault} a boat"
    if route in ("generate", "edit"):
        return {
            "model": MODEL, "prompt": prompt, "size": "1024x1024", "quality": "low",
            "stream": True, "partial_images": 1,
        }  # fmt: skip
    if route == "messages":
        return {"model": CLAUDE, "max_tokens": 100, "stream": True, "messages": _asked(prompt)}
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    model = LLAMA if route == "llama" else GROK
    return {"model": model, "max_tokens": 100, "stream": True, "messages": _asked(prompt, picture)}


def _asked(prompt: str, *more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": prompt}, *more]}]
