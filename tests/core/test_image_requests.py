import io
import json
import struct
from dataclasses import replace
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sandboxes import model, picture, png_header

from rollout.core.images import aspect_ratio_of, parse_image_request, resolution_of
from rollout.core.input_images import Upload
from rollout.core.pictures import media_type_and_size, media_type_of
from rollout.errors import InvalidRequest

FLARE = model("gpt-image-2.5-flare")
FIXED = model("gpt-image-1.5")
PLAIN = replace(
    FLARE,
    name="plain",
    sizes=("1024x1024", "1344x768", "768x1344", "2688x1536"),
    size_rule=None,
    aspect_ratios=("1:1", "16:9", "9:16"),
    qualities=(),
    formats=(),
    transparency=False,
    max_images=4,
    max_input_images=0,
    streams=False,
    partial_images=False,
    mask="none",
    compression=False,
    moderation=False,
)


def as_json(**members):
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


def as_form(**members):
    return {name: value.encode() for name, value in members.items()}


def generate(painter=FLARE, **members):
    return parse_image_request("generate", as_json(**{"prompt": "a fox", **members}), (), None, painter)


def edit(*images, mask=None, painter=FLARE, **members):
    return parse_image_request("edit", as_form(**{"prompt": "a fox", **members}), images, mask, painter)


def upload(data=None, media_type="image/png", field="image"):
    return Upload(field, picture() if data is None else data, media_type, "my.png")


def refused(call, *args, **members):
    with pytest.raises(InvalidRequest) as error:
        call(*args, **members)
    assert error.value.members["param"] in error.value.message
    return error.value.members["param"]


def test_a_prompt_alone_is_a_request():
    request = generate()
    assert (request.prompt, request.n, request.size, request.stream) == ("a fox", 1, None, False)
    assert (request.response_format, request.model, request.warnings) == ("b64_json", FLARE.name, ())


def test_all_members_are_read():
    request = generate(
        model=FLARE.name,
        n=3,
        size="1536x864",
        quality="xhigh",
        background="transparent",
        output_format="webp",
        output_compression=40,
        moderation="low",
        stream=True,
        partial_images=2,
        safety_identifier="ana",
        user="ignored",
    )
    assert (request.n, request.size, request.quality, request.background) == (
        3,
        "1536x864",
        "xhigh",
        "transparent",
    )
    assert (request.output_format, request.output_compression, request.moderation) == ("webp", 40, "low")
    assert (request.stream, request.partial_images, request.end_user) == (True, 2, "ana")


def test_null_is_as_good_as_absent():
    assert generate(n=None, size=None, quality=None, stream=None, style=None) == generate()


def test_form_fields_are_text_and_mean_the_same():
    request = edit(upload(), n="2", stream="true", partial_images="1", size="1024x1024")
    assert (request.n, request.stream, request.partial_images, request.size) == (2, True, 1, "1024x1024")


@pytest.mark.parametrize("n", [0, -1, 11, 10**30, 1.0, 1.5, True, "2", "", [1], {"a": 1}])
def test_a_count_must_be_a_whole_number_within_the_limits(n):
    assert refused(generate, n=n) == "n"


@pytest.mark.parametrize("text", ["0", "-1", "11", "1.0", "two", "", "1e1", "9" * 5_000])
def test_a_count_in_a_form_too(text):
    assert refused(edit, upload(), n=text) == "n"


@pytest.mark.parametrize("prompt", ["", " \n", None, 5, ["a"], "x" * 32_001, "a\0b"])
def test_a_prompt_must_be_text_of_a_sensible_length(prompt):
    assert refused(generate, prompt=prompt) == "prompt"


def test_a_lone_surrogate_is_not_text():
    members = {"prompt": msgspec.Raw(b'"\\ud800"')}
    assert refused(parse_image_request, "generate", members, (), None, FLARE) == "prompt"
    members = {"prompt": b"\xff\xfe"}
    assert refused(parse_image_request, "edit", members, (upload(),), None, FLARE) == "prompt"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("size", "1000x1000"),
        ("size", "99999x99999"),
        ("size", "0x0"),
        ("size", "-16x16"),
        ("size", "big"),
        ("size", 1024),
        ("quality", "ultra"),
        ("quality", "hd"),
        ("background", "blue"),
        ("output_format", "gif"),
        ("output_format", "svg"),
        ("output_compression", 101),
        ("moderation", "none"),
        ("stream", "true"),
        ("stream", 1),
        ("partial_images", 4),
        ("response_format", "file"),
        ("style", "vivid"),
        ("complexity", "high"),
        ("frame_count", 3),
        ("markup", "x"),
        ("svg", {}),
        ("input_fidelity", "high"),
        ("negative_prompt", "x"),
        ("user", "x" * 513),
        ("model", 5),
    ],
)
def test_a_wrong_member_is_named(member, value):
    assert refused(generate, **{member: value}) == member


