"""Basic authentication (RFC 7617) against bcrypt hashes: each right password is computed once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import bcrypt

from exporter.config import Secret

_MOST_FAILURES = 1024
_READ_BYTES = 72  # of a password by bcrypt; other tools cut longer ones, the library refuses them
_MOST_PASSWORD_BYTES = 1024
_DEFAULT_COST = 10

Login = tuple[bytes, bytes]


def read_login(authorization: str) -> Login | None:
    """(user, password) of an Authorization header; None where it is missing, of another scheme or unreadable."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and len(password) <= _MOST_PASSWORD_BYTES else None


class Passwords:
    """The users of one web config. Safe between threads.

    What was verified is kept as a keyed hash (HMAC-SHA-256 under a key of this process) of user, bcrypt hash and
    password, never as the password: the last right one of each user, and up to 1024 wrong ones.
    """

    def __init__(self, users: Mapping[str, Secret]) -> None:
        self._hashes = {user.encode(): secret.reveal().encode("ascii") for user, secret in users.items()}
        self._nobody = _hash_of_nobody(self._hashes.values())
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._right: dict[bytes, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hashes)

    def known(self, login: Login) -> bool | None:
        """Whether a login is right, where that has been found out before; else None. Costs no bcrypt."""
        digest = self._digest(login)
        with self._lock:
            right = self._right.get(login[0])
            wrong = digest in self._wrong
        if right is not None and hmac.compare_digest(right, digest):
            return True
        return False if wrong else None

    def verify(self, login: Login) -> bool:
        """Whether a login is right, by bcrypt; an unknown user takes as long as a known one."""
        known = self.known(login)
        if known is not None:  # by somebody who asked the same a moment ago
            return known
        user, password = login
        matches = bcrypt.checkpw(password[:_READ_BYTES], self._hashes.get(user, self._nobody))
        right = matches and user in self._hashes
        self._keep(user, self._digest(login), right=right)
        return right

    def _keep(self, user: bytes, digest: bytes, *, right: bool) -> None:
        with self._lock:
            if right:
                self._right[user] = digest
                return
            self._wrong[digest] = None
            while len(self._wrong) > _MOST_FAILURES:
                self._wrong.popitem(last=False)

    def _digest(self, login: Login) -> bytes:
        user, password = login
        hashed = self._hashes.get(user, self._nobody)
        parts = b"".join(len(part).to_bytes(8, "big") + part for part in (user, hashed, password))
        return hmac.digest(self._key, parts, hashlib.sha256)


def _hash_of_nobody(hashes: Iterable[bytes]) -> bytes:
    """A hash that no password has, as costly as the costliest of these."""
    return b"$2b$%02d$" % max((int(known[4:6]) for known in hashes), default=_DEFAULT_COST) + b"." * 53
