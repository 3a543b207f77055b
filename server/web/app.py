"""The page's routes: an ASGI application on loopback, where everything but the log-in and /metrics needs a session.

    GET  /login  POST /login  POST /logout      a password set by `shoal-server password`
    GET  /                                      rounds, participation, dropouts, ε, what is withheld
    GET  /rounds                                all rounds
    POST /rounds/{id}/accept | reject           a withheld round
    GET  /priors/{kind}/{version}               a version: spectrum, cohorts, what changed
    POST /priors/{kind}/rollback                to an earlier version
    GET  /metrics                               for Prometheus; counts, nothing about anybody

Forms carry a token of their session, cookies are for this site alone, and no page loads anything from elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from common.errors import ShoalError
from server.desk import desk, now, one_kind
from server.door import STATE
from server.metrics import CONTENT_TYPE, exposition
from server.web.password import has_password, is_password
from server.web.sessions import COOKIE, LIFE_SECONDS, Sessions, form_token, is_form_token
from server.web.views import overview, version_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Page = Callable[[Request], Awaitable[Response]]

HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
"""Names under which the page answers: any other is another site's that points here (DNS rebinding)."""
LONGEST_FORM: Final = 4096
_HERE: Final = Path(__file__).parent
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def create(state: Path | None = None) -> Starlette:
    """Make the application for a state folder, or the one that the environment names."""
    folder = state or Path(os.environ[STATE])
    house = _House(folder)
    routes = [
        Route("/login", house.ask),
        Route("/login", house.enter, methods=["POST"]),
        Route("/logout", house.leave, methods=["POST"]),
        Route("/metrics", house.metrics),
        Route("/", house.shown(house.front)),
        Route("/rounds", house.shown(house.rounds)),
        Route("/rounds/{round_id}/{verdict}", house.shown(house.judge), methods=["POST"]),
        Route("/priors/{kind}/rollback", house.shown(house.roll_back), methods=["POST"]),
        Route("/priors/{kind}/{version:int}", house.shown(house.version)),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]
    app = Starlette(routes=routes, exception_handlers={ShoalError: house.problem, 404: house.problem})
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))
    return app


class _House:
    """Everything behind the routes."""

    def __init__(self, state: Path) -> None:
        self._state, self._sessions = state, Sessions()
        self._templates = Jinja2Templates(directory=_HERE / "templates")

    def shown(self, page: Page) -> Page:
        """Let only those in who are logged in, and only their own forms."""

        async def guarded(request: Request) -> Response:
            token = request.cookies.get(COOKIE, "")
            if not self._sessions.is_good(token):
                return RedirectResponse("/login", status_code=303)
            if request.method == "POST" and not is_form_token(token, (await _form(request)).get("token", "")):
                return self._render(request, "problem.html", 403, message="this form is old: go back and load it again")
            return await page(request)

        return guarded

    async def ask(self, request: Request) -> Response:
        """Show the log-in."""
        return self._render(request, "login.html", ready=has_password(self._state))

    async def enter(self, request: Request) -> Response:
        """Log in."""
        password = (await _form(request)).get("password", "")
        if self._sessions.is_closed:
            return self._render(request, "login.html", 429, ready=True, problem="Too many wrong ones: wait a minute.")
        if not await run_in_threadpool(is_password, self._state, password):
            self._sessions.count_wrong()
            ready = has_password(self._state)
            return self._render(request, "login.html", 403, ready=ready, problem="That is not the password.")
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, self._sessions.begin(), max_age=int(LIFE_SECONDS), httponly=True, samesite="strict")
        return answer

    async def leave(self, request: Request) -> Response:
        """Log out."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    async def metrics(self, _: Request) -> Response:
        """Give the figures for Prometheus."""
        return Response(await run_in_threadpool(exposition, self._state), media_type=CONTENT_TYPE)

    async def front(self, request: Request) -> Response:
        """Show how it goes."""

        def read() -> dict[str, Any]:
            with desk(self._state) as opened:
                return overview(opened)

        return self._render(request, "front.html", **await run_in_threadpool(read))

    async def rounds(self, request: Request) -> Response:
        """List all rounds."""

        def read() -> list[Any]:
            with desk(self._state) as opened:
                return list(reversed(opened.registry.rounds(backbone=opened.settings.backbone)))

        return self._render(request, "rounds.html", rounds=await run_in_threadpool(read))

    async def version(self, request: Request) -> Response:
        """Show one version."""

        def read() -> dict[str, Any]:
            with desk(self._state) as opened:
                kind = one_kind(request.path_params["kind"])
                return version_page(opened, opened.version(kind, request.path_params["version"]))

        return self._render(request, "version.html", **await run_in_threadpool(read))

    async def judge(self, request: Request) -> Response:
        """Accept or reject a withheld round."""
        name, verdict = request.path_params["round_id"], request.path_params["verdict"]

        def act() -> None:
            with desk(self._state) as opened:
                if verdict == "accept":
                    opened.accept(name)
                elif verdict == "reject":
                    opened.reject(name, "the operator said so")

        await run_in_threadpool(act)
        return RedirectResponse("/", status_code=303)

    async def roll_back(self, request: Request) -> Response:
        """Publish an earlier version's numbers again."""
        kind, number = one_kind(request.path_params["kind"]), (await _form(request)).get("version", "")

        def act() -> int:
            with desk(self._state) as opened:
                return opened.publisher().roll_back(kind, int(number) if number.isdecimal() else 0, now()).version

        return RedirectResponse(f"/priors/{kind}/{await run_in_threadpool(act)}", status_code=303)

    async def problem(self, request: Request, error: Exception) -> Response:
        """Say what went wrong, to whoever is logged in."""
        if not self._sessions.is_good(request.cookies.get(COOKIE, "")):
            return RedirectResponse("/login", status_code=303)
        known = isinstance(error, ShoalError)
        message = str(error) if known else "there is no such page"
        return self._render(request, "problem.html", 409 if known else 404, message=message)

    def _render(self, request: Request, template: str, code: int = 200, **values: object) -> Response:
        token = request.cookies.get(COOKIE, "")
        known = self._sessions.is_good(token)
        context = {"token": form_token(token) if known else "", "known": known, "path": request.url.path, **values}
        return self._templates.TemplateResponse(request, template, context, status_code=code, headers=_HEADERS)


async def _form(request: Request) -> dict[str, str]:
    """Read a short form, once; a longer one has no fields."""
    known: dict[str, str] | None = getattr(request.state, "form", None)
    if known is not None:
        return known
    request.state.form = {}
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    request.state.form = {name: values[0] for name, values in found.items()}
    return dict(request.state.form)
