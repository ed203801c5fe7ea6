import pytest

from rollout.core.steering import Steering, parse_steering
from rollout.errors import InvalidRequest


def test_an_ordinary_prompt_steers_nothing():
    assert parse_steering("a fox: sandbox:drop") == Steering("a fox: sandbox:drop")


def test_keys_are_read_up_to_the_first_space():
    steering = parse_steering(
        "sandbox:error=429:slow_down,slow=1500ms,nousage,fewer=2,cost=99,cut=0 a fox, drop"
    )
    assert steering == Steering(
        "a fox, drop", error=429, code="slow_down", slow=1.5, nousage=True, fewer=2, cost=99, cut=0
    )


@pytest.mark.parametrize("key", ["drop", "hang", "malformed", "html", "json", "retired", "nousage"])
def test_switches_stand_alone(key):
    assert getattr(parse_steering(f"sandbox:{key}"), key) is True


def test_keys_of_others_are_left_alone():
    assert parse_steering("sandbox:deny=insufficient_quota x") == Steering("x")
    assert parse_steering("sandbox: x") == Steering("x")


def test_a_wait_is_bounded():
    assert parse_steering("sandbox:slow=99999s").slow == 600


@pytest.mark.parametrize(
    "prompt",
    [
        "nonsense",
        "error=200",
        "error=abc",
        "slow=3",
        "slow",
        "flagged=maybe",
        "drop=1",
        "cut=-1",
        "cost=x",
        "judge",
        "judge=score:2",
        "refine=x",
    ],
)
def test_steering_that_means_nothing_is_refused(prompt):
    with pytest.raises(InvalidRequest) as error:
        parse_steering(f"sandbox:{prompt} x")
    assert error.value.members["param"] == "prompt"
    assert "error=429" in error.value.remedy_text


def test_questions_about_a_prompt_are_steered_by_its_own_keys_for_them():
    prompt = "sandbox:error=500,refine=slow:20s,judge=score:0.2 a fox"
    assert parse_steering(f"<draft>{prompt}</draft>") == Steering(prompt, is_question=True, slow=20)
    assert parse_steering(f"<asked>{prompt}</asked>") == Steering(prompt, is_question=True, score=0.2)
    assert parse_steering(prompt).error == 500
    assert parse_steering("<asked>a\nfox</asked>") == Steering("a\nfox", is_question=True)
