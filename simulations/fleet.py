"""Many connected devices in a few processes: what a SuperLink has to bear.

    python -m simulations.fleet SPEC.json     a part of the fleet; SPEC as `Fleet` writes it

A device with a state folder is a whole one (`client.app`); the others are connected, look for messages, and say that
they are not ready. Each looks once in `seconds`, or, at 0, whenever it is its turn. The process reads lines from its
standard input, a number of seconds each, and for each phase that ends by the next line, or by the end of the input,
prints one line of JSON: what was asked, and how long the answers took.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.app import app as client_app
from client.link import linked
from client.node import Node
from common.errors import ShoalError
from common.messages import PriorReply, ReadyReply, to_fields

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

QUANTILES: Final = {"median": 0.5, "p95": 0.95, "p99": 0.99}
START_SECONDS: Final = 600.0


@dataclass(slots=True)
class Phase:
    """What was measured while the devices looked at one interval."""

    began: float = field(default_factory=time.monotonic)
    waits: list[float] = field(default_factory=list)
    """Seconds that each look took which found nothing."""
    answered: int = 0
    worked: float = field(default_factory=time.process_time)
    """Seconds of a core that this process had used when the phase began."""

    def as_json(self) -> str:
        """Sum up."""
        waits = sorted(self.waits) or [0.0]
        seconds = time.monotonic() - self.began
        found = {name: 1000 * waits[int(share * (len(waits) - 1))] for name, share in QUANTILES.items()}
        cores = time.process_time() - self.worked
        told = {"seconds": seconds, "cpu": cores, "looks": len(self.waits), "answered": self.answered}
        return json.dumps({**told, **found})


class Fleet:
    """Some processes full of devices; started, told how often to look, and ended."""

    def __init__(self, folder: Path, address: str, authority: bytes, bundle: str) -> None:
        """Prepare.

        Args:
            folder: for what the processes read.
            address: of the SuperLink, host and port.
            authority: certificate (PEM) that its own descends from.
            bundle: hash of the bundle whose runs are answered.
        """
        self._folder, self._known = folder, {"address": address, "authority": authority.decode(), "bundle": bundle}
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, devices: Sequence[dict[str, Any]], processes: int) -> None:
        """Bring devices online.

        Args:
            devices: of each its `key` (PEM), its `number` at the SuperLink, and `folder`, empty for one that is idle.
            processes: over which they are spread.

        Raises:
            ShoalError: they do not come online.
        """
        for part in range(processes):
            spec = self._folder / f"fleet-{part}.json"
            spec.write_text(json.dumps({**self._known, "devices": devices[part::processes]}), encoding="utf-8")
            command = [sys.executable, "-m", "simulations.fleet", str(spec)]
            log = (self._folder / f"fleet-{part}.log").open("w")
            with log:
                process = subprocess.Popen(  # noqa: S603 - ours
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(os.environ)
                )
            self._processes.append(process)
        for process in self._processes:
            self._line(process)

    def look_every(self, seconds: float) -> list[dict[str, float]]:
        """Begin a phase; give what was measured in the one before, of each process; nothing at the first."""
        for process in self._processes:
            if process.stdin:
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
        return [json.loads(self._line(process)) for process in self._processes]

    def end(self) -> list[dict[str, float]]:
        """Take all devices offline; give what was measured in the last phase."""
        found = []
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
            found.append(json.loads(self._line(process)))
        for process in self._processes:
            process.wait(START_SECONDS)
        self._processes = []
        return found

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End whatever still runs."""
        for process in self._processes:
            process.kill()
            process.wait()

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise ShoalError("a part of the fleet ended: see fleet-*.log beside its specification")
        return line


def idle() -> ClientApp:
    """Give the app of a device that is connected and has nothing to give."""
    app = ClientApp()

    @app.query("ready")
    def ready(message: Message, _context: Context) -> Message:
        return Message(RecordDict({"fields": ConfigRecord(dict(to_fields(ReadyReply(ready=False))))}), reply_to=message)

    @app.query("prior")
    def prior(message: Message, _context: Context) -> Message:
        return Message(
            RecordDict({"fields": ConfigRecord(dict(to_fields(PriorReply(stored=False))))}), reply_to=message
        )

    return app


def main() -> None:
    """Be a part of the fleet."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    nobody, bundles = idle(), frozenset({spec["bundle"]})
    with ExitStack() as links:
        nodes = []
        for device in spec["devices"]:
            key = load_pem_private_key(device["key"].encode(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ShoalError("a device's key is of another kind: make it with client.membership.node_key")
            opened = linked(spec["address"], key, authority=spec["authority"].encode(), node=device["number"])
            link = links.enter_context(opened)
            app = client_app if device["folder"] else nobody
            nodes.append(Node(link, app, {"state-folder": device["folder"]}, bundles))
        print("up", flush=True)
        _look(nodes)


def _look(nodes: Sequence[Node]) -> None:
    """Let each look when its time has come, until the input ends."""
    phase, seconds, due = Phase(), 1e9, [0.0] * len(nodes)
    while (line := _said()) != "":
        if line:
            print(phase.as_json(), flush=True)
            phase, seconds, now = Phase(), float(line), time.monotonic()
            due = [now + seconds * place / len(nodes) for place in range(len(nodes))]
        busy = False
        for place, node in enumerate(nodes):
            if due[place] <= time.monotonic() and not _waiting():
                due[place], busy = _turn(node, phase, due[place], seconds), True
        if not busy:
            time.sleep(0.01)
    print(phase.as_json(), flush=True)


def _turn(node: Node, phase: Phase, due: float, seconds: float) -> float:
    """Let one look; give when it does so again: at once after a message, and never twice for what it missed."""
    began = time.monotonic()
    if node.turn():
        phase.answered += 1
        return due
    phase.waits.append(time.monotonic() - began)
    return max(due, began - seconds) + seconds


def _waiting() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _said() -> str | None:
    """Give a line of the input, nothing where there is none yet, an empty text at its end."""
    return sys.stdin.readline() if _waiting() else None


if __name__ == "__main__":
    main()
