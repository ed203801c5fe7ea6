"""Pauses between attempts, and the share of one subject."""

from __future__ import annotations

import pytest

from rollout.core.jobs import LONGEST_PAUSE, SHARE, Job, fair, full, pause


def job(number: int, subject: str | None = None) -> Job:
    return Job("acme", f"job_{number}", "webhook", {}, 0, 8, 0, subject=subject)


@pytest.mark.parametrize(
    ("attempt", "mean"),
    [(1, 5), (2, 25), (3, 125), (4, 625), (5, 3125), (6, 15_625), (7, 28_800), (30, 28_800)],
)
def test_pauses_grow_until_they_are_long_enough(attempt: int, mean: int) -> None:
    assert pause(attempt, 0.5) == mean + 1


def test_a_pause_is_anything_from_a_second_to_twice_its_mean() -> None:
    assert pause(1, 0.0) == 1
    assert pause(1, 0.999) == 10
    assert pause(9, 0.9999999) == LONGEST_PAUSE


def test_one_subject_gets_no_more_than_its_share() -> None:
    due = [*(job(number, "slow") for number in range(9)), job(10, "other"), job(11)]
    assert [one.id for one in fair(due, [], 8)] == ["job_0", "job_1", "job_2", "job_3", "job_10", "job_11"]


def test_what_is_in_hand_counts_towards_the_share() -> None:
    in_hand = [job(number, "slow") for number in range(SHARE - 1)]
    assert full(in_hand) == set()
    assert [one.id for one in fair([job(7, "slow"), job(8, "slow")], in_hand, 8)] == ["job_7"]
    assert full([*in_hand, job(7, "slow")]) == {"slow"}


def test_no_more_are_chosen_than_there_is_room_for() -> None:
    assert len(fair([job(number) for number in range(9)], [], 3)) == 3
