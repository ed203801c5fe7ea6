"""One suite for the ports `Images` and `Messages`, over every implementation: in process, and through the real SDKs and sockets."""

import base64
import json
from dataclasses import replace

import pytest
from lines import line
from sandboxes import NOW, model, picture, serve_sandbox

from rollout.core.images import Finished, ImageRequest, Partial
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.prices import maximum_image_cost, usage_image_cost
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    MessageCall,
    NoPicture,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.messages import SandboxMessages
from rollout.providers.sandbox.works import Works

PAINTER = model("gpt-image-2")
BUDGETED = model("claude-sonnet-4-5")
READER = model("claude-sonnet-5-5")
VERSION = {"anthropic-version": "2023-06-01"}


def no_sleep(seconds):
    pass


@pytest.fixture(scope="module")
def served():
    with serve_sandbox() as running:
        yield running


@pytest.fixture(params=["sandbox", "openai_images"])
def images(request, served):
    if request.param == "sandbox":
        yield SandboxImages(Works(lambda: NOW), no_sleep, 1)
    else:
        port = OpenAIImages("any", f"{served.url}/v1", line())
        yield port
        port.close()


@pytest.fixture(params=["sandbox", "anthropic"])
def messages(request, served):
    if request.param == "sandbox":
        yield SandboxMessages(Works(lambda: NOW), no_sleep, 1)
    else:
        port = AnthropicMessages("any", served.url, line())
        yield port
        port.close()


def paint(prompt="a fox", painter=PAINTER, **members):
    request = ImageRequest(
        **{"operation": "generate", "prompt": prompt, "model": painter.name, "size": "256x256", **members}
    )
    return ImageCall(painter, request, user="hashed")


def ask(prompt="what is it?", *, stream=False, **members):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(picture()).decode()}
    content = [{"type": "text", "text": prompt}, {"type": "image", "source": source}]
    asked = {
        "model": READER.name,
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": content}],
        **members,
    }
    return MessageCall(READER, json.dumps({**asked, "stream": stream}).encode(), stream, VERSION)


def outcome(images, call):
    if not call.request.stream:
        return [images.generate(call)]
    with images.stream(call) as events:
        return list(events)


def answer(messages, call):
    if not call.stream:
        return messages.create(call)
    with messages.stream(call) as events:
        return list(events)


