"""Each vendor of pictures from the official SDK to the vendor's own wire, over real sockets: pictures, edits, and every way to fail.

A row of SYSTEMS is a system; what its wire must say word for word stands in tests/providers.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import openai
import pytest
from clocks import Clock
from gateway import on_sqlite
from PIL import Image
from sandboxes import picture
from systems import System, awake, system

from rollout.core.catalogue import Catalogue
from rollout.core.decisions import GENERATION
from rollout.core.guardrails import Wanted
from rollout.core.pictures import media_type_and_size
from rollout.db.engine import Database

pytestmark = on_sqlite


@dataclass(frozen=True)
class Row:
    """A system: what is set to reach it, its model, where its wire is asked, the size asked for, what `usage` it tells, and what
    more its callers say."""

    model: str
    path: str
    size: str
    settings: dict[str, Any]
    edit_path: str | None = None
    tells_usage: bool = True
    refusal: str = "violence"
    says: dict[str, Any] = field(default_factory=dict)


def openai_images(model: str, vendor: str = "openai", url: str = "{url}/v1", **says: Any) -> Row:
    """Any system that is asked as OpenAI is."""
    return Row(
        model=model,
        path="/v1/images/generations",
        edit_path="/v1/images/edits",
        size="1536x1024",
        settings={f"{vendor}_base_url": url, f"{vendor}_api_key": "k"},
        says=says,
    )


SYSTEMS = {
    "gemini": Row(
        model="gemini-nano-banana-2.1",
        path="/v1beta/models/gemini-nano-banana-2.1:generateContent",
        size="16:9",
        settings={"gemini_base_url": "{url}", "gemini_api_key": "g"},
    ),
    "nova": Row(
        model="nova-canvas",
        path="/model/amazon.nova-canvas-v1:0/invoke",
        size="1280x720",
        settings={"bedrock_base_url": "{url}", "bedrock_api_key": "AKIA:secret"},
        tells_usage=False,
        refusal="policy",
    ),
    "grok": Row(
        model="grok-imagine-image-2.0",
        path="/xai/v1/images/generations",
        edit_path="/xai/v1/images/edits",
        size="16:9",
        settings={"xai_base_url": "{url}/xai/v1", "xai_api_key": "x"},
    ),
    "gpt-image-1": openai_images("gpt-image-1"),
    "chatgpt 4o image": openai_images("chatgpt-4o-image"),
    "dall-e": openai_images("dall-e-3", response_format="b64_json"),
    "cometapi": openai_images("cometapi-gpt-image-2.6-flare", "cometapi", "{url}"),
    "an own endpoint": openai_images("own-model", "compatible"),
}


@pytest.fixture(params=SYSTEMS)
def row(request: pytest.FixtureRequest) -> Row:
    return SYSTEMS[request.param]


@pytest.fixture
def at(row: Row, database: Database, clock: Clock, tmp_path: Path) -> Iterator[System]:
    with system(database, clock, tmp_path, catalogue_of(row), **row.settings) as running:
        yield running


def catalogue_of(row: Row) -> Catalogue:
    """The seed with the row awake, and the model of an endpoint that an operator would add."""
    found = awake(row.model)
    own = replace(found.get("gpt-image-2"), name="own-model", vendor="compatible")
    return Catalogue([*found.models, own], found.aliases)


def generate(at: System, row: Row, prompt: str = "a lighthouse", retries: int = 2, **members: Any) -> Any:
    return at.client(retries).images.generate(model=row.model, prompt=prompt, **row.says, **members)


def test_a_picture_comes_from_one_call_and_costs_no_more_than_was_held(at: System, row: Row) -> None:
    answer = generate(at, row, size=row.size)
    (made,) = answer.data
    assert media_type_and_size(base64.b64decode(made.b64_json))[1] > 1_000
    assert at.paths() == [row.path]
    hold = at.the_hold()
    assert (hold.state, hold.settled_from) == ("settled", "usage" if row.tells_usage else "price_list")
    assert 0 < hold.cost_usd_micro <= at.reserved()


def test_a_picture_is_edited_in_one_call(at: System, row: Row) -> None:
    answer = at.client().images.edit(model=row.model, image=("a.png", picture()), prompt="at night")
    assert len(answer.data or []) == 1
    assert at.paths() == [row.edit_path or row.path]
    assert 0 < at.the_hold().cost_usd_micro <= at.reserved()


@pytest.mark.parametrize("how", ["refuse=violence", "flagged=output"])
def test_a_refusal_is_told_once_with_its_category_and_kept_as_an_event(
    at: System, row: Row, how: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        generate(at, row, f"sandbox:{how} x")
    assert refused.value.code == "content_refused"
    assert refused.value.body["category"] == (row.refusal if "refuse" in how else "policy")  # type: ignore[index]
    (event,) = at.gateway.services.guardrails.page(Wanted(), cursor=None, limit=9)
    assert event.point == ("prompt" if "refuse" in how else "output_image")
    assert event.vendor_code
    assert len(at.paths()) == 1
    assert at.the_hold().state == "settled"
    assert at.the_hold().cost_usd_micro <= at.reserved()


@pytest.mark.parametrize(
    ("how", "status", "state"),
    [
        ("error=429", 503, "void"),
        ("error=401", 503, "void"),
        ("error=400", 400, "void"),
        ("retired", 400, "void"),
        ("error=500", 502, "unknown"),
        ("drop", 504, "unknown"),
        ("cut=1", 504, "unknown"),
        ("malformed", 502, "unknown"),
        ("html", 502, "unknown"),
        ("hang", 504, "unknown"),
    ],
)
def test_a_failure_says_what_became_of_the_money_and_is_one_call(
    at: System, row: Row, how: str, status: int, state: str
) -> None:
    """What may have been billed is not even repeated by an SDK that would."""
    with pytest.raises(openai.APIStatusError) as failed:
        generate(at, row, f"sandbox:{how} x", retries=0 if state == "void" else 2)
    assert failed.value.status_code == status
    assert len(at.paths()) == 1
    assert at.the_hold().state == state


def test_an_answer_without_a_picture_is_no_success(at: System, row: Row) -> None:
    """Billed where its wire tells usage of it; else nobody knows yet."""
    with pytest.raises(openai.InternalServerError) as failed:
        generate(at, row, "sandbox:fewer=1 x")
    assert failed.value.status_code == 502
    assert len(at.paths()) == 1
    assert at.the_hold().state == ("settled" if row.tells_usage else "unknown")


@pytest.mark.parametrize("how", ["nousage", "cost=90000000"])
def test_usage_that_is_missing_or_absurd_breaks_nothing(at: System, row: Row, how: str) -> None:
    assert generate(at, row, f"sandbox:{how} x").data
    assert at.the_hold().state == "settled"


def test_what_the_model_cannot_do_is_refused_by_field_before_anything_is_held(at: System, row: Row) -> None:
    model = catalogue_of(row).resolve(row.model, GENERATION).model
    opaque = [] if model.transparency else [{"background": "transparent"}]
    for members in ({"n": model.max_images + 1}, {"size": "1x1"}, *opaque):
        with pytest.raises(openai.BadRequestError) as refused:
            generate(at, row, **members)
        assert refused.value.param in members
    assert at.paths() == []
    assert at.gateway.holds() == []


def test_nova_paints_where_the_mask_is_transparent_and_nowhere_else(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    alpha = Image.new("L", (320, 320), 255)
    alpha.paste(0, (0, 160, 320, 320))
    mask = Image.new("RGBA", alpha.size)
    mask.putalpha(alpha)
    out = io.BytesIO()
    mask.save(out, "PNG")
    row = SYSTEMS["nova"]
    with system(database, clock, tmp_path, awake(row.model), **row.settings) as at:
        original = picture(width=320, height=320)
        answer = at.client().images.edit(
            model=row.model, image=("a.png", original), mask=("m.png", out.getvalue()), prompt="grass"
        )
        made = base64.b64decode((answer.data or [])[0].b64_json or "")
    with Image.open(io.BytesIO(made)) as painted:
        assert painted.size == (320, 320)
        assert painted.convert("RGB").getpixel((160, 5)) == (255, 0, 0)
        assert painted.convert("RGB").getpixel((160, 200)) != (255, 0, 0)
