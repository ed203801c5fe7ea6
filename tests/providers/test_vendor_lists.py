"""The vendors' own lists of models, as each of them tells it, and as the sandbox does over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from lines import answered_by
from sandboxes import seed, serve_sandbox

from rollout.core.catalogue_checks import Listed, differences
from rollout.core.times import epoch
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import BadCredential, Fault, Lists, NotSent, PortError, Throttled
from rollout.providers.gemini import GeminiImages
from rollout.providers.nova import NovaImages
from rollout.providers.openai_chat import OpenAIChats
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.transport import Line
from rollout.services.providers import connect
from rollout.settings import Settings

DAY = epoch("2027-05-01T00:00:00Z")

Make = Callable[[str, str, Line], Lists]

LISTS: dict[str, tuple[Make, str, str, Any]] = {
    "openai": (
        OpenAIImages,
        "https://v.example/v1",
        "https://v.example/v1/models",
        {
            "object": "list",
            "data": [
                {"id": "a", "object": "model", "created": 1, "owned_by": "o", "shutdown_date": "2027-05-01"},
                {"id": "b", "object": "model", "created": 1, "owned_by": "o", "shutdown_date": None},
            ],
        },
    ),
    "chat": (
        OpenAIChats,
        "https://h.example/v1",
        "https://h.example/v1/models",
        {"data": [{"id": "a", "shutdown_date": DAY}, {"id": "b"}]},
    ),
    "anthropic": (
        AnthropicMessages,
        "https://v.example",
        "https://v.example/v1/models?limit=1000",
        {
            "data": [
                {"type": "model", "id": "a", "lifecycle": "deprecated", "retires_at": "2027-05-01T00:00:00Z"},
                {"type": "model", "id": "b", "lifecycle": "active", "retires_at": None},
                {"type": "model", "id": "c", "lifecycle": "retired", "retires_at": "2027-05-01T00:00:00Z"},
            ],
            "has_more": False,
        },
    ),
    "gemini": (
        GeminiImages,
        "https://v.example",
        "https://v.example/v1beta/models?pageSize=1000",
        {"models": [{"name": "models/a", "supportedGenerationMethods": ["generateContent"]}]},
    ),
    "bedrock": (
        NovaImages,
        "https://bedrock-runtime.eu-west-1.amazonaws.com",
        "https://bedrock.eu-west-1.amazonaws.com/foundation-models",
        {
            "modelSummaries": [
                {
                    "modelId": "a",
                    "modelLifecycle": {"status": "LEGACY", "endOfLifeTime": "2027-05-01T00:00:00Z"},
                },
                {"modelId": "b", "modelLifecycle": {"status": "ACTIVE"}},
            ]
        },
    ),
}


class Vendor:
    """Always answers the same."""

    def __init__(self, kind: str, body: Any, status: int = 200) -> None:
        make, base_url, self.url, _ = LISTS[kind]
        self.requests: list[httpx2.Request] = []

        def handler(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            if isinstance(body, Exception):
                raise body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return httpx2.Response(status, content=content, headers={"content-type": "application/json"})

        self.port = make("AK:secret", base_url, answered_by(handler))


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_read_as_its_vendor_tells_it(kind: str) -> None:
    vendor = Vendor(kind, LISTS[kind][3])
    found = {one.upstream_id: one for one in vendor.port.models()}
    (request,) = vendor.requests
    assert (request.method, str(request.url)) == ("GET", vendor.url)
    assert found["a"] == Listed("a", None if kind == "gemini" else DAY)
    assert found.get("b", Listed("b")) == Listed("b")
    assert ("c" in found) == (kind == "anthropic")
    assert all(found[name].is_retired for name in {"c"} & set(found))
    told = request.headers
    assert "AK" in (
        told.get("authorization", "") + told.get("x-goog-api-key", "") + told.get("x-api-key", "")
    )


def test_bedrocks_list_is_signed_as_any_call() -> None:
    vendor = Vendor("bedrock", LISTS["bedrock"][3])
    vendor.port.models()
    told = vendor.requests[0].headers["authorization"]
    assert told.startswith("AWS4-HMAC-SHA256 Credential=AK/")
    assert "/eu-west-1/bedrock/aws4_request" in told


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>busy</html>", {}, {"data": 5, "models": 5}])
def test_a_list_that_is_none_is_a_fault(kind: str, body: Any) -> None:
    with pytest.raises(Fault):
        Vendor(kind, body).port.models()


def test_a_day_that_is_none_is_a_fault() -> None:
    with pytest.raises(Fault, match="soon"):
        Vendor("openai", {"data": [{"id": "a", "shutdown_date": "soon"}]}).port.models()


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(
    ("status", "error"), [(401, BadCredential), (429, Throttled), (500, Fault), (302, Fault)]
)
def test_a_list_that_is_refused_means_what_any_call_would(
    kind: str, status: int, error: type[PortError]
) -> None:
    with pytest.raises(error):
        Vendor(kind, {"error": {"message": "no"}, "message": "no"}, status).port.models()


@pytest.mark.parametrize("kind", LISTS)
def test_a_vendor_that_is_not_there_is_said_to_be(kind: str) -> None:
    with pytest.raises(NotSent):
        Vendor(kind, httpx2.ConnectError("x")).port.models()


def test_the_sandboxs_lists_agree_with_the_catalogue_over_real_sockets() -> None:
    with serve_sandbox() as served:
        settings = Settings(
            openai_base_url=f"{served.url}/v1",
            anthropic_base_url=served.url,
            gemini_base_url=served.url,
            bedrock_base_url=served.url,
            bedrock_api_key="AK:secret",
            xai_base_url=f"{served.url}/xai/v1",
        )
        lists = connect(settings).lists()
        assert set(lists) == {"openai", "anthropic", "gemini", "bedrock", "xai"}
        for vendor, port in lists.items():
            assert differences(vendor, seed(), port.models()) == []
