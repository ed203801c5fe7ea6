"""When a vendor is left alone, and when it is asked again: a pure machine on a clock that the test holds."""

from hypothesis import given
from hypothesis import strategies as st

from rollout.core.breakers import LONGEST_REST_SECONDS, REST_SECONDS, TRY_SECONDS, Breaker

LIMIT = 4


def after(breaker, *ends, at=0.0):
    for end in ends:
        breaker = breaker.failed(at, LIMIT) if end == "failed" else breaker.answered(at)
    return breaker


OPEN = after(Breaker(), *["failed"] * LIMIT)


def test_it_opens_on_enough_failures_and_not_before():
    almost = after(Breaker(), *["failed"] * (LIMIT - 1))
    assert (almost.state(0), almost.wait(0)) == ("closed", 0)
    assert (OPEN.state(0), OPEN.wait(0), OPEN.failures) == ("open", REST_SECONDS, LIMIT)


def test_failures_among_more_answers_open_nothing():
    busy = after(Breaker(), *["answered"] * (LIMIT + 1))
    assert after(busy, *["failed"] * LIMIT).state(0) == "closed"
    assert after(busy, *["failed"] * (LIMIT + 1)).state(0) == "open"


def test_failures_of_more_than_a_minute_ago_do_not_count():
    old = after(Breaker(), *["failed"] * (LIMIT - 1), at=10)
    assert old.failed(50, LIMIT).state(50) == "open"
    assert old.failed(70, LIMIT).state(70) == "closed"
    assert old.failed(1_000, LIMIT).failures == 1


def test_after_its_rest_one_call_at_a_time_goes_through():
    rested = REST_SECONDS
    assert (OPEN.state(rested), OPEN.wait(rested)) == ("half_open", 0)
    trying = OPEN.sent(rested)
    assert trying.wait(rested) == TRY_SECONDS
    assert trying.wait(rested + TRY_SECONDS) == 0


def test_an_answer_closes_it_and_a_failure_lets_it_rest_twice_as_long_up_to_a_bound():
    trying = OPEN.sent(REST_SECONDS)
    assert trying.answered(16) == Breaker()
    again = trying.failed(16, LIMIT)
    assert (again.state(16), again.wait(16)) == ("open", 2 * REST_SECONDS)
    for _ in range(5):
        again = again.sent(1_000).failed(1_000, LIMIT)
    assert again.wait(1_000) == LONGEST_REST_SECONDS


def test_what_was_sent_before_it_opened_changes_nothing_when_it_ends():
    assert OPEN.answered(5) == OPEN
    assert OPEN.failed(5, LIMIT) == OPEN


def test_a_clock_that_is_set_back_keeps_nobody_away():
    opened = after(Breaker(), *["failed"] * LIMIT, at=10_000)
    assert opened.wait(10_001) > 0
    assert opened.wait(5_000) == 0
    assert opened.sent(5_000).answered(5_001) == Breaker()


def test_a_limit_of_infinity_never_opens():
    breaker = Breaker()
    for _ in range(1_000):
        breaker = breaker.failed(0, float("inf"))
    assert breaker.state(0) == "closed"


@given(st.lists(st.tuples(st.sampled_from(["failed", "answered", "sent"]), st.floats(0, 40))))
def test_whatever_happens_a_call_goes_through_within_the_longest_rest(steps):
    breaker, at = Breaker(), 0.0
    for what, passes in steps:
        at += passes
        if what != "sent":
            breaker = after(breaker, what, at=at)
        elif not breaker.wait(at):
            breaker = breaker.sent(at)
        assert breaker.wait(at) <= LONGEST_REST_SECONDS
