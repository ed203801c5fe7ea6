"""Polls that are answered before Flask is asked: the same answer as Flask's, and only while it is true."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from answering import Frontend, constraint, feature, keep, rollout, wire_answers
from doors import ALICE

from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.web import polls

ANN = "?userId=ann"
HEAD = b"GET / HTTP/1.1\r\nHost: phasegate\r\n\r\n"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    """`half` is on for half of the users."""
    wired = wire_answers(database, clock)
    keep(wired, feature("always"), feature("half", rollout(50, "userId")))
    return wired


class Counted:
    """A page's frontend, and how often Flask itself was asked."""

    def __init__(self, services: SimpleNamespace, tenant: str | None = None, **wishes: Any) -> None:
        self.page = Frontend(services, tenant, **wishes)
        self.asked = 0
        layer = self.page.client.application.wsgi_app
        assert isinstance(layer, polls.Polls)
        flask = layer._flask

        def counting(environ: Any, start: Any) -> Any:
            self.asked += 1
            return flask(environ, start)

        layer._flask = counting

    def names(self, query: str = ANN) -> list[str]:
        return [toggle["name"] for toggle in self.page.get(query).get_json()["toggles"]]


def test_who_asks_again_gets_the_same_answer_without_flask(services: SimpleNamespace) -> None:
    sdk = Counted(services)
    first, second = sdk.page.get(ANN), sdk.page.get(ANN)
    assert sdk.asked == 1
    assert (second.status_code, second.data) == (first.status_code, first.data)
    names = ("x-request-id", "request-id")
    assert [one for one in second.headers if one[0] not in names] == [
        one for one in first.headers if one[0] not in names
    ]
    assert first.headers["x-request-id"] != second.headers["x-request-id"] == second.headers["request-id"]


def test_who_has_the_answer_is_told_so_without_flask(services: SimpleNamespace) -> None:
    sdk = Counted(services)
    tag = sdk.page.get(ANN).headers["ETag"]
    answers = [sdk.page.get(ANN, **{"If-None-Match": tag}) for _ in range(2)]
    assert [(one.status_code, one.data) for one in answers] == [(304, b""), (304, b"")]
    assert sdk.asked == 2


def test_each_context_token_and_address_has_its_own_answer(services: SimpleNamespace) -> None:
    sdk = Counted(services)
    for number in range(20):
        query = f"?userId=user-{number}"
        said = list(sdk.page.on(userId=f"user-{number}"))
        assert sdk.names(query) == sdk.names(query) == said
    other = Frontend(services, None, projects=("shop",))
    assert sdk.page.client.get(f"/api/frontend{ANN}", headers=other.headers).get_json() == {"toggles": []}


def test_a_change_is_told_at_the_next_poll(services: SimpleNamespace) -> None:
    sdk = Counted(services)
    sdk.names()
    keep(services, feature("new"))
    assert "new" in sdk.names()
    assert "new" in sdk.names()
    assert sdk.asked == 2


def test_a_revoked_token_opens_nothing(services: SimpleNamespace) -> None:
    sdk = Counted(services)
    sdk.names()
    services.flag_tokens.revoke(ALICE, sdk.page.token.id, "test")
    services.state.refresh()
    assert sdk.page.get(ANN).status_code == 401


def test_a_token_whose_time_is_over_opens_nothing(services: SimpleNamespace, clock: Any) -> None:
    sdk = Counted(services, expires_at=int(clock()) + 60)
    sdk.names()
    clock.advance(3)
    assert sdk.page.get(ANN).status_code == 200
    assert sdk.asked == 1
    clock.advance(60)
    services.state.refresh()
    assert sdk.page.get(ANN).status_code == 401


def test_a_gate_that_nobody_can_confirm_is_asked_of_flask(services: SimpleNamespace, clock: Any) -> None:
    sdk, let_in = Counted(services), "?properties[tenantId]=acme&properties[grant]=active&properties[halt]=0"
    assert GENERATION in sdk.names(let_in)
    clock.advance(6)
    assert GENERATION not in sdk.names(let_in)
    assert sdk.asked == 2


