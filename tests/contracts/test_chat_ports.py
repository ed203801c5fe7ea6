"""One suite for the ports `Chats` and `Moderations`, over every implementation: in process, and through the real SDK and sockets."""

import base64
import json
from collections.abc import Iterator

import pytest
from lines import line
from sandboxes import NOW, Served, model, picture, serve_sandbox

from rollout.providers.base import (
    BadCredential,
    ChatCall,
    Fault,
    OutcomeUnknown,
    OutOfCredit,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.moderations import OpenAIModerations
from rollout.providers.openai_chat import OpenAIChats
from rollout.providers.sandbox.chats import SandboxChats
from rollout.providers.sandbox.moderations import CATEGORIES, OF_PICTURES, SandboxModerations
from rollout.providers.sandbox.works import Works

LLAMA = model("llama-3.2-90b-vision")
URL = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve_sandbox() as running:
        yield running


@pytest.fixture(params=["sandbox", "openai_chat"])
def chats(request, served):
    if request.param == "sandbox":
        yield SandboxChats(Works(lambda: NOW), lambda _: None, 1)
    else:
        port = OpenAIChats("any", f"{served.url}/v1", line())
        yield port
        port.close()


@pytest.fixture(params=["sandbox", "moderations"])
def moderations(request, served):
    if request.param == "sandbox":
        yield SandboxModerations(lambda _: None, 1)
    else:
        port = OpenAIModerations("any", f"{served.url}/v1", line())
        yield port
        port.close()


def ask(prompt="what is it?", *, stream=False, **members):
    content = [{"type": "text", "text": prompt}, PICTURE]
    body = {"model": LLAMA.upstream_id, "messages": [{"role": "user", "content": content}], **members}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return ChatCall(LLAMA, json.dumps(body).encode(), stream)


def answer(chats, call):
    if not call.stream:
        return chats.create(call)
    with chats.stream(call) as events:
        return list(events)


def message(answered):
    return json.loads(answered.body)["choices"][0]["message"]


def chunks(events):
    return [json.loads(event.raw.removeprefix(b"data: ")) for event in events if not event.is_last]


FAULTS = [
    ("error=400", Rejected),
    ("error=401", BadCredential),
    ("error=403", BadCredential),
    ("error=404", Retired),
    ("error=413", Rejected),
    ("error=429", Throttled),
    ("error=429:insufficient_quota", OutOfCredit),
    ("error=500", Fault),
    ("retired", Retired),
    ("drop", OutcomeUnknown),
    ("hang", OutcomeUnknown),
    ("cut=3", OutcomeUnknown),
    ("malformed", Fault),
    ("html", Fault),
    ("nonsense", Rejected),
]


class TestChats:
    def test_the_answer_tells_facts_of_the_picture(self, chats):
        answered = chats.create(ask())
        body = json.loads(answered.body)
        assert "PNG, 64x48 pixels" in message(answered)["content"]
        assert (body["object"], body["model"]) == ("chat.completion", LLAMA.upstream_id)
        assert body["choices"][0]["finish_reason"] == "stop"
        assert answered.usage.output == body["usage"]["completion_tokens"] > 0
        assert answered.usage.input == body["usage"]["prompt_tokens"] > 0
        assert answered.refusal is None
        assert answered.vendor_request_id

    def test_choices_are_as_many_as_asked_for_and_all_charged(self, chats):
        one, three = chats.create(ask()), chats.create(ask(n=3))
        assert [choice["index"] for choice in json.loads(three.body)["choices"]] == [0, 1, 2]
        assert three.usage.output == 3 * one.usage.output

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_output_stops_at_its_bound(self, chats, name):
        answered = chats.create(ask(**{name: 5}))
        assert json.loads(answered.body)["choices"][0]["finish_reason"] == "length"
        assert answered.usage.output == 5

    def test_a_schema_is_filled(self, chats):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 2}}, "required": ["n"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        assert json.loads(message(chats.create(ask(response_format=wanted)))["content"]) == {"n": 2}

    def test_a_stream_says_the_same_as_the_whole_answer(self, chats):
        events, whole = answer(chats, ask(stream=True)), chats.create(ask())
        *parts, usage = chunks(events)
        text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
        assert text == message(whole)["content"]
        assert parts[-1]["choices"][0]["finish_reason"] == "stop"
        assert usage["choices"] == []
        assert [event.is_usage for event in events] == [False] * len(parts) + [True, False]
        assert events[-2].usage == whole.usage
        assert (events[-1].raw, events[-1].is_last) == (b"data: [DONE]\n\n", True)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("steering", "error"), FAULTS)
    def test_every_failure_has_one_meaning(self, chats, steering, error, stream):
        with pytest.raises(error) as raised:
            answer(chats, ask(f"sandbox:{steering} x", stream=stream))
        assert type(raised.value) is error

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("steering", "word"), [("refuse=cyber", "refusal"), ("flagged=output", "content_filter")]
    )
    def test_a_refusal_is_a_normal_answer(self, chats, stream, steering, word):
        answered = answer(chats, ask(f"sandbox:{steering} x", stream=stream))
        told = {event.refusal for event in answered} - {None} if stream else {answered.refusal}
        assert told == {word}

    def test_json_to_a_stream_is_a_fault(self, chats):
        with pytest.raises(Fault):
            answer(chats, ask("sandbox:json x", stream=True))

    def test_usage_may_be_missing_or_of_a_wanted_price(self, chats):
        assert chats.create(ask("sandbox:nousage x")).usage is None
        assert {event.usage for event in answer(chats, ask("sandbox:nousage x", stream=True))} == {None}
        assert chats.create(ask("sandbox:cost=3200 x")).usage.output == 2_000


