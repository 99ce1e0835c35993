"""Check passwords. argon2 costs 160 ms and 64 MiB, so right credentials are cached, and attempts are limited."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from cachetools import TTLCache

from ml.catalog.accounts.user_accounts import (
    Account,
    StoredAccount,
    change_password,
    find_account,
    rehash_password,
    verify_password,
)
from ml.serving.lazy_catalog import Database
from webapi.access.limits import Throttle
from webapi.problems import unavailable

_REMEMBERED_SECONDS = 300.0
_REMEMBERED_COUNT = 10_000
_WAITING_COUNT = 4  # few of the threads: the others can serve requests without a password


class PasswordChecker:
    """Checks passwords. There is one per application.

    Right credentials are cached for five minutes, under a keyed hash of login, password and stored hash. A new password
    changes the stored hash, so the old password is invalid at once. The key never leaves the process.

    Args:
        throttle: called before each argon2 computation.
        clock: monotonic clock, seconds.
    """

    def __init__(self, throttle: Throttle, clock: Callable[[], float] = time.monotonic) -> None:
        self._throttle = throttle
        self._key = secrets.token_bytes(32)
        self._remembered: TTLCache[bytes, bool] = TTLCache(_REMEMBERED_COUNT, _REMEMBERED_SECONDS, timer=clock)
        self._locks: WeakValueDictionary[bytes, Any] = WeakValueDictionary()  # each lock exists while a thread uses it
        self._memory = threading.Lock()
        self._waiting = threading.Semaphore(_WAITING_COUNT)
        self._hashing = threading.Lock()

    def check_remembered(self, database: Database, login: str, password: str) -> Account | None:
        """Return the account if the credentials are right, with the help of the cache. Otherwise return None.

        Raises: ProblemError, 429 too many attempts or 503 too many at once; DatabaseUnavailableError.
        """
        stored = _find(database, login)
        fingerprint = self._fingerprint(login, password, stored)
        with self._lock_for(fingerprint):  # concurrent requests with the same credentials need one argon2 computation
            if not self._is_remembered(fingerprint):
                if self._verify(database, login, password, stored) is None:
                    return None
                with self._memory:
                    self._remembered[fingerprint] = True
        return _enabled(stored)

    def check(self, database: Database, login: str, password: str) -> StoredAccount | None:
        """Return the account if the credentials are right, without the cache. Otherwise return None.

        Raises: the errors of check_remembered.
        """
        stored = self._verify(database, login, password, _find(database, login))
        return None if _enabled(stored) is None else stored

    def change(self, database: Database, login: str, password: str, new_password: str) -> StoredAccount | None:
        """Set a new password if the present one is right. Return the changed account; None if it was not right.

        Raises: the errors of check_remembered; AccountError, the new password is too short.
        """
        stored = self.check(database, login, password)
        if stored is None:
            return None
        with self._hashing:
            return change_password(database.catalog(), stored, new_password)

    def _fingerprint(self, login: str, password: str, stored: StoredAccount | None) -> bytes:
        parts = (login, password, stored.password_hash if stored else "")
        return hmac.digest(self._key, "\0".join(parts).encode(errors="surrogatepass"), hashlib.sha256)

    def _is_remembered(self, fingerprint: bytes) -> bool:
        with self._memory:
            return fingerprint in self._remembered

    def _lock_for(self, fingerprint: bytes) -> threading.Lock:
        with self._memory:
            lock: threading.Lock = self._locks.setdefault(fingerprint, threading.Lock())
            return lock

    def _verify(
        self, database: Database, login: str, password: str, stored: StoredAccount | None
    ) -> StoredAccount | None:
        """Return the account, with its current hash, if the password is right."""
        self._throttle.count_login(login)
        if not self._waiting.acquire(blocking=False):
            raise unavailable("busy", "Too many passwords are being checked at once. Try again in a moment.")
        try:
            with self._hashing:
                is_right = verify_password(stored, password)
                return rehash_password(database.catalog(), stored, password) if stored and is_right else None
        finally:
            self._waiting.release()


def _find(database: Database, login: str) -> StoredAccount | None:
    with database.catalog().autocommit() as connection:
        return find_account(connection, login)


def _enabled(stored: StoredAccount | None) -> Account | None:
    return None if stored is None or stored.is_disabled else stored.account
