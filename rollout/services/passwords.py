"""Passwords: kept as argon2id. Hashing one takes 64 MiB and some 50 ms by design, so only a few are hashed at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from rollout.errors import AtCapacity

if TYPE_CHECKING:
    from argon2 import PasswordHasher

AT_ONCE = 4
WAIT_SECONDS = 10


def _rfc9106() -> PasswordHasher:
    """At the cost that RFC 9106 recommends where memory is scarce; imported when first needed."""
    from argon2 import PasswordHasher

    return PasswordHasher()


class Passwords:
    """All that hashes raises AtCapacity when others keep it busy."""

    def __init__(self, new_hasher: Callable[[], PasswordHasher] = _rfc9106) -> None:
        self._new_hasher, self._places = new_hasher, threading.BoundedSemaphore(AT_ONCE)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return self._new_hasher()

    def hash(self, password: str) -> str:
        with self._place():
            return self._hasher.hash(password)

    def fit(self, password: str, hashed: str | None) -> bool:
        """Whether `hashed` is of this password; takes as long when there is none."""
        if hashed is None:
            self.hash(password)
            return False
        from argon2.exceptions import VerifyMismatchError

        with self._place():
            try:
                return self._hasher.verify(hashed, password)
            except VerifyMismatchError:
                return False

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was hashed at another cost."""
        return self._hasher.check_needs_rehash(hashed)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise AtCapacity("Too many people sign in at this moment.", retry_after=WAIT_SECONDS)
        try:
            yield
        finally:
            self._places.release()
