"""A whole server on loopback, as an operator starts it, for tests and benchmarks: real processes, TLS and all.

with Harbour(folder, epsilon=1.0) as harbour:
    harbour.enrol(people[0])         # as `shoal join` does
    harbour.command("run-round")     # as an operator would
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from client.join import join
from common.errors import ShoalError
from server.config import FILE, Federation, Inside, read_config
from server.keys import signing_key
from server.service.supervisor import PARTS_FILE
from server.state import LOOPBACK, Beginning, prepare
from simulations.vaults import virtual_vault
from simulations.village import BACKBONE, public_basis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

START_SECONDS: Final = 300.0
"""For everything to be up, on a busy machine."""
STOP_SECONDS: Final = 90.0
ROOT: Final = Path(__file__).parents[1]


class Harbour:
    """One server, started and stopped."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """Make the state folder `folder / "server"`; nothing runs yet.

        Args:
            folder: of the test.
            settings: for the configuration; keys as in the file with underscores, whichever section they are in.
        """
        self.state, self.log = folder / "server", folder / "serve.log"
        basis = folder / "basis.npy"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(basis, public_basis().astype(np.float32))
        outer, *inside = free_ports(4)
        prepare(
            self.state,
            Beginning(
                federation=Federation(host=LOOPBACK, port=outer, listen=LOOPBACK),
                inside=Inside(superlink=inside[0], enrolment=inside[1], page=inside[2]),
                backbone=BACKBONE,
                public_basis=basis,
            ),
        )
        self.set(hours=[], kinds="object", **settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    @property
    def url(self) -> str:
        """Of the proxy."""
        return f"https://{read_config(self.state).federation.address}"

    @property
    def pid(self) -> int:
        """Of `serve` itself."""
        if self._process is None:
            raise ShoalError("the server was never started: call start first")
        return self._process.pid

    @property
    def said(self) -> str:
        """What `serve` and its parts wrote."""
        logs = [self.log, *sorted((self.state / "log").glob("*.log"))]
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-8000:]}" for path in logs if path.exists()
        )

    def set(self, **settings: object) -> None:
        """Change keys of the configuration, each where it stands first; `rounds__poll_seconds` names a section."""
        path = self.state / FILE
        text = path.read_text(encoding="utf-8")
        for name, value in settings.items():
            section, _, word = name.rpartition("__")
            head, mark, tail = text.partition(f"[{section}]\n") if section else ("", "", text)
            key = word.replace("_", "-")
            found = re.search(rf"^{key} = .*$", tail, flags=re.MULTILINE)
            if found is None:
                raise ShoalError(f"there is no key {name} in the configuration: look at server.template")
            text = f"{head}{mark}{tail[: found.start()]}{key} = {json.dumps(value)}{tail[found.end() :]}"
        path.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start `serve` and wait until all parts are up."""
        (self.state / PARTS_FILE).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                [sys.executable, "-m", "server", "serve", str(self.state)], env=surroundings(), stdout=log, stderr=log
            )
        self.wait((self.state / PARTS_FILE).exists, "the server is up")

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Wait for something to come to pass while the server runs.

        Raises:
            ShoalError: it does not, or the server ended.
        """
        end = time.monotonic() + seconds
        while not condition():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise ShoalError(f"it did not come to pass that {what}: {self.said}")
            time.sleep(0.2)

    def part(self, name: str) -> int | None:
        """Give a part's process; None while it does not run."""
        parts = json.loads((self.state / PARTS_FILE).read_text(encoding="utf-8"))
        found = [part["pid"] for part in parts if part["name"] == name]
        return found[0] if found else None

    def command(self, name: str, *words: object) -> Any:  # noqa: ANN401 - whatever the command tells
        """Run a command of `shoal-server` on this state folder; give what it says as JSON.

        Raises:
            ShoalError: it failed.
        """
        command = [sys.executable, "-m", "server", name, str(self.state), *(str(word) for word in words), "--json"]
        found = subprocess.run(command, env=surroundings(), capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if found.returncode:
            raise ShoalError(f"{name} failed: {found.stderr}")
        return json.loads(found.stdout)

    def code(self, label: str = "") -> str:
        """Give a fresh code."""
        return str(self.command("enroll", "--label", label)[0]["code"])

    def enrol(self, *people: Path) -> None:
        """Let people join, with codes of their own."""
        codes = self.command("enroll", "--count", len(people))
        for folder, code in zip(people, codes, strict=True):
            virtual_vault(folder)
            join(folder, self.url, code["code"], lambda _terms, _operator: True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the server; give its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    @property
    def operator(self) -> bytes:
        """The operator's public key, 32 bytes."""
        return signing_key(self.state).public_key().public_bytes_raw()


def surroundings() -> dict[str, str]:
    """Give the environment of our own programs: this project's source first, quiet, one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}


@contextmanager
def running_devices(folders: Iterable[Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run joined devices in one process (`simulations.nodes`) as long as the body runs; all are online when it begins.

    Args:
        folders: their state folders.
        log: what they say is appended to it.

    Raises:
        ShoalError: they do not come online.
    """
    command = [sys.executable, "-m", "simulations.nodes", *map(str, folders)]
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=surroundings(), stdout=file, stderr=file)  # noqa: S603 - ours
    try:
        end = time.monotonic() + START_SECONDS
        while b"nodes are up" not in log.read_bytes()[before:]:
            if process.poll() is not None or time.monotonic() > end:
                raise ShoalError(f"the devices did not come online: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Find ports of loopback that nobody listens on; all at once, so that they are different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
