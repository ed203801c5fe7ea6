import base64
import json

import pytest
from sandboxes import picture, png_header

from rollout.core.analyses import MessageRequest, encode_message, parse_message_request, split_members
from rollout.errors import InvalidRequest, PayloadTooLarge, PriceUnknown


def body(*blocks, **members):
    content = list(blocks) or "hello"
    message = {"role": "user", "content": content}
    return json.dumps(
        {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [message], **members}
    ).encode()


def image(data=None, media_type="image/png"):
    encoded = base64.b64encode(picture() if data is None else data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": encoded}}


def parse(*blocks, **members):
    return parse_message_request(split_members(body(*blocks, **members)))


def refused(*blocks, kind=InvalidRequest, **members):
    with pytest.raises(kind) as error:
        parse(*blocks, **members)
    return error.value.members["param"]


def test_text_is_a_request():
    assert parse() == MessageRequest("claude-sonnet-5-5", 100, False, 0, 0, False)


def test_pictures_are_counted_wherever_they_stand():
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [image(), {"type": "text", "text": "x"}]}
    url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    document = {"type": "document", "source": {"type": "content", "content": [image()]}}
    found = parse(image(), nested, url, document, stream=True)
    one = len(base64.b64encode(picture())) + len('""')
    assert found == MessageRequest("claude-sonnet-5-5", 100, True, 4, 3 * one, False)


def test_a_document_counts_as_all_the_pages_it_may_have():
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    }
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    assert parse(pdf).images == 600
    assert parse(text).images == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_type_the_vendor_reads_is_taken(kind):
    assert parse(image(picture(kind), f"image/{kind.lower()}")).images == 1


def test_the_base64_of_pictures_is_told_apart_from_text_which_alone_is_counted_by_the_byte() -> None:
    data = picture("PNG")
    asked = parse(image(data, "image/png"))
    assert (asked.images, asked.picture_bytes) == (1, len(base64.b64encode(data)) + len('""'))
    assert parse({"type": "text", "text": "no picture"}).picture_bytes == 0


def test_a_jpeg_whose_metadata_is_long_is_read_to_its_size():
    comment = b"\xff\xfe\xff\xff" + b"x" * 65_533
    jpeg = picture("JPEG")
    assert parse(image(jpeg[:2] + comment * 3 + jpeg[2:], "image/jpeg")).images == 1


def test_base64_with_escaped_slashes_is_the_same_base64():
    sent = body(image(picture("PNG", 200, 200, "RGB", "#3f7e1c"))).replace(b"/", b"\\/")
    assert parse_message_request(split_members(sent)).images == 1


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (image(b"not a picture"), "source.data"),
        (image(picture()[:16]), "source.data"),
        (image(png_header(9_000, 10)), "source.data"),
        (image(picture("JPEG")), "source.media_type"),
        (image(media_type="image/tiff"), "source.media_type"),
        ({"type": "image"}, "source"),
        ({"type": "image", "source": {}}, "source"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png"}}, "source.data"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%%%"}},
            "source.data",
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": 5}},
            "source.data",
        ),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "source"),
        ({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}, "source.url"),
        ({"type": "image", "source": {"type": "url"}}, "source.url"),
        ({"type": "image", "source": {"type": "ftp"}}, "source.type"),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, "source"),
        ({"type": "container_upload", "file_id": "file_1"}, ""),
        ({"text": "no type"}, ""),
    ],
)
def test_a_block_that_cannot_be_sent_is_named_by_its_path(block, param):
    text = {"type": "text", "text": "x"}
    assert refused(text, block) == f"messages.0.content.1.{param}".rstrip(".")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 10**12}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0"),
        ({"messages": [{"role": 5, "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"system": 5}, "system"),
        ({"tools": 5}, "tools"),
    ],
)
def test_a_wrong_member_is_named(members, param):
    assert refused(**members) == param


def test_a_count_needs_no_max_tokens_and_never_streams():
    sent = split_members(b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}')
    assert parse_message_request(sent, counting=True) == MessageRequest("m", 0, False, 0, 0, False)
    with pytest.raises(InvalidRequest):
        parse_message_request(sent)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        (
            {"tools": [{"type": "custom", "name": "x"}, {"type": "web_search_20260101", "name": "y"}]},
            "tools.1",
        ),
        ({"tools": [{"type": "code_execution_20260521", "name": "x"}]}, "tools.0"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
    ],
)
def test_what_is_billed_beyond_tokens_has_no_price(members, param):
    assert refused(kind=PriceUnknown, **members) == param


def test_tools_that_the_caller_runs_and_ordinary_options_pass():
    tools = [{"name": "mine", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]
    assert parse(tools=tools, speed="standard", thinking={"type": "adaptive"}, temperature=0.2).model


@pytest.mark.parametrize("key", ["cache_control", "cache_contr\\u006fl"])
def test_a_wish_for_the_cache_is_found_however_it_is_spelled(key):
    sent = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"x","%s":{}}]}]}'
    assert parse_message_request(split_members(sent % key.encode())).has_cache_control is True


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"{} {}", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(sent):
    with pytest.raises(InvalidRequest):
        split_members(sent)


def test_a_body_that_is_too_deep_or_too_large_is_refused():
    with pytest.raises(InvalidRequest, match="too deeply"):
        split_members(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    with pytest.raises(PayloadTooLarge):
        split_members(b" " * (32 * 1024 * 1024 + 1))


def test_blocks_nested_without_end_are_refused():
    block = image()
    for _ in range(40):
        block = {"type": "tool_result", "content": [block]}
    assert refused(block).startswith("messages.0.content.0.content.0")


def test_only_the_model_is_replaced_and_every_other_member_stays_as_it_came():
    sent = b'{"z": 1.50, "model":"alias", "messages" : [ {"role":"user","content":"\\u00e9 / \\/"} ]}'
    members = split_members(sent)
    again = split_members(encode_message(members, "real"))
    assert list(again) == list(members)
    assert bytes(again.pop("model")) == b'"real"'
    assert all(bytes(again[name]) == bytes(members[name]) for name in again)


def test_of_a_repeated_member_the_one_that_was_priced_is_sent():
    members = split_members(
        b'{"model":"cheap","max_tokens":1,"max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    )
    assert parse_message_request(members).max_tokens == 9
    assert encode_message(members, "m").count(b"max_tokens") == 1