class TestImages:
    @pytest.mark.parametrize("output_format", [None, "png", "webp", "jpeg"])
    def test_pictures_come_in_the_size_and_format_that_were_asked_for(self, images, output_format):
        finished = images.generate(paint(n=2, output_format=output_format))
        assert len(finished.pictures) == 2
        assert finished.pictures[0] != finished.pictures[1]
        for drawn in finished.pictures:
            assert media_type_and_size(base64.b64decode(drawn.b64)) == (drawn.media_type, 256, 256)
            assert drawn.media_type == f"image/{output_format or 'png'}"
        assert (finished.size, finished.output_format) == ("256x256", output_format or "png")
        assert finished.created == NOW
        assert finished.vendor_request_id

    def test_usage_is_reported_and_costs_no_more_than_the_hold(self, images):
        call = paint(n=3, quality="high")
        usage = images.generate(call).usage
        assert usage.output > 0
        assert usage.input == usage.text_in > 0
        assert (
            usage_image_cost(PAINTER, usage).usd_micro <= maximum_image_cost(PAINTER, call.request).usd_micro
        )

    def test_the_same_request_gives_the_same_bytes(self, images):
        assert images.generate(paint()).pictures == images.generate(paint()).pictures
        assert images.generate(paint()).pictures != images.generate(paint("a dog")).pictures

    @pytest.mark.parametrize("count", [1, 3])
    def test_edits_take_several_pictures_and_a_mask(self, images, count):
        inputs = tuple(
            InputImage(picture(colour=colour), "image/png", 64, 48)
            for colour in ("red", "green", "blue")[:count]
        )
        mask = InputImage(picture(mode="RGBA", colour=(0, 0, 0, 0)), "image/png", 64, 48)
        finished = images.generate(paint(operation="edit", images=inputs, mask=mask, size=None))
        assert finished.usage.image_in > 0
        assert finished.size == "1536x1024"

    def test_an_input_that_cannot_be_decoded_is_rejected_by_name(self, images):
        cut = InputImage(picture(width=600, height=600)[:100], "image/png", 600, 600)
        with pytest.raises(Rejected) as error:
            images.generate(paint(operation="edit", images=(cut,)))
        assert error.value.param == "image"

    @pytest.mark.parametrize("operation", ["generate", "edit"])
    def test_a_stream_has_its_partials_and_then_one_end(self, images, operation):
        inputs = (InputImage(picture(), "image/png", 64, 48),) if operation == "edit" else ()
        *partials, end = outcome(
            images, paint(operation=operation, images=inputs, stream=True, partial_images=2, n=2)
        )
        assert [partial.index for partial in partials] == [0, 1]
        assert all(isinstance(partial, Partial) for partial in partials)
        assert isinstance(end, Finished)
        assert len(end.pictures) == 2
        plain = images.generate(paint(operation=operation, images=inputs, n=2))
        assert end.pictures == plain.pictures
        assert end.usage.output == plain.usage.output + 2 * 2 * 100

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("steering", "error"),
        [
            ("error=400", Rejected),
            ("error=422", Rejected),
            ("error=401", BadCredential),
            ("error=403", BadCredential),
            ("error=402", OutOfCredit),
            ("error=404", Retired),
            ("error=408", Fault),
            ("error=429", Throttled),
            ("error=429:insufficient_quota", OutOfCredit),
            ("error=500", Fault),
            ("error=503", Fault),
            ("error=529", Throttled),
            ("retired", Retired),
            ("drop", OutcomeUnknown),
            ("hang", OutcomeUnknown),
            ("cut=0", OutcomeUnknown),
            ("malformed", Fault),
            ("html", Fault),
            ("fewer=1", NoPicture),
            ("refuse=violence", Refused),
            ("flagged=input", Refused),
            ("flagged=output", Refused),
            ("nonsense", Rejected),
        ],
    )
    def test_every_failure_has_one_meaning(self, images, steering, error, stream):
        if stream and steering == "fewer=1":
            error = OutcomeUnknown if isinstance(images, OpenAIImages) else NoPicture
        with pytest.raises(error) as raised:
            outcome(images, paint(f"sandbox:{steering} a fox", stream=stream))
        assert type(raised.value) is error

    def test_a_refusal_names_its_category(self, images):
        with pytest.raises(Refused) as refused:
            images.generate(paint("sandbox:refuse=violence x"))
        assert refused.value.category == "violence"

    def test_json_to_a_stream_is_a_fault(self, images):
        with pytest.raises(Fault):
            outcome(images, paint("sandbox:json x", stream=True))
        assert images.generate(paint("sandbox:json x")).pictures

    def test_a_stream_that_is_cut_after_a_partial_leaves_the_outcome_unknown(self, images):
        seen = []

        def read():
            with images.stream(paint("sandbox:cut=1 x", stream=True, partial_images=2)) as events:
                seen.extend(type(event) for event in events)

        with pytest.raises(OutcomeUnknown):
            read()
        assert seen == [Partial]

    def test_usage_may_be_missing_and_pictures_fewer_than_asked_for(self, images):
        assert images.generate(paint("sandbox:nousage x")).usage is None
        assert outcome(images, paint("sandbox:nousage x", stream=True))[-1].usage is None
        assert len(images.generate(paint("sandbox:fewer=1 x", n=3)).pictures) == 2

    def test_a_usage_of_a_wanted_price_is_told(self, images):
        usage = images.generate(paint("sandbox:cost=3000 x")).usage
        assert usage_image_cost(PAINTER, usage).usd_micro == 3_000


