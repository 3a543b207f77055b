"""The page as one ASGI application: gate, views, API, files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from client.version import version
from client.web import api, views
from client.web.gate import Gate
from common.errors import ShoalError

if TYPE_CHECKING:
    from client.web.house import House

STATIC: Final = Path(__file__).parent / "static"


def create_app(house: House) -> FastAPI:
    """Make the application; it answers only to the person's own browser, see `client.web.gate`."""
    app = FastAPI(
        title="Shoal",
        version=version(),
        description="What the page's buttons call. Every request needs the cookie that a link of `shoal open` gives.",
        openapi_url=None,  # it is behind the gate as everything is
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.house = house
    app.include_router(api.router)
    app.include_router(views.router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(ShoalError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Gate, sessions=house.sessions, port=house.port, place=house.place)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Say what was foreseen as it says itself."""
    if request.url.path.startswith(f"{request.app.state.house.place}/api/"):
        return JSONResponse({"detail": str(error)}, status_code=400)
    return views.problem(request, str(error))


async def _invalid(_request: Request, error: Exception) -> Response:
    """Say which field is wrong, without repeating what stood in it."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in found)
    return JSONResponse({"detail": f"{told}: mend it and try again"}, status_code=422)
