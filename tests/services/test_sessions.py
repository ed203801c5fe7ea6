"""Sessions: begun by password or link, recognised, throttled, ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from doors import ALICE, SECRET, cheap_hasher, wire
from structlog.testing import capture_logs

from rollout.core.sessions import FAILURES_AN_ADDRESS, FAILURES_AN_EMAIL, IDLE_SECONDS, LIFE_SECONDS
from rollout.core.users import NewUser, User
from rollout.db.engine import Database
from rollout.db.tables import session, sign_in_failure, sign_in_link
from rollout.errors import AtCapacity, InvalidRequest, LedgerUnavailable, NotFound, RateLimitExceeded
from rollout.services.passwords import AT_ONCE, Passwords
from rollout.services.sessions import Sessions

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def sessions(services: SimpleNamespace) -> Sessions:
    found: Sessions = services.sessions
    return found


@pytest.fixture
def carol(services: SimpleNamespace) -> User:
    return add(services, "carol")


def add(services: SimpleNamespace, name: str) -> User:
    new = NewUser(f"{name}@example.com", name.title(), "viewer")
    user: User = services.users.add(ALICE, new, "test", password=PASSWORD)
    return user


def fail(sessions: Sessions, email: str, address: str = HERE) -> str:
    with pytest.raises((InvalidRequest, RateLimitExceeded)) as caught:
        sessions.sign_in(email, "not the password", address)
    return caught.value.code


def test_a_session_is_known_by_its_secret_until_it_is_signed_out(
    database: Database, sessions: Sessions, carol: User
) -> None:
    opened = sessions.sign_in(" Carol@Example.com ", PASSWORD, HERE)
    found = sessions.identify(opened.secret)
    assert found is not None
    assert (opened.user, found.user) == (carol, carol)
    with database.read() as tx:
        assert opened.secret not in repr(tx.execute(sa.select(session)).all())
    assert opened.secret not in repr(opened)
    for forged in ("", opened.secret[:-1], opened.secret + "x", found.hash, "\x00", "é"):
        assert sessions.identify(forged) is None
    sessions.sign_out(found.hash)
    assert sessions.identify(opened.secret) is None


def test_signing_out_everywhere_ends_all_of_ones_own_sessions(
    services: SimpleNamespace, sessions: Sessions, carol: User
) -> None:
    mine = [sessions.sign_in(carol.email, PASSWORD, HERE).secret for _ in range(2)]
    other = sessions.sign_in(add(services, "dave").email, PASSWORD, HERE).secret
    sessions.sign_out_everywhere(carol.id)
    assert [sessions.identify(secret) for secret in mine] == [None, None]
    assert sessions.identify(other) is not None


def test_a_session_ends_when_it_idles_and_at_the_latest_after_a_week(
    sessions: Sessions, carol: User, clock: Any
) -> None:
    idle, used = (sessions.sign_in(carol.email, PASSWORD, HERE).secret for _ in range(2))
    for _ in range(LIFE_SECONDS // (IDLE_SECONDS - 1)):
        assert sessions.identify(used) is not None
        clock.advance(IDLE_SECONDS - 1)
    assert sessions.identify(idle) is None
    assert sessions.identify(used) is not None
    clock.advance(LIFE_SECONDS % (IDLE_SECONDS - 1))
    assert sessions.identify(used) is None


def test_recognising_somebody_reads_once_and_writes_every_five_minutes(
    database: Database, sessions: Sessions, carol: User, clock: Any
) -> None:
    secret = sessions.sign_in(carol.email, PASSWORD, HERE).secret
    said: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement.split()[0])

    clock.advance(299)
    sessions.identify(secret)
    assert [word for word in said if word != "BEGIN"] == ["SELECT"]
    clock.advance(1)
    sessions.identify(secret)
    sessions.identify(secret)
    assert [word for word in said if word != "BEGIN"] == ["SELECT", "SELECT", "UPDATE", "SELECT"]


def test_who_is_in_stays_in_while_nothing_can_be_written(
    database: Database, sessions: Sessions, carol: User, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = sessions.sign_in(carol.email, PASSWORD, HERE).secret
    clock.advance(3600)

    def full() -> Any:
        raise LedgerUnavailable

    monkeypatch.setattr(database, "write", full)
    with capture_logs() as logs:
        found = sessions.identify(secret)
    assert found is not None
    assert [line["event"] for line in logs] == ["session_not_noted"]


def test_unknown_wrong_and_disabled_get_one_answer_after_the_same_work(
    database: Database, services: SimpleNamespace, clock: Any, carol: User
) -> None:
    disabled = add(services, "dave")
    services.users.disable(ALICE, disabled.id, "left")
    by_link = services.users.add(ALICE, NewUser("erin@example.com", "Erin", "viewer"), "no password")
    passwords = Counting()
    sessions = Sessions(database, SECRET, clock, passwords)
    answers, work = set(), []
    for email, password in (
        ("nobody@example.com", PASSWORD), (carol.email, "not the password"), (disabled.email, PASSWORD),
        (by_link.email, PASSWORD), ("no email at all", PASSWORD),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            sessions.sign_in(email, password, HERE)
        answers.add((caught.value.message, caught.value.remedy_text, repr(caught.value.members)))
        work.append(passwords.taken())
    assert len(answers) == 1
    assert work == [1, 1, 1, 1, 1]


class Counting(Passwords):
    """Counts how often it hashed."""

    def __init__(self) -> None:
        super().__init__(cheap_hasher)
        self.count = 0

    def _place(self) -> Any:
        self.count += 1
        return super()._place()

    def taken(self) -> int:
        taken, self.count = self.count, 0
        return taken


def test_an_email_is_throttled_before_its_password_is_looked_at(
    database: Database, services: SimpleNamespace, carol: User, clock: Any
) -> None:
    passwords = Counting()
    sessions = Sessions(database, SECRET, clock, passwords)
    assert [fail(sessions, carol.email) for _ in range(FAILURES_AN_EMAIL)] == ["invalid_request"] * 5
    clock.advance(60)
    passwords.taken()
    with pytest.raises(RateLimitExceeded) as caught:
        sessions.sign_in(carol.email.upper(), PASSWORD, "198.51.100.9")
    assert (caught.value.retry_after, passwords.taken()) == (840, 0)
    assert sessions.sign_in(add(services, "dave").email, PASSWORD, HERE).user.name == "Dave"
    clock.advance(840)
    assert sessions.sign_in(carol.email, PASSWORD, HERE).user == carol


def test_an_address_is_throttled_whatever_email_it_tries(sessions: Sessions, carol: User) -> None:
    codes = [fail(sessions, f"nobody{n}@example.com") for n in range(FAILURES_AN_ADDRESS + 1)]
    assert codes == ["invalid_request"] * FAILURES_AN_ADDRESS + ["rate_limit_exceeded"]
    assert fail(sessions, carol.email) == "rate_limit_exceeded"
    assert sessions.sign_in(carol.email, PASSWORD, "2001:db8::1").user == carol


def test_success_clears_the_email_and_does_not_count_for_the_address(
    database: Database, sessions: Sessions, carol: User
) -> None:
    for _ in range(FAILURES_AN_ADDRESS + 1):
        sessions.sign_in(carol.email, PASSWORD, HERE)
    for _ in range(2):
        for _ in range(FAILURES_AN_EMAIL - 1):
            assert fail(sessions, carol.email) == "invalid_request"
        sessions.sign_in(carol.email, PASSWORD, HERE)
    with database.read() as tx:
        kept = tx.execute(sa.select(sign_in_failure.c["count"])).scalars().all()
    assert list(kept) == [2 * (FAILURES_AN_EMAIL - 1)], (
        "the address keeps its failures, and nothing else is kept"
    )


def test_many_attempts_at_once_get_no_more_tries_than_one_after_another(
    sessions: Sessions, carol: User
) -> None:
    with ThreadPoolExecutor(12) as pool:
        codes = sorted(pool.map(lambda _: fail(sessions, carol.email), range(12)))
    assert codes == ["invalid_request"] * FAILURES_AN_EMAIL + ["rate_limit_exceeded"] * 7


def test_a_refused_attempt_writes_nothing(database: Database, sessions: Sessions, carol: User) -> None:
    for _ in range(FAILURES_AN_EMAIL + 2):
        fail(sessions, carol.email)
    with database.read() as tx:
        counts = tx.execute(sa.select(sign_in_failure.c["count"])).scalars().all()
        assert "carol" not in repr(tx.execute(sa.select(sign_in_failure)).all())
    assert list(counts) == [FAILURES_AN_EMAIL, FAILURES_AN_EMAIL]


def test_a_link_lets_in_once_and_looking_at_it_changes_nothing(
    services: SimpleNamespace, sessions: Sessions, carol: User
) -> None:
    secret = services.users.link(ALICE, carol.id, "forgot it")
    for _ in range(3):
        assert sessions.link_owner(secret) == carol
    opened = sessions.sign_in_by_link(secret, HERE)
    assert sessions.identify(opened.secret) is not None
    for call in (lambda: sessions.link_owner(secret), lambda: sessions.sign_in_by_link(secret, HERE)):
        with pytest.raises(NotFound):
            call()
    for forged in ("", "x", opened.secret):
        with pytest.raises(NotFound):
            sessions.sign_in_by_link(forged, HERE)


def test_a_link_ends_after_a_day(
    services: SimpleNamespace, sessions: Sessions, carol: User, clock: Any
) -> None:
    secret = services.users.link(ALICE, carol.id, "forgot it")
    clock.advance(86_399)
    assert sessions.link_owner(secret) == carol
    clock.advance(1)
    for call in (lambda: sessions.link_owner(secret), lambda: sessions.sign_in_by_link(secret, HERE)):
        with pytest.raises(NotFound):
            call()


def test_of_many_who_use_a_link_at_once_one_gets_in(
    services: SimpleNamespace, sessions: Sessions, carol: User
) -> None:
    secret = services.users.link(ALICE, carol.id, "forgot it")

    def use(_: int) -> str:
        try:
            return sessions.sign_in_by_link(secret, HERE).user.id
        except NotFound as error:
            return error.code

    with ThreadPoolExecutor(6) as pool:
        results = sorted(pool.map(use, range(6)))
    assert results == ["not_found"] * 5 + [carol.id]


def test_a_password_hashed_at_another_cost_is_hashed_anew_at_sign_in(
    database: Database, services: SimpleNamespace, carol: User, clock: Any
) -> None:
    dearer = Passwords(lambda: PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    opened = Sessions(database, SECRET, clock, dearer).sign_in(carol.email, PASSWORD, HERE)
    kept = services.users.get(carol.id)
    assert kept == opened.user
    assert kept.version == carol.version
    assert "t=1" in str(carol.password_hash)
    assert "t=2" in str(kept.password_hash)
    assert Sessions(database, SECRET, clock, dearer).sign_in(carol.email, PASSWORD, HERE).user == kept


def test_a_sign_in_that_a_disabling_overtakes_opens_nothing(
    database: Database, services: SimpleNamespace, carol: User, clock: Any
) -> None:
    class Overtaken(Passwords):
        def fit(self, password: str, hashed: str | None) -> bool:
            services.users.disable(ALICE, carol.id, "just now")
            services.users.enable(ALICE, carol.id, "and again")
            return super().fit(password, hashed)

    with pytest.raises(InvalidRequest):
        Sessions(database, SECRET, clock, Overtaken(cheap_hasher)).sign_in(carol.email, PASSWORD, HERE)
    with database.read() as tx:
        assert tx.execute(sa.select(session)).all() == []


def test_no_more_passwords_are_hashed_at_once_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.services.passwords.WAIT_SECONDS", 0)
    inside, leave = threading.Semaphore(0), threading.Event()

    class Slow(PasswordHasher):
        def hash(self, *_: Any, **__: Any) -> str:
            inside.release()
            leave.wait(20)
            return "hashed"

    passwords = Passwords(Slow)
    busy = [threading.Thread(target=passwords.hash, args=(PASSWORD,)) for _ in range(AT_ONCE)]
    for thread in busy:
        thread.start()
        assert inside.acquire(timeout=20)
    with pytest.raises(AtCapacity):
        passwords.hash(PASSWORD)
    leave.set()
    for thread in busy:
        thread.join()
    assert passwords.hash(PASSWORD) == "hashed"


def test_what_no_longer_opens_or_counts_is_forgotten(
    database: Database, services: SimpleNamespace, sessions: Sessions, carol: User, clock: Any
) -> None:
    services.users.link(ALICE, carol.id, "for later")
    sessions.sign_in(carol.email, PASSWORD, HERE)
    fail(sessions, "nobody@example.com")

    def rows() -> list[int]:
        with database.read() as tx:
            tables = (session, sign_in_link, sign_in_failure)
            return [len(tx.execute(sa.select(table)).all()) for table in tables]

    sessions.forget()
    assert rows() == [1, 1, 2]
    clock.advance(900)
    sessions.forget()
    assert rows() == [1, 1, 0]
    clock.advance(IDLE_SECONDS - 900)
    sessions.forget()
    assert rows() == [0, 1, 0]
    clock.advance(86_400)
    sessions.forget()
    assert rows() == [0, 0, 0]
