"""A vendor's breaker in a process: what opens it, who is kept away, and what is told of it."""

from contextlib import contextmanager, suppress

import pytest
from structlog.testing import capture_logs

from rollout.errors import UpstreamUnavailable
from rollout.providers.base import (
    BadCredential,
    Fault,
    NotBilled,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    Refused,
    Rejected,
    Retired,
    Throttled,
)
from rollout.services.breakers import Breakers, Watched

FAILURES = 3
AT = 1_795_000_000


class Clock:
    now = float(AT)

    def __call__(self):
        return self.now


class Port:
    """Does what it is told to."""

    def __init__(self):
        self.calls, self.error = 0, None

    def generate(self, call):
        self.calls += 1
        if self.error:
            raise self.error
        return call

    create = count_tokens = generate

    def submit(self, call, reference):
        return self.generate((call, reference))

    def look(self, call, task_id, reference):
        return self.generate((call, task_id, reference))

    @contextmanager
    def stream(self, call):
        yield self._events(call)

    def _events(self, call):
        yield "first"
        yield self.generate(call)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    return Breakers(clock, FAILURES)


@pytest.fixture
def port():
    return Port()


@pytest.fixture
def watched(port, breakers):
    return Watched(port, "openai", breakers)


def fail(watched, port, error, times=FAILURES):
    port.error = error
    for _ in range(times):
        with suppress(type(error), NotSent):
            watched.generate("x")
    port.error = None


@pytest.mark.parametrize(
    "error", [NotSent(), Fault(status=500), Fault("a page"), OutcomeUnknown(), NotBilled()]
)
def test_failures_open_it_and_then_nothing_is_sent(watched, port, breakers, error):
    fail(watched, port, error)
    with pytest.raises(UpstreamUnavailable) as refused:
        breakers.check("openai")
    assert refused.value.retry_after == 15
    with pytest.raises(NotSent, match="breaker of openai is open"):
        watched.generate("x")
    assert port.calls == FAILURES
    breakers.check("anthropic")


@pytest.mark.parametrize(
    "error", [Throttled(), Rejected("no"), Retired(), Refused("violence"), BadCredential()]
)
def test_what_a_vendor_says_opens_nothing(watched, port, breakers, error):
    fail(watched, port, error, times=20)
    breakers.check("openai")
    assert watched.generate("x") == "x"


def test_every_kind_of_call_is_seen(watched, port, breakers):
    for call in (
        lambda: watched.create("x"),
        lambda: watched.count_tokens("x"),
        lambda: watched.submit("x", "r"),
        lambda: watched.look("x", "t", "r"),
    ):
        assert call()
    with watched.stream("x") as events:
        assert list(events) == ["first", "x"]
    port.error = OutcomeUnknown("cut")
    for _ in range(FAILURES + 5):
        with suppress(OutcomeUnknown, NotSent), watched.stream("x") as events:
            list(events)
    assert breakers.troubles()["openai"]["failures"] > FAILURES
    with pytest.raises(NotSent), watched.stream("x"):
        pytest.fail("it must not be opened")


def test_a_caller_who_stops_reading_a_stream_is_no_failure(watched, breakers):
    for _ in range(FAILURES):
        with suppress(RuntimeError), watched.stream("x"):
            raise RuntimeError("the caller's own")
    assert breakers.troubles() == {}


def test_after_a_rest_one_call_tries_and_its_end_decides(watched, port, breakers, clock):
    fail(watched, port, NotSent())
    clock.now += 15
    breakers.check("openai")
    assert breakers.troubles()["openai"]["state"] == "half_open"
    fail(watched, port, NotSent(), times=1)
    clock.now += 15
    with pytest.raises(UpstreamUnavailable):
        breakers.check("openai")
    clock.now += 15
    assert watched.generate("x") == "x"
    assert breakers.troubles() == {}


def test_it_shows_itself_and_is_logged_when_it_opens_and_when_it_closes(watched, port, breakers, clock):
    with capture_logs() as logged:
        fail(watched, port, Fault("status 500: oh", status=500), times=FAILURES + 2)
        assert breakers.troubles() == {
            "openai": {
                "state": "open",
                "since": "2026-11-18T11:06:40Z",
                "failures": FAILURES,
                "last": "Fault: status 500: oh",
            }
        }
        clock.now += 15
        watched.generate("x")
    assert [(line["event"], line["log_level"]) for line in logged] == [
        ("breaker_opened", "error"),
        ("breaker_closed", "warning"),
    ]


@pytest.mark.parametrize("error", [BadCredential("wrong key"), OutOfCredit("no money")])
def test_a_refused_account_is_an_alarm_until_it_serves_again(watched, port, breakers, error):
    with capture_logs() as logged:
        fail(watched, port, error)
        trouble = breakers.troubles()["openai"]
        assert (trouble["state"], trouble["last"]) == (
            "account_refused",
            f"{type(error).__name__}: {error.detail}",
        )
        watched.generate("x")
    assert breakers.troubles() == {}
    assert [line["event"] for line in logged] == ["vendor_account_refused", "vendor_account_serves_again"]


def test_breakers_that_are_switched_off_never_open(port, clock):
    watched = Watched(port, "openai", breakers := Breakers(clock, failures=0))
    fail(watched, port, NotSent(), times=50)
    breakers.check("openai")


def test_a_task_that_failed_is_an_answer_and_a_look_that_failed_is_none(watched, port, breakers):
    for error, is_open in ((Fault("the task failed"), False), (OutcomeUnknown("cut"), True)):
        port.error = error
        for _ in range(FAILURES):
            with suppress(Fault, OutcomeUnknown):
                watched.look("x", "t", "r")
        assert bool(breakers.troubles()) is is_open