def test_an_unknown_member_is_answered_with_those_that_are_known():
    with pytest.raises(InvalidRequest) as error:
        generate(seed=5)
    assert "quality" in error.value.remedy_text


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"output_compression": 50}, "output_compression"),
        ({"background": "transparent", "output_format": "jpeg"}, "background"),
        ({"partial_images": 1}, "partial_images"),
        ({"stream": True, "response_format": "url"}, "response_format"),
    ],
)
def test_members_that_exclude_each_other_are_refused(members, param):
    assert refused(generate, **members) == param


def test_a_model_of_fixed_sizes_takes_no_other():
    assert generate(FIXED, size="1536x1024").size == "1536x1024"
    assert refused(generate, FIXED, size="1536x864") == "size"
    assert refused(generate, FIXED, quality="max") == "quality"


def test_old_dall_e_requests_are_translated_and_told_so():
    request = generate(model="dall-e-3", quality="hd", style="vivid", size="512x512")
    assert (request.quality, request.size, request.response_format) == ("high", "1024x1024", "url")
    assert request.model == "dall-e-3"
    assert request.warnings == (
        "style was dropped: describe the style in the prompt",
        "quality hd was sent as high",
        "size 512x512 was sent as 1024x1024",
        "response_format is url by default for dall-e-3",
    )
    chosen = generate(model="dall-e-3", size="1792x1024", response_format="b64_json")
    assert (chosen.size, chosen.response_format, chosen.warnings) == ("1792x1024", "b64_json", ())
    assert generate(model="dall-e-2", stream=True).response_format == "b64_json"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_input_pictures_are_known_by_their_bytes(kind):
    request = edit(upload(picture(kind), media_type="application/octet-stream"))
    image = request.images[0]
    assert (image.media_type, image.width, image.height) == (f"image/{kind.lower()}", 64, 48)
    assert image.filename == f"image.{kind.lower()}"


@pytest.mark.parametrize(
    "data", [b"", b"hello", picture("GIF"), picture()[:20], picture("JPEG")[:20], picture("WEBP")[:22]]
)
def test_what_is_no_usable_picture_is_refused_by_the_name_of_its_field(data):
    assert refused(edit, upload(data, media_type=None, field="image[]")) == "image[]"


def test_a_picture_that_lies_is_refused():
    assert refused(edit, upload(picture("JPEG"), media_type="image/png")) == "image"
    assert refused(edit, upload(png_header(60_000, 60_000))) == "image"
    assert refused(edit, upload(png_header(0, 5))) == "image"
    damaged = bytearray(picture())
    damaged[18] ^= 1
    assert refused(edit, upload(bytes(damaged))) == "image"


def test_edits_take_one_to_sixteen_pictures_and_generations_none():
    assert len(edit(*[upload()] * 16).images) == 16
    assert refused(edit) == "image"
    assert refused(edit, *[upload()] * 17) == "image"
    with pytest.raises(InvalidRequest, match="images/edits"):
        parse_image_request("generate", as_json(prompt="x"), (upload(),), None, FLARE)
    with pytest.raises(InvalidRequest, match="images/edits"):
        parse_image_request("generate", as_json(prompt="x"), (), upload(), FLARE)


def test_a_picture_must_be_smaller_than_fifty_megabytes_and_a_mask_than_four():
    assert refused(edit, upload(picture() + b"\0" * 50_000_000)) == "image"
    large = upload(picture(mode="RGBA", colour=(0, 0, 0, 0)) + b"\0" * 4_000_000, field="mask")
    assert refused(edit, upload(), mask=large) == "mask"


@pytest.mark.parametrize(
    "mask",
    [
        picture(),
        picture("WEBP"),
        picture("PNG", 32, 32, "RGBA", (0, 0, 0, 0)),
        b"no picture",
    ],
)
def test_a_mask_must_be_a_png_with_alpha_of_the_same_size(mask):
    assert refused(edit, upload(), mask=upload(mask, media_type=None, field="mask")) == "mask"


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_a_mask_with_alpha_is_taken(mode, colour):
    mask = upload(picture("PNG", 64, 48, mode, colour), field="mask")
    assert edit(upload(), mask=mask).mask.width == 64


