"""Sessions at the console: begun by password or by a one-time link, recognised by the secret in a cookie, ended.

Guessing is slow: an attempt counts as failed from before the password is looked at until it has fit, so that any number of attempts at
once get no more tries than one after another. Only the HMAC of secrets, emails and addresses is kept.

Failure behaviour: while the database is away nobody signs in (LedgerUnavailable); while it cannot be written, those who are in stay in.
"""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass, field

import structlog

from rollout.core.sessions import (
    FAILURE_SECONDS,
    FAILURES_AN_ADDRESS,
    FAILURES_AN_EMAIL,
    IDLE_SECONDS,
    LIFE_SECONDS,
    SECRET_BYTES,
    SEEN_SECONDS,
    Session,
    network_of,
)
from rollout.core.tenants import secret_hash
from rollout.core.users import User, folded
from rollout.db import sessions, users
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import InvalidRequest, LedgerUnavailable, NotFound, RateLimitExceeded
from rollout.services.passwords import Passwords

log = structlog.get_logger()


@dataclass(frozen=True)
class Opened:
    """A new session; its secret exists once, in the cookie."""

    secret: str = field(repr=False)
    user: User


class Sessions:
    def __init__(self, database: Database, secret: bytes, clock: Clock, passwords: Passwords) -> None:
        self._database, self._secret = database, secret
        self._clock, self._passwords = clock, passwords

    def sign_in(self, email: str, password: str, address: str) -> Opened:
        """`address` is the caller's. Raises what `check` does."""
        user = self.check(email, password, address)
        with self._database.write() as tx:
            opened = self._open(tx, _unchanged(tx, user))
        log.info("signed_in", user=user.id, by="password", address=address)
        return opened

    def check(self, email: str, password: str, address: str) -> User:
        """The user who has this email and password.

        Raises InvalidRequest, one and the same for an unknown email, a wrong password and a disabled user; RateLimitExceeded after
        FAILURES_AN_EMAIL or FAILURES_AN_ADDRESS failures in FAILURE_SECONDS; AtCapacity.
        """
        email = folded(email)
        tried = {
            secret_hash(self._secret, f"email {email}"): FAILURES_AN_EMAIL,
            secret_hash(self._secret, f"address {network_of(address)}"): FAILURES_AN_ADDRESS,
        }
        user = self._try(email, tried)
        fits = self._passwords.fit(password, user.password_hash if user else None)
        if user is None or not fits or user.disabled_at is not None:
            log.info("sign_in_failed", address=address)
            raise _refused()
        return self._accept(user, password, *tried)

    def sign_in_by_link(self, secret: str, address: str) -> Opened:
        """Use the link up. Raises NotFound, as `link_owner` does."""
        with self._database.write() as tx:
            owner = sessions.use_link(tx, self._hash(secret), self._database.now(tx))
            user = _let_in(users.lock(tx, owner) if owner else None)
            opened = self._open(tx, user)
        log.info("signed_in", user=user.id, by="link", address=address)
        return opened

    def link_owner(self, secret: str) -> User:
        """Whom the link would let in; only reads. Raises NotFound for one that is used, expired, replaced or forged."""
        with self._database.read() as tx:
            owner = sessions.link_owner(tx, self._hash(secret), self._database.now(tx))
            return _let_in(users.get(tx, owner) if owner else None)

    def identify(self, secret: str) -> Session | None:
        """Whose session this is; None: no session, ended, or of a disabled user. Nobody's secret is not looked up."""
        if not secret:
            return None
        with self._database.read() as tx:
            found = sessions.find(tx, self._hash(secret))
        now = self._clock()
        if found is None or not found.is_open(now):
            return None
        if now - found.seen_at >= SEEN_SECONDS:
            self._note_seen(found, int(now))
        return found

    def sign_out(self, session_hash: str) -> None:
        with self._database.write() as tx:
            sessions.end(tx, session_hash)

    def sign_out_everywhere(self, user_id: str) -> None:
        with self._database.write() as tx:
            sessions.end_all(tx, user_id)

    def forget(self) -> None:
        """Delete what no longer opens or counts; a job."""
        with self._database.write() as tx:
            now = self._database.now(tx)
            sessions.forget(tx, now=now, idle_since=now - IDLE_SECONDS, failed_before=now - FAILURE_SECONDS)

    def _try(self, email: str, tried: dict[str, int]) -> User | None:
        """Count an attempt as failed and give the user it is about; one too many is refused before anything is written."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            failed = sessions.failures(tx, tried, now - FAILURE_SECONDS)
            for subject, (count, since) in failed.items():
                _check_rate(count + 1, since, tried[subject], now)
            user = users.by_email(tx, email)
        with self._database.write() as tx:
            for subject, limit in tried.items():
                _check_rate(*sessions.count_failure(tx, subject, now, now - FAILURE_SECONDS), limit, now)
        return user

    def _accept(self, user: User, password: str, email_subject: str, address_subject: str) -> User:
        """It was no failure: forget those of this email, take back this one of the address; a hash of another cost is replaced."""
        is_outdated = self._passwords.is_outdated(user.password_hash or "")
        hashed = self._passwords.hash(password) if is_outdated else user.password_hash
        with self._database.write() as tx:
            sessions.forgive_all(tx, email_subject)
            sessions.forgive(tx, address_subject)
            accepted = dataclasses.replace(_unchanged(tx, user), password_hash=hashed)
            if is_outdated:
                users.put(tx, accepted)
        return accepted

    def _open(self, tx: Tx, user: User) -> Opened:
        opened = Opened(secrets.token_urlsafe(SECRET_BYTES), user)
        now = self._database.now(tx)
        sessions.add(tx, self._hash(opened.secret), user.id, now, now + LIFE_SECONDS)
        return opened

    def _note_seen(self, session: Session, now: int) -> None:
        try:
            with self._database.write() as tx:
                sessions.touch(tx, session.hash, now)
        except LedgerUnavailable as error:
            log.warning("session_not_noted", error=str(error.__cause__ or error))

    def _hash(self, secret: str) -> str:
        return secret_hash(self._secret, secret)


def _check_rate(count: int, since: int, limit: int, now: int) -> None:
    """Raises RateLimitExceeded when this attempt, the `count`th since `since`, is one too many."""
    if count > limit:
        raise RateLimitExceeded(
            "Too many sign-ins failed.",
            remedy="Wait for a quarter of an hour, or ask an admin for a sign-in link.",
            retry_after=since + FAILURE_SECONDS - now,
        )


def _unchanged(tx: Tx, user: User) -> User:
    """The user, held until the transaction ends; raises InvalidRequest when somebody changed them while the password was looked at."""
    current = users.lock(tx, user.id)
    if current is None or current.version != user.version:
        raise _refused()
    return current


def _refused() -> InvalidRequest:
    return InvalidRequest(
        "Email or password is wrong, or the account is disabled.",
        remedy="Try again, or ask an admin for a sign-in link.",
    )


def _let_in(user: User | None) -> User:
    if user is None or user.disabled_at is not None:
        raise NotFound(
            "This sign-in link was used, has expired, or never was.",
            remedy="Ask an admin for a new one: rollout users link.",
        )
    return user
