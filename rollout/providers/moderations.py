"""Moderations: POST moderations, Bearer, through the official `openai` SDK.

The caller's body goes out byte for byte and the vendor's answer comes back so. Free of charge, so what fails moves no
money; an answer that is none is a Fault.
"""

from __future__ import annotations

import msgspec

from rollout.providers import openai_sdk
from rollout.providers.base import Fault
from rollout.providers.transport import Line, read_whole

DEFAULT_BASE_URL = "https://api.openai.com/v1"
ERRORS = openai_sdk.ACCOUNT_ERRORS


class _Answer(msgspec.Struct):
    results: list[msgspec.Raw]


class OpenAIModerations:
    """The port `Moderations` over one client; `base_url` with /v1."""

    def __init__(self, api_key: str, base_url: str, line: Line) -> None:
        self._line = line
        self._client = openai_sdk.connect(api_key, base_url or DEFAULT_BASE_URL, line)

    def create(self, body: bytes) -> bytes:
        response = openai_sdk.post(
            self._client, "/moderations", errors=ERRORS, timeout=self._line.moderation, content=body
        )
        vendor_request_id = openai_sdk.id_of(response)
        return decode(read_whole(response, vendor_request_id), vendor_request_id)

    def close(self) -> None:
        self._client.close()


def decode(body: bytes, vendor_request_id: str | None) -> bytes:
    """The answer as it came. Raises Fault for one that holds no result."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    if not answer.results:
        raise Fault("an answer without results", vendor_request_id=vendor_request_id)
    return body