def animated(kind):
    out = io.BytesIO()
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "said"), [("PNG", "animated PNG"), ("WEBP", "animated WEBP"), ("GIF", "is a GIF")]
)
def test_a_picture_that_moves_is_refused(kind, said):
    with pytest.raises(InvalidRequest, match=said) as error:
        edit(upload(animated(kind), f"image/{kind.lower()}", "image[]"))
    assert error.value.members["param"] == "image[]"


def test_the_pixels_of_a_picture_are_no_sign_of_movement():
    data = picture()
    text = b"acTLacTL"
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", crc32(b"tEXt" + text))
    assert edit(upload(data[:33] + chunk + data[33:])).images[0].width == 64


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("1024x1024", "1:1"),
        ("1344x768", "16:9"),
        ("768x1344", "9:16"),
        ("832x1248", "2:3"),
        ("1184x864", "4:3"),
        ("896x1152", "4:5"),
        ("1536x672", "21:9"),
        ("auto", None),
        (None, None),
        ("16:9", None),
    ],
)
def test_a_size_has_the_ratio_that_is_nearest(size, ratio):
    assert aspect_ratio_of(size) == ratio


@pytest.mark.parametrize(
    ("size", "resolution"),
    [
        ("1024x1024", "1K"),
        ("1536x672", "1K"),
        ("2048x2048", "2K"),
        ("2752x1536", "2K"),
        ("4096x4096", "4K"),
        ("auto", "1K"),
    ],
)
def test_a_size_belongs_to_a_resolution(size, resolution):
    assert resolution_of(size) == resolution


def test_a_ratio_is_the_first_size_that_has_it_for_models_of_ratios():
    assert generate(PLAIN, size="16:9").size == "1344x768"
    assert generate(PLAIN, size="2688x1536").size == "2688x1536"
    assert refused(generate, PLAIN, size="3:2") == "size"
    assert refused(generate, FLARE, size="16:9") == "size"


def test_a_size_that_a_model_of_ratios_does_not_make_is_answered_with_the_ratio_to_ask_for():
    with pytest.raises(InvalidRequest) as error:
        generate(PLAIN, size="1792x1024")
    assert error.value.remedy_text == "Ask for 16:9."


@pytest.mark.parametrize(
    ("param", "members"),
    [
        ("n", {"n": 5}),
        ("quality", {"quality": "high"}),
        ("background", {"background": "transparent"}),
        ("output_format", {"output_format": "png"}),
        ("output_compression", {"output_compression": 50}),
        ("moderation", {"moderation": "low"}),
        ("stream", {"stream": True}),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_field(param, members):
    assert refused(generate, PLAIN, **members) == param


def test_what_a_model_does_anyway_may_be_said():
    request = generate(PLAIN, quality="auto", background="opaque", moderation="auto", n=4)
    assert (request.quality, request.n) == ("auto", 4)


def test_a_model_that_edits_nothing_says_what_would_do():
    with pytest.raises(InvalidRequest, match="edits no pictures") as error:
        edit(upload(), painter=PLAIN)
    assert error.value.members["param"] == "image"
    assert "/v1/images/generations" in error.value.remedy_text


def test_a_model_that_takes_one_picture_takes_no_second_and_no_mask():
    single = replace(PLAIN, max_input_images=1)
    assert len(edit(upload(), painter=single).images) == 1
    assert refused(edit, upload(), upload(), painter=single) == "image"
    mask = upload(picture("PNG", 64, 48, "RGBA", (0, 0, 0, 0)), field="mask")
    assert refused(edit, upload(), mask=mask, painter=single) == "mask"


def test_a_model_that_streams_without_partial_pictures_says_so():
    whole = replace(FLARE, partial_images=False)
    assert generate(whole, stream=True).stream
    assert refused(generate, whole, stream=True, partial_images=1) == "partial_images"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 7), (2_000, 1_200)])
def test_headers_tell_type_and_size(kind, width, height):
    data = picture(kind, width, height)
    assert media_type_of(data[:12]) == f"image/{kind.lower()}"
    assert media_type_and_size(data) == (f"image/{kind.lower()}", width, height)


def test_a_lossless_and_an_extended_webp_are_read():
    for options in ({"lossless": True}, {"exif": b"Exif\0\0"}):
        out = io.BytesIO()
        Image.new("RGB", (70, 50)).save(out, "WEBP", **options)
        assert media_type_and_size(out.getvalue()) == ("image/webp", 70, 50)


@settings(deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.integers(0, 400), st.binary(max_size=40))
def test_no_bytes_break_the_readers(kind, cut, tail):
    try:
        media_type, width, height = media_type_and_size(picture(kind)[:cut] + tail)
    except InvalidRequest:
        return
    assert media_type.startswith("image/")
    assert min(width, height) > 0
