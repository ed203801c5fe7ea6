"""Midjourney's wire, word for word; and its tasks over real sockets, against the sandbox."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from lines import answered_by, line
from sandboxes import model, picture, serve_sandbox

from rollout.core.images import Finished, ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.prices import actual_image_cost, maximum_image_cost
from rollout.delivery.fetch import Fetch
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Progress,
    Refused,
    Rejected,
    Throttled,
)
from rollout.providers.midjourney import MidjourneyTasks, encode
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.tasks import SandboxTasks
from rollout.providers.sandbox.works import Works

ROW = model("midjourney")
PNG = picture()
TASK = {
    "id": "17",
    "status": "SUCCESS",
    "progress": "100%",
    "imageUrl": "https://cdn.example/a.png",
    "state": "gen_1",
}


def call(prompt: str = "a fox", **members: Any) -> ImageCall:
    return ImageCall(ROW, ImageRequest("generate", prompt, ROW.name, **members), user="hashed")


def port(
    answer: Any, status: int = 200, fetched: bytes | Exception = PNG
) -> tuple[MidjourneyTasks, list[httpx2.Request]]:
    """CometAPI that always answers the same, and what it got."""
    requests: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(
            status, content=answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        )

    def fetch(url: str) -> bytes:
        assert url == TASK["imageUrl"]
        if isinstance(fetched, Exception):
            raise fetched
        return fetched

    wire = replace(answered_by(handler), fetch=fetch)
    return MidjourneyTasks("comet-ours", "https://vendor.example", wire, clock=lambda: 7.9), requests


def test_a_submit_says_what_the_wire_has_words_for() -> None:
    tasks, requests = port({"code": 1, "description": "Submit success", "result": "1712"})
    assert tasks.submit(call(size="1456x816", quality="turbo"), "gen_1") == "1712"
    (request,) = requests
    assert (request.method, request.url.path) == ("POST", "/mj-turbo/mj/submit/imagine")
    assert request.headers["authorization"] == "Bearer comet-ours"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {
        "prompt": "a fox --ar 16:9 --v 7",
        "botType": "MID_JOURNEY",
        "accountFilter": {"modes": ["TURBO"]},
        "state": "gen_1",
    }


def test_what_the_caller_leaves_open_is_fast_and_square() -> None:
    body = json.loads(encode(call(quality="auto", size="auto"), "gen_1"))
    assert (body["prompt"], body["accountFilter"]) == ("a fox --v 7", {"modes": ["FAST"]})


def test_pictures_to_start_from_go_as_data_urls() -> None:
    body = json.loads(encode(call(images=(InputImage(PNG, "image/png", 64, 48),)), "gen_1"))
    assert body["base64Array"] == ["data:image/png;base64," + base64.b64encode(PNG).decode()]


@pytest.mark.parametrize(
    "prompt", ["a fox --turbo", "--repeat 4 a fox", "a {red, green} fox", "a fox \u2014ar 1:2"]
)
def test_a_prompt_brings_no_parameters_of_its_own(prompt: str) -> None:
    tasks, requests = port({"code": 1, "result": "1"})
    with pytest.raises(Rejected) as refused:
        tasks.submit(call(prompt), "gen_1")
    assert refused.value.param == "prompt"
    assert requests == []


@pytest.mark.parametrize("prompt", ["well-known -- and loved", "a fox {red}", "1--2", "twenty--one"])
def test_dashes_and_braces_are_no_parameters(prompt: str) -> None:
    tasks, _ = port({"code": 22, "description": "queued", "result": 1712})
    assert tasks.submit(call(prompt), "gen_1") == "1712"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"code": 23, "description": "queue full"}, 200, Throttled),
        ({"code": 24, "description": "may contain sensitive words"}, 200, Refused),
        ({"code": 4, "description": "prompt is empty"}, 200, Rejected),
        ({"code": 3, "description": "your quota is not enough"}, 200, OutOfCredit),
        ({"code": 9, "description": "no account"}, 200, Fault),
        ({"code": 1, "description": "Submit success", "result": ""}, 200, Fault),
        ({}, 200, Fault),
        ([], 200, Fault),
        (b"<html>", 200, Fault),
        (b"", 200, Fault),
        ({"error": {"message": "Invalid token"}}, 401, BadCredential),
        ({"error": {"message": "insufficient user quota"}}, 403, OutOfCredit),
        ({"error": {"message": "slow down"}}, 429, Throttled),
        ({"error": {"message": "upstream"}}, 502, Fault),
        (httpx2.ConnectError("refused"), 200, NotSent),
        (httpx2.ReadTimeout("late"), 200, OutcomeUnknown),
        (httpx2.RemoteProtocolError("cut"), 200, OutcomeUnknown),
    ],
    ids=str,
)
def test_what_a_submit_comes_to(answer: Any, status: int, error: type[PortError]) -> None:
    tasks, requests = port(answer, status)
    with pytest.raises(error):
        tasks.submit(call(), "gen_1")
    assert len(requests) == 1


def test_a_banned_prompt_says_which_word_of_the_vendor_it_was() -> None:
    tasks, _ = port({"code": 24, "description": "Banned prompt"})
    with pytest.raises(Refused) as refused:
        tasks.submit(call(), "gen_1")
    assert (refused.value.point, refused.value.vendor_code) == ("prompt", "24")


def test_a_task_is_looked_at_by_its_id() -> None:
    tasks, requests = port({"id": "17", "status": "IN_PROGRESS", "progress": "45%", "state": "gen_1"})
    assert tasks.look(call(), "17", "gen_1") == Progress(45)
    (request,) = requests
    assert (request.method, request.url.path, request.content) == ("GET", "/mj/task/17/fetch", b"")


@pytest.mark.parametrize(
    "told", [{"status": "NOT_START"}, {"status": "SUBMITTED", "progress": ""}, {"progress": "much"}, {}]
)
def test_a_task_that_says_nothing_has_not_come_far(told: dict[str, Any]) -> None:
    tasks, _ = port({"id": "17", **told})
    assert tasks.look(call(), "17", "gen_1") == Progress(0)


def test_a_task_that_is_done_has_its_picture() -> None:
    tasks, _ = port(TASK)
    finished = tasks.look(call(size="1024x1024"), "17", "gen_1")
    assert isinstance(finished, Finished)
    (found,) = finished.pictures
    assert (base64.b64decode(found.b64), found.media_type) == (PNG, "image/png")
    assert (finished.usage, finished.created, finished.vendor_request_id) == (None, 7, "17")
    asked = call(size="1024x1024").request
    assert (
        actual_image_cost(ROW, asked, finished).usd_micro
        == maximum_image_cost(ROW, asked).usd_micro
        == 56_000
    )


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({**TASK, "id": "18"}, 200, Fault),
        ({**TASK, "state": "gen_2"}, 200, Fault),
        ({**TASK, "status": "FAILURE", "failReason": "timeout"}, 200, Fault),
        ({**TASK, "status": "FAILURE", "failReason": "Flagged by the AI moderators"}, 200, Refused),
        (b"<html>", 200, OutcomeUnknown),
        (b"", 200, OutcomeUnknown),
        ({"code": 4, "description": "not found"}, 404, OutcomeUnknown),
        ({"error": {"message": "Invalid token"}}, 401, OutcomeUnknown),
        ({}, 500, OutcomeUnknown),
        (httpx2.ReadTimeout("late"), 200, OutcomeUnknown),
    ],
    ids=str,
)
def test_what_a_look_comes_to(answer: Any, status: int, error: type[PortError]) -> None:
    tasks, _ = port(answer, status)
    with pytest.raises(error):
        tasks.look(call(), "17", "gen_1")


@pytest.mark.parametrize("fetched", [OSError("a private address"), b"<html>"], ids=["refused", "page"])
def test_a_picture_that_is_none_or_not_ours_to_fetch_is_a_fault(fetched: bytes | Exception) -> None:
    tasks, _ = port(TASK, fetched=fetched)
    with pytest.raises(Fault):
        tasks.look(call(), "17", "gen_1")


class Metadata(BaseHTTPRequestHandler):
    """A vendor whose finished task's picture leads elsewhere."""

    def do_GET(self) -> None:
        if self.path.startswith("/mj/task/"):
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            body = json.dumps({**TASK, "imageUrl": f"{host}/away"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_response(302)
            self.send_header("location", "http://169.254.169.254/latest/meta-data/")
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_picture_that_leads_to_the_metadata_address_is_not_fetched() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        tasks = MidjourneyTasks("any", url, replace(line(), fetch=Fetch(url, ())))
        with pytest.raises(Fault, match="cannot be fetched"):
            tasks.look(call(), "17", "gen_1")
        server.shutdown()


@pytest.fixture(scope="module", params=["in process", "over HTTP"])
def tasks(request: pytest.FixtureRequest) -> Any:
    if request.param == "in process":
        yield SandboxTasks(SandboxImages(Works(lambda: 7), lambda _: None, 1), lambda _: None, 1)
        return
    with serve_sandbox() as served:
        yield MidjourneyTasks("any", served.url, replace(line(), fetch=Fetch(served.url, ())))


def looked_at(tasks: Any, asked: ImageCall, reference: str) -> list[Any]:
    task_id = tasks.submit(asked, reference)
    seen = [tasks.look(asked, task_id, reference)]
    while isinstance(seen[-1], Progress):
        seen.append(tasks.look(asked, task_id, reference))
    return seen


def test_a_sandbox_task_comes_on_with_each_look(tasks: Any) -> None:
    *progress, finished = looked_at(
        tasks, call("sandbox:progress=3 a fox", size="1344x896", quality="fast"), "gen_a"
    )
    assert progress == [Progress(25), Progress(50), Progress(75)]
    assert len(finished.pictures) == 1
    assert base64.b64decode(finished.pictures[0].b64).startswith(b"\x89PNG")
    assert finished.usage is None


@pytest.mark.parametrize(
    ("steering", "error"),
    [
        ("error=429", Throttled),
        ("error=400", Rejected),
        ("error=500", Fault),
        ("refuse=violence", Refused),
        ("drop", OutcomeUnknown),
        ("hang", OutcomeUnknown),
        ("html", Fault),
        ("error=500:FAILURE", Fault),
        ("flagged=output", Refused),
    ],
)
def test_a_sandbox_task_fails_as_it_is_told_to(tasks: Any, steering: str, error: type[PortError]) -> None:
    with pytest.raises(error):
        looked_at(tasks, call(f"sandbox:{steering} a fox", size="1024x1024", quality="fast"), "gen_b")
