"""Serves the page on loopback from a thread of whichever process: the daemon's, or `shoal open`'s own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from client.files import write_whole
from client.web.app import create_app
from client.web.house import House
from client.web.sessions import ADDRESS, FOLDER, LOOPBACK, PORT, Sessions
from client.web.studio import Studio
from common.errors import ConfigError

STARTING_SECONDS: Final = 20.0


class _Server(uvicorn.Server):
    """Is told of its end, for which uvicorn's own looks ten times a second: a page at rest costs nothing.

    Without those looks it knows no time of day: it is to be configured with `date_header=False`.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Wait until `end`."""
        self._loop = asyncio.get_running_loop()
        if not await self.on_tick(0):  # unless it was told before it got here
            await self._ended.wait()

    def end(self) -> None:
        """Have it end, from whichever thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)


@contextmanager
def serving(home: Path, model: str | None = None, port: int = PORT) -> Iterator[str]:
    """Serve the page while the body runs; give its address, as `http://127.0.0.1:8719/4f0c...`.

    No model library is imported here; what draws is a child process that ends afterwards.

    Args:
        home: the state folder; the address is left in it for `shoal open`.
        model: which backbone draws; None for the default one.
        port: the preferred one; 0 for any.

    Raises:
        ConfigError: nothing can be served on loopback.
    """
    listener = _listener(port)
    own = listener.getsockname()[1]
    studio = Studio(model, home)
    sessions = Sessions(home, time.time)
    house = House(home=home, studio=studio, sessions=sessions, port=own, place=sessions.place(), model=model)
    server = _Server(
        uvicorn.Config(
            create_app(house), log_config=None, access_log=False, server_header=False, date_header=False,
            lifespan="off", ws="none",
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, args=([listener],), name="page", daemon=True)
    thread.start()
    end = time.monotonic() + STARTING_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    address = f"http://{LOOPBACK}:{own}{house.place}"
    file = home / FOLDER / ADDRESS
    write_whole(file, json.dumps({"port": own, "process": os.getpid()}).encode(), replace=True, mode=0o600)
    try:
        yield address
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(file.read_bytes())["process"] == os.getpid():
                file.unlink()
        server.end()
        studio.close()
        house.lessons.close()
        thread.join(STARTING_SECONDS)
        listener.close()


def _listener(port: int) -> socket.socket:
    """Bind loopback alone: no other machine reaches it whatever the firewall says."""
    for wanted in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would let others take the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, wanted))
        except OSError:
            listener.close()
            continue
        return listener
    raise ConfigError(f"nothing can be served on {LOOPBACK}: is the loopback network on?")
