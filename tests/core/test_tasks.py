"""Named tasks: what may be asked, what is sent for it, and what is made of the answer."""

from __future__ import annotations

import base64
import io
from typing import Any

import orjson
import pytest
from PIL import Image

from rollout.core.products import Product
from rollout.core.schemas import check, example, faults
from rollout.core.tasks import (
    ADAPTIVE_TOKENS,
    READING,
    TASKS,
    Given,
    Picture,
    TaskRequest,
    Unusable,
    in_base64,
    message_of,
    picture_at,
    read_answer,
    read_picture,
    result_of,
    schema_of,
)
from rollout.errors import InvalidRequest
from rollout.services.tasks import load

ONE = (Given(data="aGk="),)
EXTRA: dict[str, dict[str, Any]] = {
    "answer_chart": {"question": "Which year was best?"},
    "match_product": {"products": (Product("A", {"name": "Milk"}),)},
}


def picture(kind: str, *, frames: int = 1, size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    more = [Image.new("RGB", size, (120 * frame, 0, 0)) for frame in range(1, frames)]
    Image.new("RGB", size).save(out, kind, save_all=frames > 1, append_images=more)
    return out.getvalue()


def given(data: bytes, media_type: str | None = None) -> Given:
    return Given(data=base64.b64encode(data).decode(), media_type=media_type)


def request(task: Any = "describe", **members: Any) -> TaskRequest:
    return TaskRequest(**{"task": task, "images": ONE, **EXTRA.get(task, {}), **members})


def answer(value: Any, stop_reason: str = "end_turn") -> bytes:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
    return orjson.dumps({"type": "message", "content": content, "stop_reason": stop_reason})


@pytest.mark.parametrize("name", [*TASKS, READING])
def test_every_task_is_carried_with_a_schema_that_vendors_take(name: str) -> None:
    task = load(name)
    schema = schema_of(task, 2, ["A", "B"])

    check(schema)
    assert task.version >= 1
    assert task.prompt.strip()
    assert all(inner["additionalProperties"] is False and inner["required"] for inner in objects(schema))
    assert all(field in task.prompt for field in schema["properties"])
    assert not list(faults(schema, example(schema)))


def objects(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [one for item in schema for one in objects(item)]
    if not isinstance(schema, dict):
        return []
    return [*([schema] if schema.get("type") == "object" else []), *objects(list(schema.values()))]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_messages_request(name: Any) -> None:
    members = message_of(
        load(name), request(name, language="id"), [Picture({"type": "url", "url": "https://a.test/b"})]
    )
    sent = {key: orjson.loads(bytes(value)) for key, value in members.items()}

    assert list(sent) == ["model", "max_tokens", "system", "messages", "output_config"]
    assert (sent["model"], sent["max_tokens"]) == ("claude-sonnet-5-5", load(name).max_tokens)
    assert load(name).prompt in sent["system"]
    assert "language id (BCP 47)" in sent["system"]
    (message,) = sent["messages"]
    image, *texts = message["content"]
    assert message["role"] == "user"
    assert image["source"] == {"type": "url", "url": "https://a.test/b"}
    assert image.get("transformations") == (
        {"oversized_image": "error"} if name == "detect_objects" else None
    )
    assert [one["text"] for one in texts] == ([EXTRA[name]["question"]] if name == "answer_chart" else [])
    assert sent["output_config"]["format"]["type"] == "json_schema"


def test_products_go_along_and_no_other_id_can_be_answered() -> None:
    rows = [Product("A", {"name": 'Milk "fresh"'}), Product("B", {})]
    task = load("match_product")
    sent = message_of(task, request("match_product"), [Picture({})], rows)
    schema = orjson.loads(bytes(sent["output_config"]))["format"]["schema"]

    text = orjson.loads(bytes(sent["messages"]))[0]["content"][-1]["text"]
    assert orjson.loads(text.removeprefix("Products:\n")) == [
        {"id": "A", "name": 'Milk "fresh"'},
        {"id": "B"},
    ]
    match = {"product_id": "A", "score": 1, "agrees": [], "differs": []}
    for best, other, fits in (("A", "B", True), (None, "A", True), ("C", "A", False), ("A", "C", False)):
        value = {
            "labels": [],
            "features": [],
            "matches": [match, {**match, "product_id": other}],
            "best": best,
        }
        assert (not list(faults(schema, value))) is fits


def test_room_for_thinking_is_added_to_what_the_answer_may_have() -> None:
    allowance = load("describe").max_tokens
    for thinking, room in (
        (None, 0),
        ({"type": "disabled"}, 0),
        ({"type": "adaptive"}, ADAPTIVE_TOKENS),
        ({"type": "enabled", "budget_tokens": 9_000}, 9_000),
    ):
        sent = message_of(load("describe"), request(thinking=thinking), [Picture({})])
        assert orjson.loads(bytes(sent["max_tokens"])) == allowance + room
        assert ("thinking" in sent) is (thinking is not None)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"images": ()}, "images"),
        ({"images": ONE * 21}, "images"),
        ({"images": (Given(),)}, "images.0"),
        ({"images": (*ONE, Given(data="aGk=", url="https://a.test"))}, "images.1"),
        ({"question": "x" * 4_001}, "question"),
        ({"task": "answer_chart", "question": None}, "question"),
        ({"task": "answer_chart", "question": "  "}, "question"),
        ({"task": "match_product", "products": None}, "products"),
        ({"task": "match_product", "product_table": "shelf"}, "product_table"),
        ({"product_table": "shelf"}, "product_table"),
        ({"products": ()}, "products"),
        ({"language": "english please"}, "options.language"),
        ({"language": "e"}, "options.language"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_field(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request(**members)
    assert refused.value.members["param"] == param


@pytest.mark.parametrize("language", ["id", "pt-BR", "zh-Hant-TW", "sl-rozaj-biske-1994"])
def test_languages_are_tags(language: str) -> None:
    assert request(language=language).language == language


@pytest.mark.parametrize(
    ("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_a_picture_is_what_its_bytes_are(kind: str, media_type: str) -> None:
    data = picture(kind)
    read = read_picture(given(data), "images.0")

    assert (read.data, read.media_type, read.width, read.height) == (data, media_type, 8, 8)
    assert read_picture(given(data, media_type), "images.0") == read
    assert base64.b64decode(in_base64(data, media_type)["data"]) == data


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        (
            given(picture("PNG"), "image/jpeg"),
            "images.3.media_type",
            "says image/jpeg, but the picture is image/png",
        ),
        (given(picture("PNG", frames=2)), "images.3.data", "moves"),
        (given(picture("WEBP", frames=2)), "images.3.data", "moves"),
        (given(picture("GIF", frames=2)), "images.3.data", "moves"),
        (given(picture("PNG", size=(8_001, 1))), "images.3.data", "8001x1"),
        (given(b"%PDF-1.7"), "images.3.data", "not a PNG"),
        (given(picture("JPEG")[:40]), "images.3.data", "damaged"),
        (Given(data="not base64!"), "images.3.data", "not valid base64"),
        (Given(data=""), "images.3.data", "not a PNG"),
    ],
)
def test_a_picture_that_is_none_or_lies_is_refused_by_its_field(sent: Given, param: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_picture(sent, "images.3")
    assert refused.value.members["param"] == param
    assert says in refused.value.message


def test_an_address_is_passed_on_and_never_fetched() -> None:
    assert picture_at("https://a.test/b.png", "images.0") == Picture(
        {"type": "url", "url": "https://a.test/b.png"}
    )
    with pytest.raises(InvalidRequest) as refused:
        picture_at("file:///etc/passwd", "images.0.url")
    assert refused.value.members["param"] == "images.0.url"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (answer('{"summary": "a l', "max_tokens"), "cut"),
        (answer("It shows a cat."), "not JSON"),
        (answer([]), "not of type object"),
        (answer({"summary": "x", "details": [], "objects": []}), ".has_text is missing"),
        (
            answer({"summary": "x", "details": [1], "objects": [], "has_text": True}),
            ".details[0] is not of type string",
        ),
        (
            answer({"summary": "x", "details": [], "objects": [], "has_text": "no"}),
            ".has_text is not of type boolean",
        ),
        (
            answer({"summary": "x", "details": [], "objects": [], "has_text": True, "more": 1}),
            ".more is not expected",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_never_given(body: bytes, says: str) -> None:
    with pytest.raises(Unusable) as unusable:
        read_answer(body, load("describe").schema)
    assert says in str(unusable.value)


def test_boxes_come_in_pixels_of_the_callers_picture_and_within_it() -> None:
    def found(number: int, **box: int) -> dict[str, Any]:
        return {
            "label": "cup",
            "picture": number,
            "count": 1,
            "box": box,
            "attributes": [],
            "certainty": "low",
        }

    value = {"objects": [
        found(1, x0=100, y0=50, x1=400, y1=200),
        found(1, x0=900, y0=-5, x1=10, y1=999),
        found(2, x0=1, y0=2, x1=3, y1=4),
    ]}  # fmt: skip
    pictures = [Picture({}, (4_000, 2_000), (800, 400)), Picture({"type": "url"})]

    boxes = [one["box"] for one in result_of(load("detect_objects"), value, pictures)["objects"]]

    assert boxes == [[500, 250, 2_000, 1_000], [50, 0, 4_000, 2_000], [1, 2, 3, 4]]


def test_scores_lie_between_0_and_1() -> None:
    value = {"matches": [{"product_id": "A", "score": 7}, {"product_id": "B", "score": -1}], "best": "A"}

    assert [one["score"] for one in result_of(load("match_product"), value, [])["matches"]] == [1.0, 0.0]