@pytest.mark.parametrize(
    "flag",
    [
        feature("timed", {"name": "default", "constraints": [constraint("currentTime", "DATE_AFTER", value="2026-01-01T00:00:00Z")]}),
        feature("lots", rollout(50, "random")),
    ],
)  # fmt: skip
def test_what_differs_between_two_moments_is_never_kept(services: SimpleNamespace, flag: Any) -> None:
    keep(services, flag)
    sdk = Counted(services)
    sdk.names()
    sdk.names()
    assert sdk.asked == 2


def test_lots_are_drawn_anew_where_nobody_is_named(services: SimpleNamespace) -> None:
    keep(services, feature("by default", rollout(50, "default")))
    sdk = Counted(services)
    for query in ("?appName=x", "?appName=x", ANN, ANN):
        sdk.names(query)
    assert sdk.asked == 3


def test_a_tenants_decisions_are_made_each_time(services: SimpleNamespace) -> None:
    sdk = Counted(services, "acme")
    sdk.names()
    sdk.names()
    assert sdk.asked == 2


def test_what_callers_think_up_is_bounded(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls, "MOST_BYTES", 20_000)
    sdk = Counted(services)
    for number in range(100):
        sdk.names(f"?userId=user-{number}")
    layer = sdk.page.client.application.wsgi_app
    assert isinstance(layer, polls.Polls)
    assert 0 < len(layer._memory.answers) < 20


def test_bytes_that_were_answered_are_known_until_the_next_revision(services: SimpleNamespace) -> None:
    sdk, layer = _known(services)
    told = layer.told_again("10.0.0.1", HEAD)
    assert told is not None
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert told.endswith(b"\r\n\r\n" + sdk.page.get(ANN).data)
    assert layer.told_again("10.0.0.2", HEAD) is None
    assert layer.told_again("10.0.0.1", HEAD + b"x") is None
    keep(services, feature("new"))
    assert layer.told_again("10.0.0.1", HEAD) is None


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (HEAD[:-1], {}),
        (HEAD + HEAD, {}),
        (HEAD, {"CONTENT_LENGTH": "5"}),
        (HEAD, {"HTTP_TRANSFER_ENCODING": "chunked"}),
        (HEAD, {"HTTP_EXPECT": "100-continue"}),
        (HEAD, {"SERVER_PROTOCOL": "HTTP/1.0"}),
    ],
)
def test_what_may_be_more_than_one_head_is_never_known(
    services: SimpleNamespace, head: bytes, more: dict[str, str]
) -> None:
    _, layer = _known(services, head, more)
    assert layer.told_again("10.0.0.1", head) is None


def test_what_flask_answered_is_not_known_by_its_bytes(services: SimpleNamespace) -> None:
    _, layer = _known(services, times=1)
    assert layer.told_again("10.0.0.1", HEAD) is None


def test_bytes_that_callers_think_up_are_bounded(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "MOST_BYTES", 20_000)
    kept = _known(services)[1]
    (first,) = kept._memory.heads.values()
    for number in range(100):
        head = HEAD.replace(b"phasegate", b"%d" % number)
        kept.know_again(
            "10.0.0.1", head, {polls._ANSWERED: (kept._memory, first), "SERVER_PROTOCOL": "HTTP/1.1"}
        )
    assert 0 < len(kept._memory.heads) < 20


def _known(
    services: SimpleNamespace, head: bytes = HEAD, more: dict[str, str] | None = None, times: int = 2
) -> tuple[Counted, polls.Polls]:
    """Polls as a server asks them: the environment of each answered request is shown to them with its bytes."""
    sdk = Counted(services)
    app = sdk.page.client.application
    layer = app.wsgi_app
    assert isinstance(layer, polls.Polls)

    def served(environ: Any, start: Any) -> Any:
        answer = layer(environ, start)
        layer.know_again("10.0.0.1", head, {**environ, **(more or {})})
        return answer

    app.wsgi_app = served
    for _ in range(times):
        assert sdk.page.get(ANN).status_code == 200
    return sdk, layer