class TestMessages:
    def test_the_answer_tells_facts_of_the_picture(self, messages):
        answered = messages.create(ask())
        body = json.loads(answered.body)
        text = body["content"][0]["text"]
        assert "PNG, 64x48 pixels" in text
        assert "#ff0000 100 %" in text
        assert body["model"] == READER.name
        assert (answered.stop_reason, answered.usage.output) == ("end_turn", body["usage"]["output_tokens"])
        assert answered.usage.input > 0
        assert answered.vendor_request_id

    def test_thinking_comes_before_the_text(self, messages):
        for reader, thinking in (
            (BUDGETED, {"type": "enabled", "budget_tokens": 1_024}),
            (READER, {"type": "adaptive"}),
        ):
            call = replace(ask(thinking=thinking, model=reader.name), model=reader)
            body = json.loads(messages.create(call).body)
            assert [block["type"] for block in body["content"]] == ["thinking", "text"]
            assert body["content"][0]["signature"]

    def test_a_budget_that_cannot_be_is_rejected(self, messages):
        with pytest.raises(Rejected) as error:
            messages.create(
                replace(
                    ask(thinking={"type": "enabled", "budget_tokens": 5}, model=BUDGETED.name), model=BUDGETED
                )
            )
        assert error.value.param == "thinking.budget_tokens"

    def test_a_budget_is_rejected_by_a_model_that_takes_none(self, messages):
        with pytest.raises(Rejected) as error:
            messages.create(ask(thinking={"type": "enabled", "budget_tokens": 1_024}))
        assert error.value.param == "thinking.type"

    @pytest.mark.parametrize(
        "schema", ["object", {"type": "thing"}, {"properties": []}, {"properties": {"a": 1}}]
    )
    def test_a_schema_that_is_none_is_rejected(self, messages, schema):
        with pytest.raises(Rejected) as error:
            messages.create(ask(output_config={"format": {"type": "json_schema", "schema": schema}}))
        assert error.value.param == "output_config.format.schema"

    def test_a_schema_is_filled(self, messages):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 2}}, "required": ["n"]}
        answered = messages.create(ask(output_config={"format": {"type": "json_schema", "schema": schema}}))
        assert json.loads(json.loads(answered.body)["content"][0]["text"]) == {"n": 2}

    def test_output_stops_at_max_tokens(self, messages):
        answered = messages.create(ask(max_tokens=5))
        assert (answered.stop_reason, answered.usage.output) == ("max_tokens", 5)

    def test_a_stream_says_the_same_as_the_whole_answer(self, messages):
        events = answer(messages, ask(stream=True, thinking={"type": "adaptive"}))
        whole = messages.create(ask(thinking={"type": "adaptive"}))
        names = [event.name for event in events]
        assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
        data = [json.loads(event.raw.split(b"data: ", 1)[1]) for event in events]
        text = "".join(
            item["delta"].get("text", "") for item in data if item["type"] == "content_block_delta"
        )
        assert text == json.loads(whole.body)["content"][1]["text"]
        assert events[-2].usage == whole.usage
        assert events[-2].stop_reason == "end_turn"

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("steering", "error"),
        [
            ("error=400", Rejected),
            ("error=401", BadCredential),
            ("error=402", OutOfCredit),
            ("error=403", BadCredential),
            ("error=404", Retired),
            ("error=413", Rejected),
            ("error=429", Throttled),
            ("error=529", Throttled),
            ("error=500", Fault),
            ("retired", Retired),
            ("drop", OutcomeUnknown),
            ("hang", OutcomeUnknown),
            ("cut=3", OutcomeUnknown),
            ("malformed", Fault),
            ("html", Fault),
            ("nonsense", Rejected),
        ],
    )
    def test_every_failure_has_one_meaning(self, messages, steering, error, stream):
        with pytest.raises(error) as raised:
            answer(messages, ask(f"sandbox:{steering} x", stream=stream))
        assert type(raised.value) is error

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_refusal_is_a_normal_answer(self, messages, stream):
        answered = answer(messages, ask("sandbox:refuse=cyber x", stream=stream))
        assert (answered[-2] if stream else answered).stop_reason == "refusal"

    def test_json_to_a_stream_is_a_fault(self, messages):
        with pytest.raises(Fault):
            answer(messages, ask("sandbox:json x", stream=True))

    def test_usage_may_be_missing_or_of_a_wanted_price(self, messages):
        assert messages.create(ask("sandbox:nousage x")).usage is None
        assert messages.create(ask("sandbox:cost=3000 x")).usage.output == 300

    def test_tokens_are_counted_without_an_answer(self, messages):
        counted = json.loads(messages.count_tokens(replace(ask(), stream=False)))
        assert counted == {"input_tokens": messages.create(ask()).usage.input}
        with pytest.raises(Throttled):
            messages.count_tokens(ask("sandbox:error=429 x"))
