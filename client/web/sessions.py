"""Who may look at the page: one-time links, and the browsers that came by one.

A link's code travels in the fragment of an address, which browsers never send; the page's script posts it once and gets
a cookie for it. Codes and cookies lie here as SHA-256 only, a file each, so that whoever reads a backup of the
state folder cannot come in by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.files import write_whole

FOLDER: Final = "page"
"""Of the state folder: what the page keeps."""
ADDRESS: Final = "address.json"
"""In it: the port of the page that is served now, and its process."""
LOOPBACK: Final = "127.0.0.1"
PORT: Final = 8719
"""Where a bookmark finds the page; another one where that is taken."""
LINK_SECONDS: Final = 300.0
"""A link is for now: printed, clicked, used up."""
SESSION_SECONDS: Final = 30 * 24 * 3600.0
"""A browser is asked for a new link once a month."""
LONGEST: Final = 128
"""Characters of a code or cookie that are looked at; ours have 43."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The links and browsers of one state folder; safe to use from several processes at once."""

    home: Path
    clock: Callable[[], float]
    """Seconds since 1970."""

    def place(self) -> str:
        """Return the path under which the page is served, the same at every start, so that a bookmark stays good."""
        file = self.home / FOLDER / "place"
        with contextlib.suppress(FileExistsError):
            write_whole(file, secrets.token_hex(8).encode("ascii"), mode=0o600)
        return f"/{file.read_text(encoding='ascii')}"

    def new_link(self) -> str:
        """Return the code of a new link."""
        return self._issue("links", LINK_SECONDS)

    def redeem(self, code: str) -> str | None:
        """Return a new cookie for a link's code, once; None for a code that is unknown, used or too old."""
        file = self._file("links", code)
        fresh = self._fresh(file, LINK_SECONDS)
        try:
            file.unlink()  # of two who come at once, one finds it gone
        except OSError:
            return None
        return self._issue("browsers", SESSION_SECONDS) if fresh else None

    def knows(self, cookie: str) -> bool:
        """Return whether a cookie came from here, and lately."""
        return self._fresh(self._file("browsers", cookie), SESSION_SECONDS)

    def end(self, cookie: str) -> None:
        """Let a browser in no more."""
        self._file("browsers", cookie).unlink(missing_ok=True)

    def _issue(self, sort: str, seconds: float) -> str:
        folder = self.home / FOLDER / sort
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not self._fresh(old, seconds):
                old.unlink(missing_ok=True)
        secret = secrets.token_urlsafe(32)
        self._file(sort, secret).write_text(f"{self.clock():.3f}", encoding="ascii")
        return secret

    def _file(self, sort: str, secret: str) -> Path:
        return self.home / FOLDER / sort / hashlib.sha256(secret[:LONGEST].encode("utf-8", "replace")).hexdigest()

    def _fresh(self, file: Path, seconds: float) -> bool:
        """Return whether it was issued within so many seconds; what is from the future was not."""
        try:
            return 0 <= self.clock() - float(file.read_text(encoding="ascii")) < seconds
        except (OSError, ValueError):
            return False
