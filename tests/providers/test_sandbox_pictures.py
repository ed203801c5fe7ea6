import base64
import io

import pytest
from PIL import Image
from sandboxes import NOW, model, picture

from rollout.core.images import ImageRequest
from rollout.core.input_images import InputImage
from rollout.providers.base import ImageCall
from rollout.providers.sandbox.images import SandboxImages, _Cache
from rollout.providers.sandbox.pictures import Drawing, NotAPicture, draw, facts
from rollout.providers.sandbox.works import Works


def drawn(media_type="image/png", **members):
    return Image.open(io.BytesIO(draw(Drawing("seed", "caption", 256, 192, media_type, **members))))


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_a_picture_says_sandbox_to_programs(media_type):
    exif = drawn(media_type).getexif()
    assert exif[0x010E].startswith("SANDBOX")
    assert exif[0x0131] == "Phasegate sandbox"
    if media_type == "image/png":
        assert drawn().text["Description"].startswith("SANDBOX")


def test_a_picture_says_sandbox_to_people():
    middle = drawn().convert("RGB").crop((50, 70, 206, 122))
    colours = {colour for _, colour in middle.getcolors(100_000)}
    assert {(255, 255, 255), (0, 0, 0)} <= colours


def test_a_transparent_background_is_transparent():
    assert drawn(transparent=True).getpixel((0, 0))[3] in (0, 255)
    assert drawn(transparent=True).getchannel("A").getextrema()[0] == 0
    assert drawn("image/webp", transparent=True).mode == "RGBA"


def test_compression_makes_pictures_smaller():
    small, large = (len(draw(Drawing("s", "", 512, 512, "image/jpeg", compression=q))) for q in (5, 95))
    assert small < large


def test_an_edit_shows_its_input_and_a_mask_keeps_what_it_covers():
    red = InputImage(picture(colour="red"), "image/png", 64, 48)
    half = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 64, 24))
    out = io.BytesIO()
    half.save(out, "PNG")
    mask = InputImage(out.getvalue(), "image/png", 64, 48)
    edited = Image.open(io.BytesIO(draw(Drawing("seed", "", 640, 480, "image/png"), [red], mask)))
    assert edited.getpixel((5, 470)) == (255, 0, 0)
    top = edited.getpixel((5, 5))
    assert top != (255, 0, 0)
    assert top[0] > max(top[1:])


def test_facts_are_true():
    told = facts(picture("JPEG", 10, 20), "image/jpeg", 10, 20)
    assert told.startswith("JPEG, 10x20 pixels, ")
    assert "#fe0000 100 %" in told


def test_a_damaged_picture_has_no_facts():
    with pytest.raises(NotAPicture):
        facts(picture(width=500, height=500)[:200], "image/png", 500, 500)


def test_a_picture_is_drawn_once_and_then_remembered(monkeypatch):
    from rollout.providers.sandbox import images

    calls = []
    monkeypatch.setattr(images, "draw", lambda *args: calls.append(args) or picture())
    port = SandboxImages(Works(lambda: NOW), lambda seconds: None, 1)
    request = ImageRequest("generate", "a fox", "gpt-image-2", size="64x64")
    for _ in range(3):
        port.generate(ImageCall(model("gpt-image-2"), request))
    assert len(calls) == 1


def test_the_memory_of_pictures_is_bounded():
    cache = _Cache(most_bytes=10)
    for key in ("a", "b", "c"):
        cache.put(key, b"1234")
    assert [cache.get(key) for key in ("a", "b", "c")] == [None, b"1234", b"1234"]
    cache.get("b")
    cache.put("d", b"1234")
    assert [cache.get(key) for key in ("b", "c", "d")] == [b"1234", None, b"1234"]
    assert base64.b64encode(cache.put("b", b"12")) == b"MTI="


def test_a_call_waits_as_long_as_its_prompt_says():
    waited = []
    port = SandboxImages(Works(lambda: NOW), waited.append, 99)
    request = ImageRequest("generate", "sandbox:slow=3s x", "gpt-image-2", size="16x16")
    port.generate(ImageCall(model("gpt-image-2"), request))
    assert waited == [3.0]
