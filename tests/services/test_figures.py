"""Figures equal the count over feedback, whatever happened, in whatever order, on both databases."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uses import add_generation

from rollout.core.audit import Actor
from rollout.core.feedback import Mark, Opinion
from rollout.core.figures import FiguresQuery
from rollout.core.tenants import Tenant
from rollout.core.usage import report_rows
from rollout.db.engine import Database
from rollout.db.tables import feedback as rows
from rollout.db.tables import figure
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.tenants import Tenants

ALICE = Actor("user:alice@example.com", "editor", "req_1")
GENERATIONS = {
    "gen_1": {},
    "gen_2": {"vendor": "xai", "model": "grok-imagine"},
    "gen_3": {"phase": None, "run": None},
}
PEOPLE = ("ana", "bob")


@pytest.fixture
def feedback(database: Database, clock: Any) -> Feedback:
    changes = Changes(database)
    for name in ("acme", "globex"):
        Tenants(database, changes).add(ALICE, Tenant(name, name), "seed")
        for id_, made in GENERATIONS.items():
            add_generation(database, id_, tenant_id=name, **made)
    count = itertools.count(1)
    return Feedback(database, changes, b"s" * 32, lambda prefix: f"{prefix}_{next(count):06}", clock)


def counted(database: Database) -> Counter[tuple[Any, ...]]:
    """(tenant, phase, vendor, day, thumb) -> how many rows of feedback count."""
    with database.read() as tx:
        found = tx.execute(sa.select(rows).where(rows.c.state.in_(("open", "resolved")))).mappings().all()
    return Counter(
        (
            row["tenant_id"],
            row["phase"] or "",
            row["vendor"],
            row["created_at"] // 86_400 * 86_400,
            row["rating"],
        )
        for row in found
    )


def figures(database: Database) -> Counter[tuple[Any, ...]]:
    with database.read() as tx:
        found = tx.execute(sa.select(figure)).mappings().all()
    return Counter(
        {
            (row["tenant_id"], row["phase"], row["vendor"], row["day"], thumb): row[thumb]
            for row in found
            for thumb in ("up", "down")
            if row[thumb]
        }
    )


said = st.tuples(
    st.just("say"),
    st.sampled_from(("acme", "globex")),
    st.sampled_from(sorted(GENERATIONS)),
    st.sampled_from(PEOPLE),
    st.sampled_from(("up", "down")),
)
withdrawn = st.tuples(st.just("withdraw"), st.integers(0, 99))
triaged = st.tuples(
    st.just("triage"),
    st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    st.sampled_from(("open", "resolved", "spam")),
)
waited = st.tuples(st.just("wait"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(said, said, withdrawn, triaged, waited), min_size=15, max_size=40))
def test_figures_are_the_count_over_feedback_after_any_story(
    feedback: Feedback, database: Database, clock: Any, steps: list[tuple[Any, ...]]
) -> None:
    """Each example goes on where the last one ended."""
    first, _ = feedback.submit("acme", "gen_1", "ana", Opinion("up"))
    items = [(first.tenant_id, first.id)]
    for step in steps:
        if step[0] == "say":
            item, _ = feedback.submit(step[1], step[2], step[3], Opinion(step[4]))
            items = [*dict.fromkeys([*items, (item.tenant_id, item.id)])]
        elif step[0] == "withdraw":
            feedback.withdraw(*items[step[1] % len(items)])
        elif step[0] == "triage":
            ids = dict.fromkeys(items[index % len(items)][1] for index in step[1])
            with contextlib.suppress(Conflict):
                feedback.set_states(ALICE, [Mark(id_, None, step[2]) for id_ in ids], "test")
        else:
            clock.advance(20_000)
        assert figures(database) == counted(database)


def test_figures_hold_when_all_come_at_once(feedback: Feedback, database: Database) -> None:
    ids = [
        feedback.submit("acme", generation, person, Opinion("up"))[0].id
        for generation in GENERATIONS
        for person in PEOPLE
    ]

    def changes_mind(person: str, generation: str) -> None:
        for rating in ("down", "up", "down"):
            feedback.submit("acme", generation, person, Opinion(rating))  # type: ignore[arg-type]

    def triages(order: list[str]) -> None:
        for state in ("spam", "open", "resolved"):
            feedback.set_states(ALICE, [Mark(id_, None, state) for id_ in order], "test")  # type: ignore[arg-type]

    threads = [
        threading.Thread(target=changes_mind, args=(person, generation))
        for generation in GENERATIONS
        for person in PEOPLE
    ]
    threads += [threading.Thread(target=triages, args=(order,)) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert figures(database) == counted(database)
    assert sum(figures(database).values()) == len(ids)


def test_a_dry_run_moves_no_figure(feedback: Feedback, database: Database) -> None:
    item, _ = feedback.submit("acme", "gen_1", "ana", Opinion("down"))
    before = figures(database)
    feedback.set_state(ALICE, item.id, "spam", "test", dry_run=True)
    assert figures(database) == before


@pytest.fixture
def rated(feedback: Feedback, clock: Any) -> Feedback:
    """acme: gen_1 down, down; gen_2 up; gen_3 up. A day later globex: gen_1 up."""
    for generation, person, rating in (
        ("gen_1", "ana", "down"),
        ("gen_1", "bob", "down"),
        ("gen_2", "ana", "up"),
        ("gen_3", "ana", "up"),
    ):
        feedback.submit("acme", generation, person, Opinion(rating))  # type: ignore[arg-type]
    clock.advance(86_400)
    feedback.submit("globex", "gen_1", "ana", Opinion("up"))
    return feedback


def asked(feedback: Feedback, *by: str, **wanted: Any) -> list[dict[str, Any]]:
    return report_rows(feedback.figures(FiguresQuery(by=by, **wanted)))


def test_figures_are_cut_by_any_words(rated: Feedback) -> None:
    assert asked(rated, "phase", "vendor", tenant="acme") == [
        {"phase": "private_beta", "vendor": "openai", "up": 0, "down": 2, "bad_share": 1.0},
        {"phase": "private_beta", "vendor": "xai", "up": 1, "down": 0, "bad_share": 0.0},
        {"phase": None, "vendor": "openai", "up": 1, "down": 0, "bad_share": 0.0},
    ]
    assert asked(rated, "tenant", "day") == [
        {"tenant": "acme", "day": "2026-11-22", "up": 2, "down": 2, "bad_share": 0.5},
        {"tenant": "globex", "day": "2026-11-23", "up": 1, "down": 0, "bad_share": 0.0},
    ]
    assert [row["model"] for row in asked(rated, "model", feature="image-generation")] == [
        "gpt-image-2",
        "grok-imagine",
    ]
    assert asked(rated, "feature") == [
        {"feature": "image-generation", "up": 3, "down": 2, "bad_share": 0.4},
    ]


def test_figures_are_of_the_days_that_were_asked_for(rated: Feedback) -> None:
    total = rated.figures(FiguresQuery(since="2026-11-23", until="2026-11-23")).total
    assert (total.up, total.down) == (1, 0)
    nothing = rated.figures(FiguresQuery(since="2026-11-01", until="2026-11-02"))
    assert (nothing.lines, nothing.total.bad_share) == ((), None)


@pytest.mark.parametrize(
    ("wanted", "error", "param"),
    [
        ({"tenant": "nobody"}, NotFound, "tenant"),
        ({"since": "2026-11-22T06:00:00Z"}, InvalidRequest, "from"),
        ({"since": "2026-11-24", "until": "2026-11-22"}, InvalidRequest, "from"),
        ({"until": "soon"}, InvalidRequest, "to"),
    ],
)
def test_a_wrong_question_is_named(
    rated: Feedback, wanted: dict[str, str], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as refused:
        asked(rated, **wanted)
    assert refused.value.members["param"] == param  # type: ignore[attr-defined]
