"""Who answers for which model in this process: the vendors that are configured, the sandbox in the place of
the others.

Clients are built once, after the fork: a client costs 25 ms, and building one late by two threads at once
breaks it. A vendor's SDK is imported only when that vendor is configured. A new vendor is a line of `VENDORS`, and,
where it speaks no wire of the others, a file under `rollout/providers/` with a builder here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from rollout.core.catalogue import Model
from rollout.core.moderations import VENDOR
from rollout.delivery.fetch import Fetch
from rollout.providers.base import Chats, Images, Lists, LookUp, Messages, Moderations, NotSent, Tasks
from rollout.services.breakers import Breakers, Watched
from rollout.settings import Settings

if TYPE_CHECKING:  # it imports what is imported only for vendors that are configured
    from rollout.providers.transport import Line

SANDBOX = "sandbox"
OPENAI, XAI, COMETAPI = "https://api.openai.com/v1", "https://api.x.ai/v1", "https://api.cometapi.com"
MODERATIONS = (VENDOR, "moderations")
"""Who moderates: a vendor and a wire of its own, for no model of the catalogue."""

_NO_KEY = "sandbox"  # what is sent to a base URL that was configured without a key

Build = Callable[["Line", str, str], Any]
"""(line, key, base URL or "") -> the port of a wire."""


@dataclass(frozen=True)
class Sandboxes:
    """The sandbox's answer to each port."""

    images: Images
    messages: Messages
    chats: Chats
    moderations: Moderations
    tasks: Tasks


class Wired:
    """The port `Providers` over what was built; `sandbox` stands in for vendors that are not configured, and
    answers tests."""

    def __init__(
        self,
        ports: Mapping[tuple[str, str], Any],
        sandbox: Sandboxes,
        look_ups: Mapping[str, LookUp],
        lists: Mapping[str, Lists] | None = None,
        *,
        stands_in: bool,
    ) -> None:
        """Args: `ports` by vendor and wire, `look_ups` and `lists` by vendor."""
        self._ports, self._sandbox, self._stands_in = ports, sandbox, stands_in
        self._look_ups, self._lists = look_ups, lists or {}

    def images(self, model: Model, *, test: bool) -> tuple[str, Images]:
        return self._port(model, self._sandbox.images, test=test)

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]:
        return self._port(model, self._sandbox.messages, test=test)

    def tasks(self, model: Model, *, test: bool) -> tuple[str, Tasks]:
        return self._port(model, self._sandbox.tasks, test=test)

    def chats(self, model: Model, *, test: bool) -> tuple[str, Chats]:
        return self._port(model, self._sandbox.chats, test=test)

    def moderations(self, *, test: bool) -> tuple[str, Moderations]:
        return self._port_of(MODERATIONS, self._sandbox.moderations, test=test)

    def answers(self, model: Model) -> bool:
        return self._stands_in or (model.vendor, model.wire) in self._ports

    def lists(self) -> Mapping[str, Lists]:
        return self._lists

    def look_ups(self, vendor: str) -> LookUp | None:
        return self._look_ups.get(vendor)

    def _port(self, model: Model, sandbox: Any, *, test: bool) -> tuple[str, Any]:
        return self._port_of((model.vendor, model.wire), sandbox, test=test)

    def _port_of(self, which: tuple[str, str], sandbox: Any, *, test: bool) -> tuple[str, Any]:
        port = None if test else self._ports.get(which)
        if port is not None:
            return which[0], port
        if not test and not self._stands_in:
            raise NotSent(f"no credential for {which[0]} and ROLLOUT_SANDBOX is off")
        return SANDBOX, sandbox


class Disconnected:
    """The port `Providers` of a process that calls no vendor: a command, a migration."""

    def images(self, model: Model, *, test: bool) -> NoReturn:
        raise NotSent("this process calls no vendors")

    messages = tasks = chats = images

    def moderations(self, *, test: bool) -> NoReturn:
        raise NotSent("this process calls no vendors")

    def answers(self, model: Model) -> bool:
        return False

    def lists(self) -> Mapping[str, Lists]:
        return {}

    def look_ups(self, vendor: str) -> LookUp | None:
        return None


