import base64
import json

import pytest
from sandboxes import picture, png_header

from rollout.core.analyses import split_members
from rollout.core.chats import ChatRequest, encode_chat, parse_chat_request
from rollout.errors import InvalidRequest, PriceUnknown


def data_url(data=None, media_type="image/png"):
    return f"data:{media_type};base64,{base64.b64encode(picture() if data is None else data).decode()}"


def image(url=None, **members):
    return {"type": "image_url", "image_url": {"url": data_url() if url is None else url, **members}}


def members(*parts, **more):
    message = {"role": "user", "content": list(parts) or "hello"}
    return split_members(json.dumps({"model": "grok-4", "messages": [message], **more}).encode())


def parse(*parts, **more):
    return parse_chat_request(members(*parts, **more))


def refused(*parts, kind=InvalidRequest, **more):
    with pytest.raises(kind) as error:
        parse(*parts, **more)
    return error.value.members["param"]


def test_text_is_a_request():
    assert parse() == ChatRequest("grok-4", None, 1, False, False, 0, 0)


def test_pictures_are_counted_and_their_base64_is_told_apart_from_text():
    found = parse(image(detail="high"), {"type": "text", "text": "x"}, image("https://example.com/a.png"))
    assert (found.images, found.picture_bytes) == (2, len(data_url()) + len('""'))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_type_that_vendors_read_is_taken(kind):
    assert parse(image(data_url(picture(kind), f"image/{kind.lower()}"))).images == 1


def test_escaped_slashes_and_capitals_are_the_same_picture():
    url = data_url(picture("PNG", 200, 200, "RGB", "#3f7e1c")).replace("data:image/png", "DATA:IMAGE/PNG")
    sent = json.dumps({"model": "m", "messages": [{"role": "user", "content": [image(url)]}]}).encode()
    assert parse_chat_request(split_members(sent.replace(b"/", b"\\/"))).images == 1


def test_messages_without_content_and_our_own_tools_are_as_the_vendor_takes_them():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "4"}
    tools = [{"type": "function", "function": {"name": "count"}}]
    assert parse(messages=[{"role": "user", "content": "x"}, call, result], tools=tools).images == 0


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 9),
    ],
)
def test_the_larger_of_both_spellings_bounds_what_is_written(more, most):
    assert parse(**more).max_tokens == most


def test_choices_and_what_is_asked_of_a_stream_are_read():
    found = parse(n=3, stream=True, stream_options={"include_usage": True})
    assert (found.choices, found.stream, found.tells_usage) == (3, True, True)
    assert parse(n=None, stream=None, stream_options=None).choices == 1


@pytest.mark.parametrize(
    ("part", "param"),
    [
        (image("data:image/png;base64,%%%%"), "image_url.url"),
        (image("data:image/png,plain"), "image_url.url"),
        (image("data:"), "image_url.url"),
        (image(""), "image_url.url"),
        (image("file:///etc/passwd"), "image_url.url"),
        (image("data:image/tiff;base64,AAAA"), "image_url.url"),
        (image(data_url(b"not a picture")), "image_url.url"),
        (image(data_url(picture("JPEG"))), "image_url.url"),
        (image(data_url(picture()[:16])), "image_url.url"),
        (image(data_url(png_header(9_000, 10))), "image_url.url"),
        ({"type": "image_url", "image_url": {"url": 5}}, "image_url.url"),
        ({"type": "image_url", "image_url": {}}, "image_url"),
        ({"type": "image_url"}, "image_url"),
        ({"type": "file", "file": {"file_id": "file_1"}}, ""),
        ({"text": "no type"}, ""),
    ],
)
def test_a_part_that_cannot_be_sent_is_named_by_its_path(part, param):
    assert refused({"type": "text", "text": "x"}, part) == f"messages.0.content.1.{param}".rstrip(".")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [5]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 10_000_000}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 5}, "stream_options"),
        ({"tools": 5}, "tools"),
        ({"deferred": True}, "deferred"),
    ],
)
def test_a_wrong_member_is_named(more, param):
    assert refused(**more) == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"web_search_options": {}}, "web_search_options"),
        ({"search_parameters": {"mode": "auto"}}, "search_parameters"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"tools": [{"type": "function"}, {"type": "live_search"}]}, "tools.1"),
    ],
)
def test_what_is_billed_apart_has_no_price(more, param):
    assert refused(kind=PriceUnknown, **more) == param


@pytest.mark.parametrize(
    "part", [{"type": "input_audio"}, {"type": "video_url"}, {"type": "file", "file": {"file_data": "x"}}]
)
def test_a_part_of_another_kind_has_no_price(part):
    assert refused(part, kind=PriceUnknown) == "messages.0.content.0"


def test_members_go_on_as_they_came():
    sent = b'{"n" : 1, "model":"grok-4","messages":[ {"role":"user","content":"\\u00e9"} ],"top_p":1.0}'
    assert encode_chat(split_members(sent), "upstream", stream=False) == (
        b'{"n":1,"model":"upstream","messages":[ {"role":"user","content":"\\u00e9"} ],"top_p":1.0}'
    )


def test_a_stream_is_asked_to_tell_its_usage():
    assert json.loads(encode_chat(members(), "m", stream=True))["stream_options"] == {"include_usage": True}
    told = encode_chat(members(stream_options={"x": 1.50, "include_usage": False}), "m", stream=True)
    assert b'"stream_options":{"x":1.5,"include_usage":true}' in told
