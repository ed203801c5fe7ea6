"""Refining and judging as the official SDK asks for them, through the vendors' wire formats: one upstream call a question,
whatever becomes of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from PIL import Image
from processes import Process, Service, Starter, call, wait_until

BOTH = {"rollout": {"refine_prompt": True, "evaluate": True}}
MESSAGES, PICTURES = "/v1/messages", "/v1/images/generations"
UNKNOWN, AWAY = "outcome_unknown", "upstream_unavailable"


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def service(
    request: pytest.FixtureRequest,
    shared_starter: Starter,
    new_database: Callable[..., str],
    vendor: Process,
) -> Service:
    return shared_starter.service(new_database(request.param), vendor=vendor)


@pytest.fixture
def gpt(service: Service, vendor: Process) -> Iterator[openai.OpenAI]:
    call("DELETE", f"{vendor.url}/sandbox/journal")
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client:
        yield client


def arrived(vendor: Process) -> list[str]:
    """The paths of what the vendor was asked to do, in order."""
    rows = call("GET", f"{vendor.url}/sandbox/journal")[2]["data"]
    return [row["path"] for row in rows if row["method"] == "POST"]


def told(answer: Any) -> Any:
    return answer.model_extra["rollout"]


def generate(gpt: openai.OpenAI, prompt: str, **members: Any) -> Any:
    return gpt.images.generate(
        model="gpt-image-2.6-flare", prompt=prompt, size="1024x1024", quality="low", **members
    )


def test_a_picture_is_made_of_the_refined_prompt_and_judged(gpt: openai.OpenAI, vendor: Process) -> None:
    answer = generate(gpt, "a lighthouse", extra_body=BOTH)

    refined = "a lighthouse, in more words (SANDBOX)"
    assert answer.data[0].revised_prompt == refined
    assert told(answer)["refine_prompt"] == {"prompt": refined, "model": "claude-sonnet-5-5"}
    assert told(answer)["evaluate"]["score"] == 0.9
    assert set(told(answer)["evaluate"]["criteria"]) == {
        "shows_what_was_asked",
        "text_rendered_right",
        "free_of_defects",
    }
    assert arrived(vendor) == [MESSAGES, PICTURES, MESSAGES]


@pytest.mark.parametrize(
    ("steering", "refine_prompt", "evaluate"),
    [
        ("refine=error:500,judge=error:529", AWAY, AWAY),
        ("refine=drop,judge=cut:1", UNKNOWN, UNKNOWN),
        ("refine=malformed,judge=html", AWAY, AWAY),
        ("refine=refuse:cyber,judge=refuse:violence", "content_refused", "content_refused"),
        ("refine=error:401,judge=error:429", AWAY, AWAY),
    ],
)
def test_what_becomes_of_the_questions_changes_only_their_own_words(
    gpt: openai.OpenAI, vendor: Process, steering: str, refine_prompt: str, evaluate: str
) -> None:
    answer = generate(gpt, f"sandbox:{steering} a fox", extra_body=BOTH)

    assert answer.data[0].b64_json
    assert answer.data[0].revised_prompt is None
    assert told(answer) == {"refine_prompt": {"skipped": refine_prompt}, "evaluate": {"skipped": evaluate}}
    assert arrived(vendor) == [MESSAGES, PICTURES, MESSAGES]


def test_a_repeated_call_asks_nothing_again(gpt: openai.OpenAI, vendor: Process) -> None:
    headers = {"Idempotency-Key": "judged-1"}
    first = generate(gpt, "sandbox:judge=score:0.3 a fox", extra_body=BOTH, extra_headers=headers)
    again = generate(gpt, "sandbox:judge=score:0.3 a fox", extra_body=BOTH, extra_headers=headers)

    assert told(first)["evaluate"]["score"] == 0.3
    assert told(again) == told(first)
    assert len(arrived(vendor)) == 3


def test_an_edit_asks_by_a_form(gpt: openai.OpenAI, vendor: Process) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")

    answer = gpt.images.edit(
        model="gpt-image-2.6-flare",
        prompt="put a hat on it",
        image=("one.png", picture.getvalue(), "image/png"),
        size="1024x1024",
        quality="low",
        extra_body={"rollout": {"evaluate": True}},
    )

    assert told(answer)["evaluate"]["score"] == 0.9
    assert arrived(vendor) == ["/v1/images/edits", MESSAGES]


def test_a_stream_has_only_events_of_its_own_kind_and_its_evaluation_is_read_later(
    gpt: openai.OpenAI, service: Service, vendor: Process
) -> None:
    with gpt.images.with_streaming_response.generate(
        model="gpt-image-2.6-flare",
        prompt="sandbox:judge=score:0.7 a fox",
        size="1024x1024",
        quality="low",
        stream=True,
        partial_images=1,
        extra_body=BOTH,
    ) as answer:
        path = f"/api/v1/generations/{answer.headers['x-rollout-generation']}"
        types = [event.type for event in answer.parse()]

    def read() -> Any:
        return service.call("GET", path, key=service.key("acme"))[2]["rollout"]

    assert types == ["image_generation.partial_image", "image_generation.completed"]
    wait_until(lambda: "score" in read()["evaluate"], "the judge")
    assert read()["evaluate"]["score"] == 0.7
    assert read()["refine_prompt"]["prompt"].endswith("(SANDBOX)")
    assert arrived(vendor) == [MESSAGES, PICTURES, MESSAGES]


@pytest.mark.parametrize(
    ("steering", "category"),
    [("refuse=violence", "violence"), ("flagged=output,refuse=minors", "minors"), ("refuse=novel", "policy")],
)
def test_a_refusal_tells_its_category_and_leaves_one_event(
    gpt: openai.OpenAI, service: Service, vendor: Process, steering: str, category: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        generate(gpt, f"sandbox:{steering} a fox", extra_body=BOTH)

    body = refused.value.body
    assert isinstance(body, dict)
    assert (body["code"], body["category"]) == ("content_refused", category)
    story = service.admin("GET", f"/requests/{refused.value.request_id}")
    (event,) = [event["values"] for event in story["events"] if event["kind"] == "guardrail"]
    assert event["category"] == category
    assert event["point"] == ("output_image" if "output" in steering else "prompt")
    assert arrived(vendor) == [MESSAGES, PICTURES]
