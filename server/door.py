"""The enrolment endpoint, behind the proxy: the one thing besides Flower's fleet interface that is seen from outside.

    GET  /v1/shoal/terms    the operator's signed terms
    POST /v1/shoal/enrol    an application (`common.enrolment`) in, an admission out; 401, 403, 410, 429 otherwise

It says nothing about why a request is refused but the status, and its log says nothing about who asked.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from common.enrolment import MAXIMUM_APPLICATION, read_application, to_json
from common.errors import ConfigError, ProtocolError
from server.admission import RefusedError, admit, terms_of
from server.config import read_config
from server.keys import signing_key
from server.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from starlette.requests import Request

    from server.config import Config

STATE: Final = "SHOAL_SERVER_STATE"
"""Environment variable: the state folder."""
FAILURES: Final = 30
"""Wrong codes in a minute, all devices together, before nobody is listened to: 80 bits stand no guessing anyway, and
the proxy counts for each address by itself."""
_JSON: Final = "application/json"


class Failures:
    """Counts what failed within the last minute."""

    def __init__(self, most: int = FAILURES, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._most, self._now, self._at = most, now, deque[float](maxlen=most)

    def count(self) -> None:
        """Note one."""
        self._at.append(self._now())

    @property
    def too_many(self) -> bool:
        """Whether there were so many that nobody is listened to."""
        return len(self._at) == self._most and self._now() - self._at[0] < 60


def create() -> Starlette:
    """Make the application for the state folder that the environment names: uvicorn's factory."""
    config = read_config(Path(os.environ[STATE]))
    return application(config, signing_key(config.state), Failures())


def application(config: Config, operator: Ed25519PrivateKey, failures: Failures) -> Starlette:
    """Make the application."""
    signed = terms_of(config, operator)

    async def terms(_request: Request) -> Response:
        return Response(signed, media_type=_JSON, headers={"cache-control": "no-store"})

    async def enrol(request: Request) -> Response:
        if failures.too_many:
            return Response(status_code=429)
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > MAXIMUM_APPLICATION:
                return Response(status_code=413)
        status, content = await run_in_threadpool(_enrol, config, operator, data)
        if status == 401:
            failures.count()
        return Response(content, status, media_type=_JSON)

    return Starlette(
        routes=[Route("/v1/shoal/terms", terms, methods=["GET"]), Route("/v1/shoal/enrol", enrol, methods=["POST"])]
    )


def _enrol(config: Config, operator: Ed25519PrivateKey, data: bytes) -> tuple[int, bytes]:
    try:
        asked = read_application(data)
        with Roster(config.state) as roster:
            return 200, to_json(admit(config, roster, operator, asked))
    except RefusedError as error:
        return error.status, b""
    except ProtocolError:
        return 400, b""
    except ConfigError:  # the SuperLink is not up
        return 503, b""
