"""Pictures that cannot be edited, at the drop-in door: each is refused by its field, and nothing is held or sent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock
from gateway import Gateway, on_sqlite
from PIL import Image
from sandboxes import picture, png_header

from rollout.db.engine import Database

pytestmark = on_sqlite


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def moving(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


def part(data: bytes, name: str = "a.png", media_type: str = "image/png") -> tuple[io.BytesIO, str, str]:
    return io.BytesIO(data), name, media_type


CLEAR = picture("PNG", 32, 32, "RGBA", (0, 0, 0, 0))  # type: ignore[arg-type]

ODD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a mask of another size": (
        {"image": part(picture()), "mask": part(CLEAR)},
        "mask",
        "32x32 and the picture 64x48",
    ),
    "a mask that hides all": ({"image": part(picture()), "mask": part(picture())}, "mask", "alpha channel"),
    "twenty pictures": ({"image[]": [part(picture()) for _ in range(20)]}, "image", "at most 16 pictures"),
    "none at all": ({"prompt": "x"}, "image", "is required"),
    "a lie": ({"image": part(picture("JPEG"))}, "image", "claims to be image/png but is image/jpeg"),
    "a page": ({"image": part(b"<html>a page")}, "image", "not a PNG, JPEG, WebP or GIF"),
    "a moving PNG": ({"image": part(moving("PNG"))}, "image", "animated PNG"),
    "a moving WebP": ({"image": part(moving("WEBP"), "a.webp", "image/webp")}, "image", "animated WEBP"),
    "a GIF": ({"image": part(moving("GIF"), "a.gif", "image/gif")}, "image", "is a GIF"),
    "a bomb": ({"image": part(png_header(16_000, 16_000))}, "image", "says it is 16000x16000"),
    "a part of one": (
        {"image": part(picture("JPEG")[:20], "a.jpg", "image/jpeg")},
        "image",
        "damaged or cut",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_picture_is_refused_by_its_field_and_nothing_is_held(gateway: Gateway, odd: str) -> None:
    form, param, said = ODD[odd]
    answer = gateway.door().edit({"prompt": "at night", **form})
    assert answer.status_code == 400, answer.text
    error = answer.json["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert said in error["message"]
    assert gateway.holds() == []
    assert gateway.vendor.calls == []


def test_sixty_megabytes_are_refused_by_their_field_and_nothing_is_held(gateway: Gateway) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nat night\r\n--x\r\nContent-Disposition: form-data; '
    head += b'name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    body = head + picture() + bytes(60_000_000) + b"\r\n--x--\r\n"
    answer = gateway.door().post("/v1/images/edits", body, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "image")
    assert "smaller than 50 MB" in answer.json["error"]["message"]
    assert gateway.holds() == []


def test_what_a_model_cannot_do_says_what_would(gateway: Gateway) -> None:
    door = gateway.door()
    form = {"prompt": "x", "model": "grok-imagine-image-2.0", "image": part(picture())}
    masked = door.edit({**form, "mask": part(picture("PNG", 64, 48, "RGBA", (0, 0, 0, 0)))})  # type: ignore[arg-type]
    sized = door.generate(model="grok-imagine-image-2.0", size="1792x1024")
    assert (masked.status_code, masked.json["error"]["param"]) == (400, "mask")
    assert "say in the prompt what is to change" in masked.text
    assert (sized.status_code, sized.json["error"]["param"]) == (400, "size")
    assert "Ask for 16:9." in sized.text
    assert gateway.holds() == []
