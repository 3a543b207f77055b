"""`shoal open`: the page in the person's browser, by a link that works once."""

from __future__ import annotations

import html
import json
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer
from platformdirs import user_data_path
from rich.console import Console

from client.files import write_whole
from client.terminal import pausing
from client.web.sessions import ADDRESS, FOLDER, LOOPBACK, PORT, Sessions

ANSWER_SECONDS: Final = 5.0
REDIRECT: Final = '<!doctype html><meta http-equiv="refresh" content="0;url={}"><title>Shoal</title>'


def open_page(
    *,
    browser: Annotated[bool, typer.Option(help="Open it, or only print the link.")] = True,
    port: Annotated[int, typer.Option(help="Preferred port, where no daemon serves the page yet.")] = PORT,
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or hub name of a Stable Diffusion model, else SHOAL_MODEL.")
    ] = None,
    home: Annotated[
        Path,
        typer.Option(
            envvar="SHOAL_HOME", help="Where concepts are kept.", default_factory=lambda: user_data_path("shoal")
        ),
    ],
) -> None:
    """Open the page: what Shoal does, your concepts, drawing, choosing, privacy, settings."""
    console = Console()
    address = running_page(home)
    if address is not None:
        show(home, address, console, browser=browser)
        return
    from client.web.serving import serving  # noqa: PLC0415 - the web libraries, which no other command needs

    with serving(home, model, port) as address, pausing() as stop:
        show(home, address, console, browser=browser)
        console.print("no daemon runs, so the page is served from here: Ctrl-C closes it")
        while not stop():
            time.sleep(0.2)


def show(home: Path, address: str, console: Console, *, browser: bool) -> None:
    """Print a link that works once, and open it where there is a browser.

    The browser is given a file that leads to the link: the command line of a program can be read by everybody on the
    machine, a file in the state folder cannot.
    """
    link = f"{address}/enter#{Sessions(home, time.time).new_link()}"
    console.print(link, markup=False, highlight=False, soft_wrap=True)
    if browser:
        file = home.absolute() / FOLDER / "open.html"
        write_whole(file, REDIRECT.format(html.escape(link)).encode(), replace=True, mode=0o600)
        if not webbrowser.open(file.as_uri()):
            console.print("there is no browser here: open the link in one on this machine, within five minutes")


def running_page(home: Path) -> str | None:
    """Return the address of the page that is served for this state folder; None if none is."""
    try:
        port = int(json.loads((home / FOLDER / ADDRESS).read_bytes())["port"])
        address = f"http://{LOOPBACK}:{port}{Sessions(home, time.time).place()}"
        with urllib.request.urlopen(f"{address}/enter", timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - loopback
            return address if answer.status == 200 else None
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return None
