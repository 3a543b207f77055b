"""What one SuperLink bears: connected devices, looks a second, and a round while the others look on.

A whole server as `shoal-server serve` runs it, on this machine, and the devices on it too: the numbers are for both
together. The devices connect to the SuperLink itself, over TLS and with keys of their own; the proxy in front would
count them all as one household.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.membership import public_pem
from server.config import read_config
from server.control import control
from server.keys import signing_key
from server.registry import Registry
from server.serve import HASH_FILE
from server.state import LOOPBACK, inner
from simulations.benchmarks.framework import Bar, Report
from simulations.fleet import Fleet
from simulations.harbour import Harbour
from simulations.village import settle, teach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulations.benchmarks.framework import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How much is measured."""

    devices: int
    people: int
    """Of those, who have something to give."""
    seconds: float
    """Of looking as fast as they can."""
    interval: float
    """Seconds between two looks of one device, while a round is held."""


SMALL: Final = Form(devices=60, people=12, seconds=5.0, interval=3.0)
FULL: Final = Form(devices=1000, people=128, seconds=30.0, interval=20.0)
PROCESSES: Final = 3


def run(*, full: bool, seed: int) -> Report:
    """Measure, once with all devices looking as fast as they can, once during a round."""
    form = FULL if full else SMALL
    with tempfile.TemporaryDirectory() as folder:
        fast, calm, memory, held, whole = measure(Path(folder), form, seed)
    rows: list[dict[str, Value]] = [
        {"devices": form.devices, "while": "as fast as they can", **fast, "superlink MB": memory[0]},
        {"devices": form.devices, "while": f"a round of {form.people}", **calm, "superlink MB": memory[1]},
    ]
    return Report(
        name="link",
        seed=seed,
        full=full,
        rows=rows,
        ratios={
            "seconds of the round, keys to sum": held,
            "seconds of the run, from its start to its end": whole,
            "MB of the SuperLink for each device": memory[0] / form.devices,
        },
        bars=[Bar("devices connected to one SuperLink", form.devices, 1000 if full else 60, "at least")],
        notes=[
            f"in the round each device looks every {form.interval:g} s; devices and server share this machine",
            "looks a second: of all devices together, looks that found a message not counted; milliseconds for one",
        ],
    )


def measure(
    folder: Path, form: Form, seed: int
) -> tuple[dict[str, Value], dict[str, Value], tuple[float, float], float, float]:
    """Start everything, look, hold a round; give what was found."""
    settings = {"rounds__poll_seconds": 5.0, "deadline_seconds": 180.0, "wave_size": str(form.people)}
    with Harbour(folder, **settings) as harbour:
        config = read_config(harbour.state)
        devices = admit(harbour, folder, form, np.random.default_rng(seed))
        authority = inner(config).authority
        bundle = (harbour.state / HASH_FILE).read_text(encoding="ascii").strip()
        address = f"{LOOPBACK}:{config.inside.superlink}"
        with Fleet(folder, address, authority.read_bytes() if authority else b"", bundle) as fleet:
            fleet.start(devices, PROCESSES)
            fleet.look_every(0.0)
            time.sleep(form.seconds)
            fast, first = summed(fleet.look_every(form.interval)), resident(harbour.part("superlink"))
            began = time.monotonic()
            harbour.command("run-round")
            whole, second = time.monotonic() - began, resident(harbour.part("superlink"))
            calm = summed(fleet.end())
        with Registry(config.run_settings().registry_url) as registry:
            [entry] = [one for one in registry.rounds() if one.state == "done"]
    return fast, calm, (first, second), (entry.ended - entry.started).total_seconds(), whole


def admit(harbour: Harbour, folder: Path, form: Form, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Let all devices in; those with something to give are whole vaults, enrolled with the operator's own key."""
    devices, operator = [], signing_key(harbour.state)
    with control(read_config(harbour.state)) as link:
        for number in range(form.devices):
            key = ec.generate_private_key(ec.SECP384R1())
            home = ""
            if number < form.people:
                home = str(settle(folder / "people" / str(number), operator))
                teach(Path(home), rng)
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
            devices.append({"key": text, "number": link.register(public_pem(key)), "folder": home})
    return devices


def summed(found: Sequence[dict[str, float]]) -> dict[str, Value]:
    """Add the processes up; of their medians and tails the worst."""
    seconds = max(one["seconds"] for one in found)
    return {
        "looks a second": sum(one["looks"] for one in found) / seconds,
        "answers": sum(int(one["answered"]) for one in found),
        **{f"{name} ms": max(one[name] for one in found) for name in ("median", "p95", "p99")},
    }


def resident(process: int | None) -> float:
    """Give the memory of a process, MB (proc(5))."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
