"""Who is logged in to the page: random tokens in memory, so a restart logs everybody out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

COOKIE: Final = "shoal-operator"
LIFE_SECONDS: Final = 12 * 3600.0
MOST: Final = 64
"""Sessions at once; the oldest ends first."""
GUESSES: Final = 10
"""Wrong passwords in a minute before nobody is listened to."""


class Sessions:
    """The tokens that are good now."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody logged in."""
        self._now = now
        self._good: dict[str, float] = {}
        self._wrong: deque[float] = deque(maxlen=GUESSES)

    def begin(self) -> str:
        """Log somebody in; give the token for their cookie."""
        token = secrets.token_urlsafe(32)
        while len(self._good) >= MOST:
            del self._good[min(self._good, key=self._good.__getitem__)]
        self._good[_digest(token)] = self._now() + LIFE_SECONDS
        return token

    def is_good(self, token: str) -> bool:
        """Tell whether a cookie's token is of somebody who is logged in."""
        return self._good.get(_digest(token), 0.0) > self._now()

    def end(self, token: str) -> None:
        """Log out."""
        self._good.pop(_digest(token), None)

    def count_wrong(self) -> None:
        """Note a wrong password."""
        self._wrong.append(self._now())

    @property
    def is_closed(self) -> bool:
        """Whether there were too many wrong passwords in the last minute to take another."""
        return len(self._wrong) == GUESSES and self._now() - self._wrong[0] < 60


def form_token(session: str) -> str:
    """Give what a form of this session must carry, so that no other site can send it for the operator."""
    return hmac.new(session.encode(), b"shoal operator form", hashlib.sha256).hexdigest()


def is_form_token(session: str, found: str) -> bool:
    """Tell whether a form is this session's own."""
    return hmac.compare_digest(form_token(session).encode(), found.encode())


def _digest(token: str) -> str:
    """Look tokens up by their hash, so that timing tells nothing about them."""
    return hashlib.sha256(token.encode()).hexdigest()
