"""A plan of four phases that stands at the second: what tests of steps, gates, approvals and schedules move."""

from __future__ import annotations

from rollout.core.plans import Everyone, Granted, Percentage, Phase, Plan, Run, RunningPlan

ENTERED = 1_795_348_800
"""When it came to where it stands, UTC epoch seconds."""

PLAN = Plan(
    "image-generation",
    "salt",
    (
        Phase("zero", "Zero", Granted(("internal",))),
        Phase("one", "One", Granted()),
        Phase("two", "Two", Percentage(1000)),
        Phase("three", "Three", Everyone()),
    ),
)


def running(plan: Plan = PLAN, phase: str = "one") -> RunningPlan:
    return RunningPlan(plan, Run(1, phase, "running", ENTERED, "token:ana"))
