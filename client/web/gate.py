"""Lets in nobody but the person's own browser: the first thing that every request meets.

Another website in the same browser can send requests to loopback. What stops it, in this order: the host must be
loopback by name and port (DNS rebinding comes with the attacker's name), the path must begin with this page's own
place, the browser's own word on where a request comes from (Fetch Metadata, W3C; `Origin`, RFC 6454) must be this page,
and the cookie is HttpOnly and SameSite=Strict. The place is no key, but cookies know no ports (RFC 6265, 8.5): without
it a browser would send ours to whatever another account of this machine serves at 127.0.0.1.
What leaves tells the browser to run no script and load nothing but our own files (Content Security Policy Level 3).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from client.web.sessions import Sessions

SAFE: Final = ("GET", "HEAD")
OPEN: Final = ("/enter", "/api/v1/session")
"""What a browser without a cookie may ask for: how to get one. And /static/, which is the same for everybody."""
LARGEST_BODY: Final = 64 * 1024
"""Bytes; a prompt is the largest thing that is ever sent here."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions, port: int, place: str) -> None:
        """Guard `app`, which is served on that port of 127.0.0.1 under that place, as `/4f0c...`."""
        self._app = app
        self._sessions = sessions
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._place = place
        self._cookie = cookie_name(port)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web socket is served
            return
        if scope["path"] == self._place:
            await _answer(send, 303, "the page is one stroke further", location=f"{self._place}/")
            return
        refusal = self._refusal(scope)
        if refusal is not None and refusal[0] == 401 and "text/html" in Headers(scope=scope).get("accept", ""):
            await _answer(send, 303, "open this page with `shoal open`", location=f"{self._place}/enter")
            return
        if refusal is not None:
            await _answer(send, *refusal)
            return
        await self._app({**scope, "root_path": self._place}, receive, _guarded(scope["path"], send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), self._path(scope)
        if headers.get("host", "") not in self._hosts:
            return 421, f"this page is at {self._hosts[0]}: open it with `shoal open`"
        if path is None:
            return 404, "there is nothing here: open the page with `shoal open`"
        return _misuse(headers, path, safe=scope["method"] in SAFE) or self._stranger(headers, path)

    def _stranger(self, headers: Headers, path: str) -> tuple[int, str] | None:
        if path in OPEN or path.startswith("/static/"):
            return None
        if self._sessions.knows(cookie_parser(headers.get("cookie", "")).get(self._cookie, "")):
            return None
        return 401, "this browser has no key to this page: open it with `shoal open`"

    def _path(self, scope: Scope) -> str | None:
        """Return the path below the page's place; None where it is another."""
        path: str = scope["path"]
        return path.removeprefix(self._place) if path.startswith(f"{self._place}/") else None


def cookie_name(port: int) -> str:
    """Return the cookie's name; cookies know no ports, so that two pages on one machine need two names."""
    return f"shoal-{port}"


def _misuse(headers: Headers, path: str, *, safe: bool) -> tuple[int, str] | None:
    if not _from_here(headers, path, safe=safe):
        return 403, "another website may not use this page: open it with `shoal open`"
    if not safe and not _small(headers):
        return 413, f"a body of up to {LARGEST_BODY} bytes with its length is read: send less"
    return None


def _from_here(headers: Headers, path: str, *, safe: bool) -> bool:
    """Return whether a request comes from this page, from the address bar, or is the way in."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin != f"http://{headers['host']}":
        return False
    if not safe:
        return origin is not None or site == "same-origin"
    if site in (None, "same-origin", "none"):
        return True
    # A link in a mail, a file or a terminal: a browser shows the page by it, and no other page can read that.
    shown = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return path == "/enter" and shown


def _small(headers: Headers) -> bool:
    length = headers.get("content-length", "0")
    return "transfer-encoding" not in headers and length.isdecimal() and int(length) <= LARGEST_BODY


def _guarded(path: str, send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("cache-control", "no-cache" if "/static/" in path else "no-store")
        await send(message)

    return guarded


async def _answer(send: Send, status: int, told: str, location: str = "") -> None:
    """Answer as the API does; a person who sees this in a browser still reads what to do."""
    body = json.dumps({"detail": told}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if location:
        headers.append((b"location", location.encode()))
    start = {"type": "http.response.start", "status": status, "headers": headers}
    guarded = _guarded("", send)
    await guarded(start)
    await guarded({"type": "http.response.body", "body": body})
