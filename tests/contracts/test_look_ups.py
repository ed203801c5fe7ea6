"""What became of a work whose answer was lost: asked in process, and over HTTP behind the real SDKs."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterator

import pytest
from lines import line
from sandboxes import NOW, model, serve_sandbox

from rollout.core.images import ImageRequest
from rollout.providers.anthropic import AnthropicMessages
from rollout.providers.base import (
    Fault,
    Found,
    ImageCall,
    Images,
    LookUp,
    MessageCall,
    Messages,
    NotSent,
    PortError,
)
from rollout.providers.openai_images import OpenAIImages
from rollout.providers.sandbox.distant import DistantWorks
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.messages import SandboxMessages
from rollout.providers.sandbox.works import Works

PAINTER, READER = model("gpt-image-2"), model("claude-sonnet-5-5")


@dataclasses.dataclass
class Vendor:
    images: Images
    messages: Messages
    works: LookUp


@pytest.fixture(params=["in process", "over HTTP"])
def vendor(request: pytest.FixtureRequest) -> Iterator[Vendor]:
    if request.param == "in process":
        works = Works(lambda: NOW)
        yield Vendor(
            SandboxImages(works, lambda _: None, 1), SandboxMessages(works, lambda _: None, 1), works
        )
        return
    with serve_sandbox() as served:
        painter = OpenAIImages("any", f"{served.url}/v1", line())
        reader = AnthropicMessages("any", served.url, line())
        yield Vendor(painter, reader, DistantWorks(served.url))
        painter.close()
        reader.close()


def paint(prompt: str, **members: object) -> ImageCall:
    asked = {"operation": "generate", "prompt": prompt, "model": PAINTER.name, "size": "256x256", **members}
    return ImageCall(PAINTER, ImageRequest(**asked))  # type: ignore[arg-type]


def ask(prompt: str) -> MessageCall:
    body = {
        "model": READER.name,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
    }
    headers = {"anthropic-version": "2023-06-01"}
    return MessageCall(READER, json.dumps(body).encode(), stream=True, headers=headers)


def answer(vendor: Vendor, call: ImageCall | MessageCall) -> None:
    if isinstance(call, MessageCall):
        with vendor.messages.stream(call) as events:
            list(events)
    elif call.request.stream:
        with vendor.images.stream(call) as parts:
            list(parts)
    else:
        vendor.images.generate(call)


def lost(vendor: Vendor, call: ImageCall | MessageCall) -> PortError:
    """The error by which an answer was lost."""
    with pytest.raises(PortError) as raised:
        answer(vendor, call)
    return raised.value


@pytest.mark.parametrize("fault", ["cut=0", "malformed"])
def test_a_work_whose_answer_did_not_arrive_whole_was_done(vendor: Vendor, fault: str) -> None:
    error = lost(vendor, paint(f"sandbox:{fault} x", n=2))
    whole = vendor.images.generate(paint("sandbox:slow=0s x", n=2))
    assert whole.usage is not None
    found = vendor.works.look_up(str(error.vendor_request_id))
    assert found is not None
    assert (found.state, found.images) == ("done", 2)
    assert found.usage is not None
    assert found.usage.output == whole.usage.output


def test_a_picture_and_a_message_that_were_cut_off_in_mid_stream_were_done(vendor: Vendor) -> None:
    for call, images in (
        (paint("sandbox:cut=1 x", stream=True, partial_images=2), 1),
        (ask("sandbox:cut=3 x"), 0),
    ):
        error = lost(vendor, call)
        found = vendor.works.look_up(str(error.vendor_request_id))
        assert found is not None
        assert (found.state, found.images) == ("done", images)
        assert found.usage is not None


def test_a_work_that_failed_never_ran(vendor: Vendor) -> None:
    for call in (paint("sandbox:error=500 x"), ask("sandbox:error=500 x")):
        error = lost(vendor, call)
        assert isinstance(error, Fault)
        assert error.status == 500
        assert vendor.works.look_up(str(error.vendor_request_id)) == Found("never_ran")


def test_a_work_goes_on_after_its_caller_lost_it(vendor: Vendor) -> None:
    error = lost(vendor, paint("sandbox:cut=0,takes=30s x"))
    assert vendor.works.look_up(str(error.vendor_request_id)) == Found("still_running")


def test_who_tells_no_usage_tells_none_later(vendor: Vendor) -> None:
    error = lost(vendor, paint("sandbox:cut=0,nousage x"))
    assert vendor.works.look_up(str(error.vendor_request_id)) == Found("done", images=1)


@pytest.mark.parametrize("work_id", ["req_nothing", "../journal", "", "a b/ü?x=1"])
def test_an_id_that_is_not_known_proves_nothing(vendor: Vendor, work_id: str) -> None:
    assert vendor.works.look_up(work_id) is None


def test_a_look_up_that_finds_nobody_fails() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(NotSent):
            DistantWorks(f"http://127.0.0.1:{nobody.getsockname()[1]}").look_up("req_1")


def test_the_sandbox_remembers_its_latest_works() -> None:
    works = Works(lambda: NOW)
    for number in range(10_001):
        with works.begin(f"req_{number}") as work:
            work.finish(1, None)
    assert works.look_up("req_0") is None
    assert works.look_up("req_10000") == Found("done", images=1)