class TestModerations:
    def moderate(self, moderations, given):
        return json.loads(moderations.create(json.dumps({"input": given}).encode()))

    def test_each_input_has_a_result_of_thirteen_categories(self, moderations):
        told = self.moderate(moderations, ["a fox", "sandbox:refuse=violence x"])
        assert told["model"] == "omni-moderation-latest"
        assert len(told["results"]) == 2
        for result in told["results"]:
            assert set(result["categories"]) == set(result["category_scores"]) == set(CATEGORIES)
            assert len(CATEGORIES) == 13
            assert not result["flagged"]

    def test_the_same_input_has_the_same_scores_and_another_has_others(self, moderations):
        fox, again, dog = (
            self.moderate(moderations, text)["results"] for text in ("a fox", "a fox", "a dog")
        )
        assert fox == again
        assert fox != dog
        assert max(fox[0]["category_scores"].values()) < 0.01

    @pytest.mark.parametrize(
        ("steering", "category"),
        [
            ("refuse=violence", "violence"),
            ("refuse=self_harm", "self-harm"),
            ("refuse=minors", "sexual/minors"),
            ("flagged=input", "violence"),
        ],
    )
    def test_it_can_be_told_to_flag(self, moderations, steering, category):
        (result,) = self.moderate(moderations, f"sandbox:{steering} x")["results"]
        assert result["flagged"]
        assert [name for name, is_so in result["categories"].items() if is_so] == [category]
        assert result["category_scores"][category] > 0.9

    def test_pictures_are_looked_at_for_what_can_be_seen(self, moderations):
        (result,) = self.moderate(moderations, [{"type": "text", "text": "x"}, PICTURE])["results"]
        applied = result["category_applied_input_types"]
        assert {name for name, kinds in applied.items() if "image" in kinds} == OF_PICTURES
        assert all("text" in kinds for kinds in applied.values())

    @pytest.mark.parametrize(("steering", "error"), [*FAULTS, ("refuse=cyber", Rejected)])
    def test_every_failure_has_one_meaning(self, moderations, steering, error):
        with pytest.raises(error) as raised:
            self.moderate(moderations, f"sandbox:{steering} x")
        assert type(raised.value) is error
