"""A partner's developer, who has a key and an error: the documentation says what to do."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
from people import Person, new_partner
from places import Demo
from playwright.sync_api import expect


def test_from_the_first_page_to_the_page_of_the_error(demo: Demo, arrive: Callable[..., Person]) -> None:
    globex = new_partner(demo, "Globex")
    with (
        openai.OpenAI(base_url=f"{demo.url}/v1", api_key=globex.key, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        client.images.generate(prompt="a red fox", size="1024x1024")
    code = refused.value.code
    assert code == "feature_not_enabled"

    developer = arrive()
    page = developer.page
    page.goto("/docs")
    expect(page.get_by_role("main")).to_contain_text(f'base_url="{demo.url}/v1"')
    developer.press(page.get_by_role("link", name="Errors"))
    developer.press(page.get_by_role("link", name=code))
    expect(page.get_by_role("main")).to_contain_text("POST /api/v1/access-requests")
    expect(page.get_by_role("heading", name="What to do")).to_be_visible()


def test_the_page_that_a_refusal_links(demo: Demo, arrive: Callable[..., Person]) -> None:
    globex = new_partner(demo, "Globex")
    status, _, refusal = globex.call("POST", "/api/v1/access-requests", {"feature": "image-generation"})
    assert (status, refusal["param"]) == (400, "use_case")
    developer = arrive()
    page = developer.page
    page.goto(refusal["type"])
    expect(page.get_by_role("main").get_by_text(refusal["code"], exact=True).first).to_be_visible()
    expect(page.get_by_role("heading", name="Retry?")).to_be_visible()