def connect(
    settings: Settings, proxies: Mapping[str, str] | None = None, breakers: Breakers | None = None
) -> Wired:
    """Build the clients of every vendor that has a key or a base URL, and the sandbox for the rest as
    `ROLLOUT_SANDBOX` says. `proxies`: see `transport.open_line`."""
    from rollout.providers.sandbox.chats import SandboxChats
    from rollout.providers.sandbox.images import SandboxImages
    from rollout.providers.sandbox.messages import SandboxMessages
    from rollout.providers.sandbox.moderations import SandboxModerations
    from rollout.providers.sandbox.tasks import SandboxTasks
    from rollout.providers.sandbox.works import Works

    hang_seconds, works = settings.upstream_read_seconds, Works(time.time)
    images = SandboxImages(works, time.sleep, hang_seconds)
    sandbox = Sandboxes(
        images,
        SandboxMessages(works, time.sleep, hang_seconds),
        SandboxChats(works, time.sleep, hang_seconds),
        SandboxModerations(time.sleep, hang_seconds),
        SandboxTasks(images, time.sleep, hang_seconds),
    )
    look_ups: dict[str, LookUp] = {SANDBOX: works}
    if settings.sandbox_url:
        from rollout.providers.sandbox.distant import DistantWorks

        look_ups |= dict.fromkeys(VENDORS, DistantWorks(settings.sandbox_url))
    breakers = breakers or Breakers(time.time, settings.breaker_failures)
    bare = {} if settings.sandbox == "on" else _ports(settings, proxies or {})
    ports = {which: Watched(port, which[0], breakers) for which, port in bare.items()}
    lists = {vendor: port for (vendor, _), port in bare.items() if isinstance(port, Lists)}
    return Wired(ports, sandbox, look_ups, lists, stands_in=settings.sandbox != "off")


def _ports(settings: Settings, proxies: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    """By vendor and wire; the wires of a vendor share its line."""
    found = {}
    for vendor in configured(settings):
        from rollout.providers.transport import open_line

        key, url = _credential(settings, vendor)
        line = open_line(settings, proxies, Fetch(url, settings.upstream_picture_hosts.split(",")))
        wires = VENDORS[vendor].items()
        found.update({(vendor, wire): build(line, key or _NO_KEY, url) for wire, build in wires})
    return found


def configured(settings: Settings) -> list[str]:
    """The vendors that have a key or a base URL."""
    return [vendor for vendor in VENDORS if any(_credential(settings, vendor))]


def _credential(settings: Settings, vendor: str) -> tuple[str, str]:
    """Its key and its base URL; "" for what is not set."""
    return getattr(settings, f"{vendor}_api_key"), getattr(settings, f"{vendor}_base_url")


def _images(default_url: str = "", suffix: str = "") -> Build:
    """As `_chats`."""

    def build(line: Line, key: str, url: str) -> Images:
        from rollout.providers.openai_images import OpenAIImages

        return OpenAIImages(key, (url or default_url) + suffix, line)

    return build


def _anthropic(line: Line, key: str, url: str) -> Messages:
    from rollout.providers.anthropic import AnthropicMessages

    return AnthropicMessages(key, url, line)


def _chats(default_url: str = "", suffix: str = "") -> Build:
    """Of a vendor at `default_url`; of one without it the setting names the host, whose address lacks the `suffix`."""

    def build(line: Line, key: str, url: str) -> Chats:
        from rollout.providers.openai_chat import OpenAIChats

        return OpenAIChats(key, (url or default_url) + suffix, line)

    return build


def _moderations(line: Line, key: str, url: str) -> Moderations:
    from rollout.providers.moderations import OpenAIModerations

    return OpenAIModerations(key, url, line)


def _xai(line: Line, key: str, url: str) -> Images:
    from rollout.providers.xai import XaiImages

    return XaiImages(key, url or XAI, line)


def _midjourney(line: Line, key: str, url: str) -> Tasks:
    from rollout.providers.midjourney import MidjourneyTasks

    return MidjourneyTasks(key, url or COMETAPI, line)


def _gemini(line: Line, key: str, url: str) -> Images:
    from rollout.providers.gemini import GeminiImages

    return GeminiImages(key, url, line)


def _nova(line: Line, key: str, url: str) -> Images:
    from rollout.providers.nova import NovaImages

    return NovaImages(key, url, line)


VENDORS: Mapping[str, Mapping[str, Build]] = {
    "openai": {
        "openai_images": _images(OPENAI),
        "openai_chat": _chats(OPENAI),
        MODERATIONS[1]: _moderations,
    },
    "anthropic": {"anthropic": _anthropic},
    "gemini": {"gemini": _gemini},
    "bedrock": {"nova": _nova},
    "xai": {"xai": _xai, "openai_chat": _chats(XAI)},
    "cometapi": {
        "openai_images": _images(COMETAPI, "/v1"),
        "openai_chat": _chats(COMETAPI, "/v1"),
        "midjourney": _midjourney,
    },
    "llama": {"openai_chat": _chats()},
    "compatible": {"openai_images": _images(), "openai_chat": _chats()},
}
"""By vendor, whose settings are `<VENDOR>_API_KEY` and `<VENDOR>_BASE_URL`, the wires that it speaks."""
