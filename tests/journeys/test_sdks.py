"""The official SDKs by base URL and key alone: against the sandbox in process, and through the vendors' wire formats over HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from PIL import Image
from processes import Process, Service, Starter

MODEL = "gpt-image-2.6-flare"
CLAUDE = "claude-sonnet-5-5"
LLAMA, GROK = "llama-3.2-90b-vision", "grok-4"


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module", params=["in process", "over http"])
def service(request: pytest.FixtureRequest, shared_starter: Starter, new_database) -> Service:  # type: ignore[no-untyped-def]
    vendor = request.getfixturevalue("vendor") if request.param == "over http" else None
    return shared_starter.service(new_database("sqlite"), vendor=vendor)


@pytest.fixture
def gpt(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client:
        yield client


@pytest.fixture
def claude(service: Service) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=service.url, api_key=service.key("acme")) as client:
        yield client


def png(colour: str = "red", size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def picture(b64: str | None) -> Image.Image:
    assert b64
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def test_images_generate_gives_pictures_of_the_size_asked_for_with_usage(gpt: openai.OpenAI) -> None:
    answer = gpt.images.generate(
        model=MODEL, prompt="a lighthouse at dusk", n=2, size="1024x1024", quality="low"
    )
    assert answer.data is not None
    assert [picture(item.b64_json).size for item in answer.data] == [(1024, 1024)] * 2
    assert answer.data[0].b64_json != answer.data[1].b64_json
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


def test_images_generate_answers_with_decision_model_handle_and_rate_headers(gpt: openai.OpenAI) -> None:
    raw = gpt.images.with_raw_response.generate(
        model=MODEL, prompt="a lighthouse", size="1024x1024", quality="low"
    )
    assert raw.headers["x-rollout-decision"].startswith("dec_")
    assert raw.headers["x-rollout-model"].endswith(MODEL)
    assert raw.headers["x-rollout-feedback"]
    assert "image-day" in raw.headers["ratelimit-policy"]
    assert int(raw.headers["x-ratelimit-remaining-requests"]) >= 0


def test_images_edit_takes_several_pictures_and_a_mask(gpt: openai.OpenAI) -> None:
    answer = gpt.images.edit(
        model=MODEL,
        prompt="put a hat on it",
        image=[("one.png", png("red"), "image/png"), ("two.png", png("blue"), "image/png")],
        mask=("mask.png", png("#00000000", mode="RGBA"), "image/png"),
        size="1024x1024",
        quality="low",
    )
    assert answer.data is not None
    assert picture(answer.data[0].b64_json).size == (1024, 1024)


def test_images_generate_streams_partials_and_then_the_whole_picture(gpt: openai.OpenAI) -> None:
    stream = gpt.images.generate(
        model=MODEL, prompt="a lighthouse", size="1024x1024", quality="low", stream=True, partial_images=2
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert picture(events[-1].b64_json).size == (1024, 1024)
    assert events[-1].usage.output_tokens > 0  # type: ignore[union-attr]


def test_images_edit_streams_too(gpt: openai.OpenAI) -> None:
    stream = gpt.images.edit(
        model=MODEL,
        prompt="put a hat on it",
        image=("one.png", png("red"), "image/png"),
        size="1024x1024",
        quality="low",
        stream=True,
        partial_images=1,
    )
    events = list(stream)
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert picture(events[-1].b64_json).size == (1024, 1024)


def test_models_list_names_what_the_tenant_may_use_in_both_shapes(
    service: Service, gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    ids = {model.id for model in gpt.models.list()}
    assert {MODEL, CLAUDE} <= ids
    assert CLAUDE in {model.id for model in claude.models.list()}
    assert {LLAMA, GROK} <= ids
    assert claude.models.retrieve(CLAUDE).type == "model"
    assert gpt.models.retrieve(GROK).owned_by == "xai"
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("globex")) as outside:
        assert {model.id for model in outside.models.list()} & {MODEL} == set()


def vision(text: str) -> list[anthropic.types.MessageParam]:
    data = base64.b64encode(png("red")).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]  # type: ignore[list-item, typeddict-item]


def test_messages_create_tells_what_is_in_the_picture(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model=CLAUDE, max_tokens=300, messages=vision("What is this?"))
    assert answer.content[0].type == "text"
    assert "64" in answer.content[0].text
    assert answer.usage.input_tokens > 0
    assert answer._request_id is not None


def test_messages_take_a_picture_by_url_which_we_never_fetch(claude: anthropic.Anthropic) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/never.png"}}
    content = [image, {"type": "text", "text": "What is this?"}]
    answer = claude.messages.create(
        model=CLAUDE, max_tokens=300, messages=[{"role": "user", "content": content}]
    )  # type: ignore[typeddict-item]
    assert answer.stop_reason == "end_turn"


def test_messages_stream_gives_text_and_the_final_message_with_usage(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model=CLAUDE, max_tokens=300, messages=vision("What is this?")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert final.usage.output_tokens > 0
    assert final.stop_reason == "end_turn"


def test_messages_create_streams_raw_events(claude: anthropic.Anthropic) -> None:
    events = list(
        claude.messages.create(model=CLAUDE, max_tokens=300, messages=vision("What is this?"), stream=True)
    )
    assert [events[0].type, events[-1].type] == ["message_start", "message_stop"]


def test_messages_think_when_asked(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(
        model=CLAUDE, max_tokens=4000, thinking={"type": "adaptive"}, messages=vision("What is this?")
    )
    assert answer.content[0].type == "thinking"


def test_count_tokens_counts(claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(model=CLAUDE, messages=vision("What is this?")).input_tokens > 0


def question(text: str) -> Any:
    """A message with a picture, as chat completions take it."""
    url = f"data:image/png;base64,{base64.b64encode(png('red')).decode()}"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("model", [LLAMA, GROK])
def test_chat_completions_tell_what_is_in_the_picture(gpt: openai.OpenAI, model: str) -> None:
    raw = gpt.chat.completions.with_raw_response.create(
        model=model, max_tokens=300, messages=question("What is this?")
    )
    answer = raw.parse()
    assert "64x64 pixels" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert raw.headers["x-rollout-model"].endswith(model)


@pytest.mark.parametrize("model", [LLAMA, GROK])
def test_chat_completions_stream_and_tell_their_usage_to_who_asks(gpt: openai.OpenAI, model: str) -> None:
    ask: dict[str, Any] = {
        "model": model,
        "max_tokens": 300,
        "messages": question("What is this?"),
        "stream": True,
    }
    plain = list(gpt.chat.completions.create(**ask))
    told = list(gpt.chat.completions.create(**ask, stream_options={"include_usage": True}))
    assert "64x64 pixels" in "".join(chunk.choices[0].delta.content or "" for chunk in plain)
    assert plain[-1].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in plain if chunk.usage] == []
    assert told[-1].choices == []
    assert told[-1].usage.completion_tokens > 0
    assert len(told) == len(plain) + 1


def test_chat_completions_stream_helper_gives_the_final_completion(gpt: openai.OpenAI) -> None:
    with gpt.chat.completions.stream(model=LLAMA, messages=question("What is this?")) as stream:
        for _ in stream:
            pass
        assert "64x64 pixels" in (stream.get_final_completion().choices[0].message.content or "")


def test_moderations_take_a_text_texts_and_pictures(gpt: openai.OpenAI) -> None:
    one = gpt.moderations.create(input="a fox")
    two = gpt.moderations.create(model="omni-moderation-latest", input=["a fox", "a dog"])
    seen = gpt.moderations.create(input=question("sandbox:refuse=violence a fight")[0]["content"])
    assert [len(answer.results) for answer in (one, two, seen)] == [1, 2, 1]
    assert not one.results[0].flagged
    assert len(one.results[0].categories.model_dump(by_alias=True)) == 13
    assert one.results[0].category_scores.violence < 0.01
    assert seen.results[0].flagged
    assert seen.results[0].categories.violence
    assert seen.results[0].category_applied_input_types.violence == ["text", "image"]


def test_what_there_is_not_says_what_to_use_instead(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    def variation() -> None:
        with pytest.deprecated_call():
            gpt.images.create_variation(image=png())

    for call, instead in (
        (variation, "/v1/images/edits"),
        (lambda: gpt.files.list(), "base64"),
        (lambda: gpt.files.create(file=b"x", purpose="vision"), "base64"),
        (lambda: gpt.batches.list(), "by itself"),
        (lambda: gpt.responses.create(model=LLAMA, input="x"), "/v1/chat/completions"),
    ):
        with pytest.raises(openai.NotFoundError) as missing:
            call()
        assert missing.value.code == "not_found"
        assert instead in missing.value.message
    for call, instead in (
        (lambda: claude.messages.batches.list(), "/v1/messages"),
        (lambda: claude.beta.files.list(), "base64"),
    ):
        with pytest.raises(anthropic.NotFoundError) as lost:
            call()
        assert instead in lost.value.body["error"]["message"]  # type: ignore[index, call-overload]
        assert lost.value.body["error"]["details"]["error_code"] == "not_found"  # type: ignore[index, call-overload]


def test_a_file_of_the_vendors_is_refused_on_every_route(
    gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    image: Any = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    with pytest.raises(anthropic.BadRequestError) as message:
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": [image]}])
    assert message.value.body["error"]["details"]["param"] == "messages.0.content.0.source"  # type: ignore[index, call-overload]
    part: Any = {"type": "file", "file": {"file_id": "file_1"}}
    with pytest.raises(openai.BadRequestError) as chat:
        gpt.chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": [part]}])
    assert chat.value.param == "messages.0.content.0"
    with pytest.raises(openai.BadRequestError) as generation:
        gpt.images.generate(model=MODEL, prompt="x", extra_body={"image": {"file_id": "file_1"}})
    assert generation.value.param == "image"
    with pytest.raises(openai.BadRequestError) as moderation:
        gpt.moderations.create(input=[{"type": "image_url", "image_url": {"file_id": "file_1"}}])  # type: ignore[list-item, typeddict-item]
    assert moderation.value.param == "input.0.image_url"


def test_errors_arrive_as_the_sdks_own_exceptions_with_code_and_param(
    gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        gpt.images.generate(model="gpt-image-99", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        gpt.images.generate(model=MODEL, prompt="x", n=-1)
    assert wrong.value.param == "n"
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model=CLAUDE, max_tokens=-1, messages=vision("x"))
    assert refused.value.body["error"]["details"]["param"] == "max_tokens"  # type: ignore[index, call-overload]
    with (
        openai.OpenAI(base_url=gpt.base_url, api_key="rk_live_nonsense") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
