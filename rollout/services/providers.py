"""Who answers for which model in this process: the vendors that are configured, the sandbox in the place of
the others.

Clients are built once, after the fork: a client costs 25 ms, and building one late by two threads at once
breaks it. A vendor's SDK is imported only when that vendor is configured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from rollout.core.catalogue import Model
from rollout.providers.base import Images, LookUp, Messages, NotSent
from rollout.settings import Settings

SANDBOX = "sandbox"
_NO_KEY = "sandbox"  # what is sent to a base URL that was configured without a key


class Wired:
    """The port `Providers` over what was built; `sandbox` stands in for wires that have no vendor, and
    answers tests."""

    def __init__(
        self,
        images: Mapping[str, Images],
        messages: Mapping[str, Messages],
        sandbox: tuple[Images, Messages],
        look_ups: Mapping[str, LookUp],
        *,
        stands_in: bool,
    ) -> None:
        """Args: `images` and `messages` by the name of their wire, `look_ups` by vendor."""
        self._images, self._messages, self._sandbox, self._stands_in = images, messages, sandbox, stands_in
        self._look_ups = look_ups

    def images(self, model: Model, *, test: bool) -> tuple[str, Images]:
        if not test and model.wire in self._images:
            return model.vendor, self._images[model.wire]
        self._check_sandbox(model, test)
        return SANDBOX, self._sandbox[0]

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]:
        if not test and model.wire in self._messages:
            return model.vendor, self._messages[model.wire]
        self._check_sandbox(model, test)
        return SANDBOX, self._sandbox[1]

    def answers(self, model: Model) -> bool:
        return self._stands_in or model.wire in self._images or model.wire in self._messages

    def look_ups(self, vendor: str) -> LookUp | None:
        return self._look_ups.get(vendor)

    def _check_sandbox(self, model: Model, test: bool) -> None:
        if not test and not self._stands_in:
            raise NotSent(f"no credential for {model.vendor} and ROLLOUT_SANDBOX is off")


class Disconnected:
    """The port `Providers` of a process that calls no vendor: a command, a migration."""

    def images(self, model: Model, *, test: bool) -> tuple[str, Images]:
        raise NotSent("this process calls no vendors")

    def messages(self, model: Model, *, test: bool) -> tuple[str, Messages]:
        raise NotSent("this process calls no vendors")

    def answers(self, model: Model) -> bool:
        return False

    def look_ups(self, vendor: str) -> LookUp | None:
        return None


def connect(settings: Settings) -> Wired:
    """Build the clients of every vendor that has a key or a base URL, and the sandbox for the rest as
    `ROLLOUT_SANDBOX` says."""
    from rollout.providers.sandbox.images import SandboxImages
    from rollout.providers.sandbox.messages import SandboxMessages
    from rollout.providers.sandbox.works import Works

    images: dict[str, Images] = {}
    messages: dict[str, Messages] = {}
    if settings.sandbox != "on":
        if settings.openai_api_key or settings.openai_base_url:
            images["openai_images"] = _openai_images(settings)
        if settings.anthropic_api_key or settings.anthropic_base_url:
            messages["anthropic"] = _anthropic(settings)
    hang_seconds, works = settings.upstream_read_seconds, Works(time.time)
    sandbox = (
        SandboxImages(works, time.sleep, hang_seconds),
        SandboxMessages(works, time.sleep, hang_seconds),
    )
    look_ups: dict[str, LookUp] = {SANDBOX: works}
    if settings.sandbox_url:
        from rollout.providers.sandbox.distant import DistantWorks

        look_ups |= dict.fromkeys(("openai", "anthropic"), DistantWorks(settings.sandbox_url))
    return Wired(images, messages, sandbox, look_ups, stands_in=settings.sandbox != "off")


def _openai_images(settings: Settings) -> Images:
    from rollout.providers.openai_images import OpenAIImages

    return OpenAIImages(
        settings.openai_api_key or _NO_KEY,
        settings.openai_base_url,
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
    )


def _anthropic(settings: Settings) -> Messages:
    from rollout.providers.anthropic import AnthropicMessages

    return AnthropicMessages(
        settings.anthropic_api_key or _NO_KEY,
        settings.anthropic_base_url,
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
    )
