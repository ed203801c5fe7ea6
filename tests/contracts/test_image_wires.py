"""One suite for the port `Images`, over every wire and the sandbox in process: a wire joins with a line of WIRES."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from lines import line
from sandboxes import NOW, Served, model, picture, seed, serve_sandbox

from rollout.core.catalogue import Catalogue, Model
from rollout.core.guardrails import CATEGORIES
from rollout.core.images import Finished, ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.prices import actual_image_cost, maximum_image_cost, tells_cost, usage_image_cost
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    Images,
    NoPicture,
    NotSent,
    OutcomeUnknown,
    PortError,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.providers.gemini import GeminiImages
from rollout.providers.nova import NovaImages
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.works import Works
from rollout.providers.xai import XaiImages


@dataclass(frozen=True)
class Wire:
    """`build` makes the port of a server at the URL."""

    model: str
    build: Callable[[str], Images]


WIRES = {
    "sandbox": Wire("gpt-image-2", lambda url: SandboxImages(Works(lambda: NOW), lambda seconds: None, 1)),
    "openai_images": Wire("gpt-image-2", lambda url: OpenAIImages("any", f"{url}/v1", line())),
    "gemini": Wire("gemini-nano-banana-2.1", lambda url: GeminiImages("any", url, line())),
    "nova": Wire("nova-canvas", lambda url: NovaImages("A:b", url, line())),
    "xai": Wire("grok-imagine-image-2.0", lambda url: XaiImages("any", f"{url}/xai/v1", line())),
}


@dataclass
class Joined:
    """A wire under test: its `port`, a `row` of the catalogue that answers, and the `served` sandbox that it asks."""

    port: Images
    row: Model
    served: Served

    def call(self, prompt: str = "a fox", **members: Any) -> ImageCall:
        request = {"operation": "generate", "prompt": prompt, "model": self.row.name, **members}
        return ImageCall(self.row, ImageRequest(**request), user="hashed")

    def make(self, prompt: str = "a fox", **members: Any) -> Finished:
        return self.port.generate(self.call(prompt, **members))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    living = [replace(row, lifecycle="active") for row in seed().models]
    with serve_sandbox(Catalogue(living)) as running:
        yield running


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, served: Served) -> Joined:
    found = WIRES[request.param]
    served.sandbox.journal.clear()
    return Joined(found.build(served.url), replace(model(found.model), lifecycle="active"), served)


def test_as_many_pictures_come_as_were_asked_for(wire: Joined) -> None:
    count = min(2, wire.row.max_images)
    finished = wire.make(n=count, size=wire.row.sizes[0])
    assert len(finished.pictures) == count
    for made in finished.pictures:
        media_type, width, height = media_type_and_size(base64.b64decode(made.b64))
        assert (media_type, f"{width}x{height}") == (made.media_type, wire.row.sizes[0])
    assert finished.output_format == finished.pictures[0].media_type.removeprefix("image/")
    assert finished.created == pytest.approx(NOW, abs=10**9)
    assert finished.vendor_request_id


def test_every_size_of_the_row_is_understood(wire: Joined) -> None:
    wanted = wire.row.sizes[-1]
    (made,) = wire.make(size=wanted).pictures
    _, width, height = media_type_and_size(base64.b64decode(made.b64))
    assert f"{width}x{height}" == wanted


def test_what_is_used_costs_something_and_no_more_than_the_hold(wire: Joined) -> None:
    call = wire.call(
        n=min(3, wire.row.max_images), quality=wire.row.qualities[0] if wire.row.qualities else None
    )
    finished = wire.port.generate(call)
    maximum = maximum_image_cost(wire.row, call.request)
    actual = actual_image_cost(wire.row, call.request, finished)
    assert 0 < actual.usd_micro <= maximum.usd_micro
    assert actual.settled_from == ("price_list" if wire.row.usage == "none" else "usage")


def test_a_picture_is_edited(wire: Joined) -> None:
    inputs = (InputImage(picture(width=512, height=512), "image/png", 512, 512),)
    assert len(wire.make(operation="edit", images=inputs).pictures) == 1


def test_an_input_that_cannot_be_decoded_is_rejected(wire: Joined) -> None:
    cut = InputImage(picture(width=600, height=600)[:100], "image/png", 600, 600)
    with pytest.raises(Rejected):
        wire.make(operation="edit", images=(cut,))


def test_the_same_request_gives_the_same_bytes(wire: Joined) -> None:
    first, again, other = (wire.make(prompt).pictures for prompt in ("a fox", "a fox", "a dog"))
    assert first == again != other


@pytest.mark.parametrize(
    ("steering", "error"),
    [
        ("error=400", Rejected),
        ("error=401", BadCredential),
        ("error=403", BadCredential),
        ("error=404", Retired),
        ("error=429", Throttled),
        ("error=500", Fault),
        ("error=503", Fault),
        ("retired", Retired),
        ("drop", OutcomeUnknown),
        ("hang", OutcomeUnknown),
        ("cut=0", OutcomeUnknown),
        ("malformed", Fault),
        ("html", Fault),
        ("refuse=violence", Refused),
        ("flagged=input", Refused),
        ("flagged=output", Refused),
        ("nonsense", Rejected),
    ],
)
def test_every_failure_has_one_meaning_and_is_one_call(
    wire: Joined, steering: str, error: type[PortError]
) -> None:
    with pytest.raises(error) as raised:
        wire.make(f"sandbox:{steering} a fox")
    assert type(raised.value) is error
    if not isinstance(wire.port, SandboxImages):
        assert len(wire.served.journal()) == 1


def test_a_failure_does_not_spoil_the_next_call(wire: Joined) -> None:
    for steering in ("cut=0", "drop", "error=500", "malformed"):
        with pytest.raises(PortError):
            wire.make(f"sandbox:{steering} a fox")
    assert wire.make().pictures


@pytest.mark.parametrize(
    ("how", "point"), [("refuse=violence", "prompt"), ("flagged=output", "output_image")]
)
def test_a_refusal_says_what_was_refused_and_of_what_kind(wire: Joined, how: str, point: str) -> None:
    call = wire.call(f"sandbox:{how} x")
    with pytest.raises(Refused) as refused:
        wire.port.generate(call)
    told = refused.value
    assert told.point == point
    assert told.category in CATEGORIES
    if tells_cost(told.usage, wire.row):
        held = maximum_image_cost(wire.row, call.request).usd_micro
        assert usage_image_cost(wire.row, told.usage).usd_micro <= held


def test_an_answer_without_a_picture_is_billed_only_where_its_usage_says_so(wire: Joined) -> None:
    with pytest.raises(NoPicture if wire.row.usage != "none" else Fault):
        wire.make("sandbox:fewer=1 x")


def test_usage_may_be_missing(wire: Joined) -> None:
    call = wire.call("sandbox:nousage x")
    finished = wire.port.generate(call)
    cost = actual_image_cost(wire.row, call.request, finished)
    assert (finished.usage, cost.settled_from) == (None, "price_list")
    assert 0 < cost.usd_micro <= maximum_image_cost(wire.row, call.request).usd_micro


@pytest.mark.parametrize("name", sorted(set(WIRES) - {"sandbox"}))
def test_a_server_that_is_not_there_was_sent_nothing(name: str) -> None:
    found = WIRES[name]
    with pytest.raises(NotSent):
        Joined(found.build("http://127.0.0.1:9"), model(found.model), None).make()  # type: ignore[arg-type]
