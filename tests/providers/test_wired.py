"""Who answers for a model, by the settings; and what is imported for it."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sandboxes import model, picture, serve_sandbox

from rollout.core.images import ImageRequest
from rollout.providers.base import Fault, ImageCall, MessageCall, NotSent
from rollout.services.providers import Disconnected, connect
from rollout.settings import Settings

PAINTER, READER = model("gpt-image-2"), model("claude-sonnet-5-5")
PAINT = ImageCall(PAINTER, ImageRequest("generate", "a fox", PAINTER.name, size="16x16"))
ASK = MessageCall(
    READER, b'{"model":"claude-sonnet-5-5","max_tokens":5,"messages":[{"role":"user","content":"x"}]}'
)


@pytest.mark.parametrize(
    ("settings", "painter", "reader"),
    [
        ({"sandbox": "auto"}, "sandbox", "sandbox"),
        ({"sandbox": "on", "openai_api_key": "k", "anthropic_api_key": "k"}, "sandbox", "sandbox"),
        ({"sandbox": "auto", "openai_api_key": "k"}, "openai", "sandbox"),
        ({"sandbox": "auto", "anthropic_base_url": "http://x"}, "sandbox", "anthropic"),
        ({"sandbox": "off", "openai_base_url": "http://x/v1"}, "openai", None),
        ({"sandbox": "off"}, None, None),
    ],
)
def test_a_vendor_answers_if_it_is_configured_and_the_sandbox_as_the_setting_says(settings, painter, reader):
    wired = connect(Settings(**settings))
    for wanted, row, port_of in ((painter, PAINTER, wired.images), (reader, READER, wired.messages)):
        assert wired.answers(row) is (wanted is not None)
        if wanted is None:
            with pytest.raises(NotSent):
                port_of(row, test=False)
        else:
            assert port_of(row, test=False)[0] == wanted


LLAMA, GROK = model("llama-3.2-90b-vision"), model("grok-4")


@pytest.mark.parametrize(
    ("settings", "llama", "grok", "moderations"),
    [
        ({"sandbox": "auto"}, "sandbox", "sandbox", "sandbox"),
        (
            {"sandbox": "on", "llama_base_url": "http://x", "openai_api_key": "k"},
            "sandbox",
            "sandbox",
            "sandbox",
        ),
        ({"sandbox": "auto", "llama_base_url": "http://x/v1"}, "llama", "sandbox", "sandbox"),
        ({"sandbox": "off", "xai_api_key": "k", "openai_api_key": "k"}, None, "xai", "openai"),
        ({"sandbox": "off"}, None, None, None),
    ],
)
def test_chats_and_moderations_are_answered_by_who_is_configured(settings, llama, grok, moderations):
    wired = connect(Settings(**settings))
    asked = (
        (llama, lambda test: wired.chats(LLAMA, test=test)),
        (grok, lambda test: wired.chats(GROK, test=test)),
        (moderations, lambda test: wired.moderations(test=test)),
    )
    for wanted, port_of in asked:
        assert port_of(True)[0] == "sandbox"
        if wanted is None:
            with pytest.raises(NotSent):
                port_of(False)
        else:
            assert port_of(False)[0] == wanted


def test_a_test_is_always_answered_by_the_sandbox():
    wired = connect(Settings(sandbox="off", openai_api_key="k"))
    vendor, port = wired.images(PAINTER, test=True)
    assert vendor == "sandbox"
    assert port.generate(PAINT).pictures
    assert wired.messages(READER, test=True)[0] == "sandbox"


def test_a_process_that_calls_nobody_says_so():
    nobody = Disconnected()
    assert not nobody.answers(PAINTER)
    with pytest.raises(NotSent):
        nobody.images(PAINTER, test=True)
    with pytest.raises(NotSent):
        nobody.messages(READER, test=True)


def test_a_base_url_without_a_key_reaches_the_served_sandbox():
    with serve_sandbox() as served:
        wired = connect(Settings(openai_base_url=f"{served.url}/v1", anthropic_base_url=served.url))
        assert wired.images(PAINTER, test=False)[1].generate(PAINT).pictures
        assert (
            wired.messages(READER, test=False)[1]
            .create(MessageCall(READER, ASK.body, headers={"anthropic-version": "2026-10-21"}))
            .body
        )
        assert [arrived["path"] for arrived in served.journal()] == ["/v1/images/generations", "/v1/messages"]


def test_a_redirected_call_is_not_sent_again():
    paths = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self):
            paths.append(self.path)
            self.send_response(307)
            self.send_header("Location", "/v1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    wired = connect(Settings(openai_base_url=f"{url}/v1", anthropic_base_url=url))
    try:
        with pytest.raises(Fault):
            wired.images(PAINTER, test=False)[1].generate(PAINT)
        with pytest.raises(Fault):
            wired.messages(READER, test=False)[1].create(ASK)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert paths == ["/v1/images/generations", "/v1/messages"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("{own}/pictures/1", None),
        ("https://169.254.169.254/", "not among the hosts"),
        ("{own}/moved", "not among"),
    ],
)
def test_a_host_that_answers_with_an_address_has_its_picture_fetched_from_its_own_server_alone(where, said):
    asked = []

    class Host(BaseHTTPRequestHandler):
        def do_POST(self):
            self.answer(
                json.dumps({"created": 5, "data": [{"url": where.format(own=url)}]}).encode(),
                "application/json",
            )

        def do_GET(self):
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "https://169.254.169.254/latest/meta-data/")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.answer(picture(), "image/png")

        def answer(self, body, media_type):
            asked.append((self.path, self.headers.get("authorization")))
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    own = replace(PAINTER, vendor="compatible")
    wired = connect(Settings(compatible_base_url=f"{url}/v1", compatible_api_key="secret"))
    port = wired.images(own, test=False)[1]
    try:
        if said:
            with pytest.raises(Fault, match=said):
                port.generate(replace(PAINT, model=own))
        else:
            assert port.generate(replace(PAINT, model=own)).pictures[0].media_type == "image/png"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked[0] == ("/v1/images/generations", "Bearer secret")
    assert asked[1:] == ([] if said else [("/pictures/1", None)])


def test_a_vendor_that_nobody_listens_for_was_not_sent():
    wired = connect(
        Settings(openai_base_url="http://127.0.0.1:1/v1", anthropic_base_url="http://127.0.0.1:1")
    )
    with pytest.raises(NotSent):
        wired.images(PAINTER, test=False)[1].generate(PAINT)
    with pytest.raises(NotSent):
        wired.messages(READER, test=False)[1].create(ASK)


def test_without_keys_no_sdk_is_imported():
    program = (
        "import sys; from rollout.services.providers import connect; from rollout.settings import Settings;"
        "connect(Settings(sandbox='auto')); print(sorted({'openai', 'anthropic', 'httpx2'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
