"""A person before the page: the real program, a real Chromium, nothing pretended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # it runs as root in CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # what DNS rebinding does
)
PHONE: Final = {"width": 380, "height": 780}
DESK: Final = {"width": 1080, "height": 760}
QUIET: Final = {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "OMP_WAIT_POLICY": "PASSIVE"}


def program() -> str | None:
    """Return where a Chromium is; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium without a window.

    Raises:
        FileNotFoundError: there is none.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only who looks at pages needs it

    found = program()
    if found is None:
        raise FileNotFoundError(f"no browser ({', '.join(NAMES)}): on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


def shoal(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `shoal` to its end."""
    words = [str(argument) for argument in arguments]
    return subprocess.run(command(*words), env=environment(home), capture_output=True, text=True, check=True)  # noqa: S603 - ours


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Run `shoal open` while the body runs; give a link that works once. Ctrl-C ends it."""
    with _running(home, "open", "--no-browser", "--port", "0") as process:
        told = process.stdout.readline().strip() if process.stdout else ""
        if not told.startswith("http://127.0.0.1:"):
            raise RuntimeError(f"`shoal open` printed no link but {told!r}: run it by hand to see why")
        yield told


@contextmanager
def daemon(home: Path, *arguments: object) -> Iterator[str]:
    """Run `shoal daemon` while the body runs; give a link to its page that works once. Ctrl-C ends it."""
    with _running(home, "daemon", *(str(argument) for argument in arguments)) as process:
        for line in process.stdout or ():
            if line.startswith("running on"):
                break
        yield shoal(home, "open", "--no-browser").stdout.strip()


@contextmanager
def _running(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(*words), env=environment(home), stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def command(*words: str) -> list[str]:
    """Return the words that start `shoal`, this very one."""
    return [sys.executable, "-P", "-m", "client", *words]


def environment(home: Path) -> dict[str, str]:
    """Return what `shoal` is to see: a state folder, a key file beside it, and no hub."""
    key = {"SHOAL_KEY_FILE": os.environ.get("SHOAL_KEY_FILE", str(home.with_name(f"{home.name}.key")))}
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    return os.environ | QUIET | key | path | {"SHOAL_HOME": str(home)}
