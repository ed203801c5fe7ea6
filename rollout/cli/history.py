"""What the demo begins with: three weeks in which two partners used it, lived through in a second.

It happens through the doors that partners use and the services that admins use, by a clock that is set back; the sandbox draws the
pictures. Only an empty database gets it: the audit log is in order of time, and these are its first rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.feedback import Mark, Triage, Wanted
from rollout.core.steps import Advance
from rollout.core.tenants import NewKey, Tenant
from rollout.services.ids import ids_by
from rollout.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from rollout.services.registry import Services

HOOLI = Tenant("hooli", "Hooli", "America/Los_Angeles")
SOYLENT = Tenant("soylent", "Soylent Foods", "Asia/Jakarta", attributes={"program": "pilot"})
TENANTS = (HOOLI, SOYLENT)

DAY = 86_400
PILOT = {"name": "pilot", "feature": GENERATION, "unit": "image", "period": "life", "cap": 22}
OLD, NEW = "gpt-image-2", "gpt-image-2.5-flare"
LOOP = {"refine_prompt": True, "evaluate": True}

PROMPTS = {
    "hooli": (
        "a lighthouse at dusk, oil on canvas",
        "a storefront with the sign OPEN, watercolour",
        "two hands planting a tree, editorial photo",
        "a city seen from a train window, woodcut",
        "a fox reading a newspaper, children's book",
        "an isometric server room, flat colours",
    ),
    "soylent": (
        "a bowl of green soup from above, studio light",
        "a farmers' market in the rain, gouache",
        "a lunch box with five compartments, product photo",
        "a field of soy at sunrise, travel poster",
    ),
}
GOOD = (None, "Exactly what I meant.", None, "Used it for the newsletter.", None, "Lovely light.", None)
BAD = (
    (("wrong_text",), "The sign says OPNE."),
    (("hands",), "Six fingers on the left hand."),
    (("off_brand", "wrong_colour"), "Our green is not that green."),
    (("not_what_i_asked",), None),
    (("wrong_text", "blurry"), "Letters melt into each other when printed."),
)


@dataclass
class Clock:
    """Says what it was set to, in UTC epoch seconds."""

    now: float

    def __call__(self) -> float:
        return self.now


def live_through(settings: Settings) -> None:
    """Make the history, unless there are tenants already."""
    from rollout.app import create_app
    from rollout.wiring import build

    clock = Clock(time.time())
    past = dataclasses.replace(settings, sandbox="on", unknown_grace_seconds=DAY)
    with contextlib.closing(build(past, clock=clock, new_id=ids_by(clock), connect=True)) as services:
        if not services.tenants.page(after=None, limit=1):
            _History(services, create_app(services), clock).happen()
            structlog.contextvars.clear_contextvars()


class _History:
    def __init__(self, services: Services, app: Flask, clock: Clock) -> None:
        self._services, self._clock, self._today = services, clock, clock.now
        self._partners, self._keys = app.test_client(), dict[str, str]()
        self._ana = Actor("user:ana@phasegate.example")
        self._ben = Actor("user:ben@phasegate.example")

    def happen(self) -> None:
        for days_ago, what in sorted(self._events(), key=lambda event: -event[0]):
            self._clock.now = self._today - days_ago * DAY
            self._services.state.refresh()
            what()
        self._services.requests.flush()

    def _events(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """(days ago, what happened), in any order."""
        yield 22, self._begin
        yield 21.8, partial(self._ask, "hooli", "pictures for our help pages", 3_000)
        yield 21.5, self._let_hooli_try
        yield 20.4, partial(self._ask, "soylent", "trying it out", None)
        yield 20.3, partial(self._generate, "soylent", NEW, PROMPTS["soylent"][0])
        yield 19.6, self._deny
        yield 14, self._open_the_beta
        yield 13.6, partial(self._ask, "soylent", "a picture for each of our 900 recipes", 900)
        yield 13.2, self._approve
        for number in range(18):
            yield 21 - number * 1.21, partial(self._rated, "hooli", number)
        for number in range(10):
            yield 12.7 - number * 1.36, partial(self._rated, "soylent", number)
        for number in range(16):
            yield 20.7 - number * 1.3, partial(self._analyse, "hooli")
            yield 0.97 - number * 0.06, partial(self._analyse, TENANTS[number % 3 // 2].id)
        yield 9.4, partial(self._generate, "hooli", NEW, "a poster of a fight", size="10x10")
        yield 6.2, partial(self._generate, "hooli", NEW, "sandbox:refuse=violence a poster of a fight")
        yield 5.1, partial(self._generate, "hooli", NEW, "a poster that says Opening Night", rollout=LOOP)
        yield 4.9, partial(self._generate, "hooli", NEW, "sandbox:judge=score:0.3 a hand", rollout=LOOP)
        yield 4.5, partial(self._sort, 6, "looked through last week's", "resolved")
        yield 1.9, partial(self._sort, 1, "sent by a script", "spam")
        yield 0.3, partial(self._generate, "hooli", NEW, "a set of stickers", n=8)
        for tenant in TENANTS:
            yield 0.2, partial(self._generate, tenant.id, NEW, "sandbox:drop a picture lost on its way")
        yield 0.12, partial(self._generate, "soylent", NEW, PROMPTS["soylent"][1])
        yield 0.08, partial(self._ask, "soylent", "the pilot went well: 300 more recipes", 1_200)

    # -- partners ------------------------------------------------------------------------------------------------------

    def _rated(self, tenant: str, number: int) -> None:
        """A picture, and what up to three readers say of it half an hour apart."""
        model, prompts = (OLD, NEW)[number % 2], PROMPTS[tenant]
        answer = self._generate(tenant, model, prompts[number % len(prompts)])
        handle = self._services.feedback.open(answer.headers["x-rollout-feedback"])
        for rater in range(1 + number % 3):
            self._clock.now += 1_800
            self._rate(tenant, handle.generation_id, number * 3 + rater, model)

    def _rate(self, tenant: str, generation: str, number: int, model: str) -> None:
        """The older model is liked less."""
        is_bad = number % (3 if model == OLD else 8) == 1
        reasons, words = BAD[number % len(BAD)] if is_bad else ((), GOOD[number % len(GOOD)])
        self._send(tenant, "/api/v1/feedback", {
            "generation": generation, "end_user": f"reader-{number % 13}", "rating": "down" if is_bad else "up",
            "reasons": list(reasons), **({"comment": words} if words else {}),
        })  # fmt: skip

    def _generate(self, tenant: str, model: str, prompt: str, **more: Any) -> TestResponse:
        small = {"size": "640x640", "quality": "low", "output_format": "jpeg", "response_format": "url"}
        asked = {"model": model, "prompt": prompt, **small, **more}
        return self._send(tenant, "/v1/images/generations", asked)

    def _analyse(self, tenant: str) -> None:
        asked = [{"role": "user", "content": "Describe last week's best picture in one line."}]
        body = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": asked}
        self._send(tenant, "/v1/messages", body)

    def _ask(self, tenant: str, use_case: str, volume: int | None) -> None:
        wish = {"feature": GENERATION, "use_case": use_case, "expected_volume": volume}
        self._send(tenant, "/api/v1/access-requests", wish)

    def _send(self, tenant: str, path: str, body: dict[str, Any]) -> TestResponse:
        headers = {"Authorization": f"Bearer {self._keys[tenant]}", "anthropic-version": "2023-06-01"}
        return self._partners.post(path, json=body, headers=headers)

    # -- admins --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        services = self._services
        with services.changes.begin(self._ana, "we begin with our own people") as change:
            services.plans.ensure_plan(change, phase="internal")
        for tenant in TENANTS:
            services.tenants.add(self._ana, tenant, "signed the agreement")
            issued = services.keys.add(self._ana, tenant.id, NewKey("production"), "for its service")
            self._keys[tenant.id] = str(issued.secret)

    def _let_hooli_try(self) -> None:
        services = self._services
        services.grants.add(self._ana, "hooli", GENERATION, "tries it with us", cohort="internal")
        services.meters.add(self._ana, "hooli", PILOT, "so many pictures are agreed for the pilot")

    def _deny(self) -> None:
        self._services.access.deny(
            self._ben, self._waiting(), "Too early, and we need a use case: ask again once the beta is open."
        )

    def _open_the_beta(self) -> None:
        self._services.change_requests.submit(self._ana, GENERATION, Advance(), "our own people are content")

    def _approve(self) -> None:
        until = int(self._today - 0.14 * DAY)
        self._services.access.approve(self._ben, self._waiting(), "a pilot of two weeks", expires_at=until)

    def _waiting(self) -> str:
        return self._services.access.page(state="waiting", after=None, limit=1)[0].request.id

    def _sort(self, spared: int, reason: str, state: Triage) -> None:
        """Sort open feedback, all but the newest `spared`; as spam only the oldest one of what is left open."""
        found = self._services.feedback.page(Wanted(state="open"), before=None, limit=100)[spared:]
        marks = [Mark(item.id, item.version, state) for item in (found[-1:] if state == "spam" else found)]
        self._services.feedback.set_states(self._ben, marks, reason)
