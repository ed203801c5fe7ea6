"""The official SDKs for Node, by base URL and key alone, as tests/journeys/test_sdks.py does with those for Python."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from node import run_script
from PIL import Image
from processes import Service, Starter

pytestmark = pytest.mark.node

MODEL = "gpt-image-2.6-flare"
CLAUDE = "claude-sonnet-5-5"


@pytest.fixture(scope="module")
def service(shared_starter: Starter, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(new_database("sqlite"), vendor=shared_starter.vendor())


@pytest.fixture(scope="module")
def gpt(service: Service) -> dict[str, Any]:
    """What each call of openai.mjs gave."""
    return run("openai.mjs", service)


@pytest.fixture(scope="module")
def claude(service: Service) -> dict[str, Any]:
    """What each call of anthropic.mjs gave."""
    return run("anthropic.mjs", service)


def run(script: str, service: Service) -> dict[str, Any]:
    return run_script(
        script,
        {
            "PHASEGATE_URL": service.url,
            **{tenant.upper(): service.key(tenant) for tenant in ("acme", "globex", "umbrella")},
            "PICTURE": png("RGB", "red"),
            "MASK": png("RGBA", "#00000000"),
        },
    )


def png(mode: str, colour: str) -> str:
    out = io.BytesIO()
    Image.new(mode, (64, 64), colour).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def size(b64: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(b64))).size


def test_pictures_come_as_base64_of_the_size_asked_for_with_usage(gpt: dict[str, Any]) -> None:
    answer = gpt["generate"]
    assert [size(item["b64_json"]) for item in answer["data"]] == [(1024, 1024)] * 2
    assert answer["data"][0] != answer["data"][1]
    assert answer["usage"]["output_tokens"] > 0


def test_a_picture_asked_for_by_url_can_be_downloaded_by_it(gpt: dict[str, Any]) -> None:
    assert gpt["url"]["type"] == "image/png"
    assert gpt["url"]["bytes"] > 1000


def test_an_edit_takes_several_pictures_and_a_mask(gpt: dict[str, Any]) -> None:
    assert size(gpt["edit"]["data"][0]["b64_json"]) == (1024, 1024)


def test_a_stream_gives_partials_and_then_the_whole_picture(gpt: dict[str, Any]) -> None:
    kinds = [event["type"].removeprefix("image_generation.") for event in gpt["stream"]]
    assert kinds == ["partial_image", "partial_image", "completed"]
    assert size(gpt["stream"][-1]["b64_json"]) == (1024, 1024)
    assert gpt["stream"][-1]["usage"]["output_tokens"] > 0


def test_an_edit_streams_too(gpt: dict[str, Any]) -> None:
    assert [event["type"] for event in gpt["edit_stream"]] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]


@pytest.mark.parametrize("model", ["llama-3.2-90b-vision", "grok-4"])
def test_a_chat_completion_tells_what_is_in_the_picture_streamed_or_not(
    gpt: dict[str, Any], model: str
) -> None:
    whole, chunks = gpt["chat"][model]["whole"], gpt["chat"][model]["chunks"]
    text = whole["choices"][0]["message"]["content"]
    assert "64x64 pixels" in text
    assert whole["usage"]["completion_tokens"] > 0
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"


def test_a_chat_completion_tells_its_usage_at_the_end_to_who_asks(gpt: dict[str, Any]) -> None:
    assert gpt["chat_usage"]["choices"] == []
    assert gpt["chat_usage"]["usage"]["completion_tokens"] > 0


def test_moderations_take_a_text_texts_and_pictures(gpt: dict[str, Any]) -> None:
    one, two, seen = gpt["moderations"]
    assert [len(results) for results in (one, two, seen)] == [1, 2, 1]
    assert len(one[0]["categories"]) == len(one[0]["category_scores"]) == 13
    assert [one[0]["flagged"], seen[0]["flagged"], seen[0]["categories"]["violence"]] == [False, True, True]
    assert seen[0]["category_applied_input_types"]["violence"] == ["text", "image"]


def test_an_answer_tells_its_request_decision_handle_and_what_is_left(gpt: dict[str, Any]) -> None:
    headers = gpt["headers"]
    assert headers["pictures"] == 1
    assert headers["request_id"].startswith("req_")
    assert headers["x-rollout-decision"].startswith("dec_")
    assert headers["x-rollout-feedback"]
    assert int(headers["x-ratelimit-remaining-requests"]) >= 0


def test_a_retry_after_a_lost_answer_gets_the_same_picture_and_buys_none(gpt: dict[str, Any]) -> None:
    assert gpt["lost"] == {"calls": 2, "replayed": "true"}


def test_who_gives_up_too_soon_gets_the_picture_by_the_sdks_own_retry(gpt: dict[str, Any]) -> None:
    assert gpt["impatient"] == {"pictures": 1, "replayed": "true"}


def test_both_list_the_models_that_the_tenant_may_use(gpt: dict[str, Any], claude: dict[str, Any]) -> None:
    assert {MODEL, CLAUDE} <= set(gpt["models"])
    assert CLAUDE in claude["models"]
    assert claude["model"]["type"] == "model"
    assert (gpt["model"]["object"], gpt["model"]["owned_by"]) == ("model", "xai")


@pytest.mark.parametrize(
    ("name", "kind", "status", "code", "param"),
    [
        ("unknown_model", "NotFoundError", 404, "model_not_found", "model"),
        ("bad_number", "BadRequestError", 400, "invalid_request", "n"),
        ("not_enabled", "PermissionDeniedError", 403, "feature_not_enabled", None),
        ("used_up", "RateLimitError", 429, "insufficient_quota", None),
        ("stranger", "AuthenticationError", 401, "invalid_api_key", None),
        ("variation", "NotFoundError", 404, "not_found", None),
        ("files", "NotFoundError", 404, "not_found", None),
        ("batches", "NotFoundError", 404, "not_found", None),
        ("file_id", "BadRequestError", 400, "invalid_request", "messages.0.content.0"),
    ],
)
def test_a_refusal_is_the_openai_sdks_own_error_and_is_not_retried(
    gpt: dict[str, Any], name: str, kind: str, status: int, code: str, param: str | None
) -> None:
    refused = gpt["errors"][name]
    assert refused.pop("request_id").startswith("req_")
    assert refused == {"kind": kind, "calls": 1, "status": status, "code": code, "param": param}


def test_a_message_tells_what_is_in_the_picture(claude: dict[str, Any]) -> None:
    answer = claude["create"]
    assert "64" in answer["content"][0]["text"]
    assert answer["usage"]["input_tokens"] > 0


def test_a_streamed_message_gives_text_and_the_final_message_with_usage(claude: dict[str, Any]) -> None:
    final = claude["stream"]["final"]
    assert claude["stream"]["text"] == final["content"][0]["text"] != ""
    assert final["stop_reason"] == "end_turn"
    assert final["usage"]["output_tokens"] > 0


def test_a_message_streams_raw_events(claude: dict[str, Any]) -> None:
    assert [claude["events"][0], claude["events"][-1]] == ["message_start", "message_stop"]


def test_tokens_are_counted(claude: dict[str, Any]) -> None:
    assert claude["count"]["input_tokens"] > 0


@pytest.mark.parametrize(
    ("name", "kind", "status", "code"),
    [
        ("bad_number", "BadRequestError", 400, "invalid_request"),
        ("unknown_model", "NotFoundError", 404, "model_not_found"),
        ("stranger", "AuthenticationError", 401, "invalid_api_key"),
        ("file_id", "BadRequestError", 400, "invalid_request"),
        ("batches", "NotFoundError", 404, "not_found"),
        ("files", "NotFoundError", 404, "not_found"),
    ],
)
def test_a_refusal_is_the_anthropic_sdks_own_error(
    claude: dict[str, Any], name: str, kind: str, status: int, code: str
) -> None:
    refused = claude["errors"][name]
    assert (refused["kind"], refused["status"], refused["error_code"]) == (kind, status, code)
    assert refused["request_id"].startswith("req_")
