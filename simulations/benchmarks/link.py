"""What one SuperLink bears: connected devices, looks a second, and a round while the others look on.

A whole server as `shoal-server serve` runs it, on this machine, and the devices on it too: the numbers are for both
together. The devices connect through the proxy, over TLS and with keys of their own, as those outside do; it is told
that they all sit behind one address.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.membership import public_pem
from server.bundle import HASH_FILE
from server.config import read_config
from server.control import control
from server.keys import signing_key
from server.registry import Registry
from server.state import outer
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
FULL: Final = Form(devices=1000, people=128, seconds=30.0, interval=30.0)
PROCESSES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured."""

    fast: dict[str, float]
    """While all looked as fast as they could."""
    calm: dict[str, float]
    """While a run was held."""
    round: float
    """Seconds from the announcement of the round to its sum."""
    run: float
    """Seconds from the start of the run to its end: to see who is ready, the round, to tell everybody the prior."""


def run(*, full: bool, seed: int) -> Report:
    """Measure, once with all devices looking as fast as they can, once during a round."""
    form = FULL if full else SMALL
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), form, seed)
    look = found.fast["superlink cpu s"] / max(found.fast["looks"], 1.0)
    answers = found.calm["superlink cpu s"] - look * found.calm["looks"]
    phases = {"as fast as they can": found.fast, f"a round of {form.people}": found.calm}
    rows: list[dict[str, Value]] = [
        {
            "devices": form.devices,
            "while": what,
            **{name: one[name] for name in one if name not in {"seconds", "looks"}},
        }
        for what, one in phases.items()
    ]
    return Report(
        name="link",
        seed=seed,
        full=full,
        rows=rows,
        ratios={
            "seconds of the round, keys to sum": found.round,
            "seconds of the run, from its start to its end": found.run,
            "ms of a core that the SuperLink takes for a look": 1000 * look,
            "ms of a core that it takes for a question and its answer, signs of life included": 1000
            * answers
            / max(found.calm["answers"], 1),
        },
        bars=[Bar("devices connected to one SuperLink", form.devices, 1000 if full else 60, "at least")],
        notes=[
            f"in the round each device looks every {form.interval:g} s; devices and server share this machine",
            "looks a second: of all devices together, looks that found a message not counted; milliseconds for one",
            "cpu s: seconds of a core, which do not depend on what else this machine does",
        ],
    )


def measure(folder: Path, form: Form, seed: int) -> Found:
    """Start everything, look, hold a round; give what was found."""
    settings = {"rounds__poll_seconds": 5.0, "deadline_seconds": 180.0, "wave_size": str(form.people)}
    with Harbour(folder, from_one_address=10_000, **settings) as harbour:
        config = read_config(harbour.state)
        devices = admit(harbour, folder, form, np.random.default_rng(seed))
        authority = outer(config).authority
        bundle = (harbour.state / HASH_FILE).read_text(encoding="ascii").strip()
        with Fleet(folder, config.federation.address, authority.read_bytes() if authority else b"", bundle) as fleet:
            fleet.start(devices, PROCESSES)
            fleet.look_every(0.0)
            before = used(harbour)
            time.sleep(form.seconds)
            fast = {**summed(fleet.look_every(form.interval)), **since(harbour, before)}
            began, before = time.monotonic(), used(harbour)
            harbour.command("run-round")
            whole = time.monotonic() - began
            calm = {**summed(fleet.end()), **since(harbour, before)}
        with Registry(config.run_settings().registry_url) as registry:
            [entry] = [one for one in registry.rounds() if one.state == "done"]
    return Found(fast=fast, calm=calm, round=(entry.ended - entry.started).total_seconds(), run=whole)


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


def summed(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Add the processes up; of their medians and tails the worst."""
    seconds = max(one["seconds"] for one in found)
    looks = sum(one["looks"] for one in found)
    return {
        "seconds": seconds,
        "looks": looks,
        "looks a second": looks / seconds,
        "answers": sum(one["answered"] for one in found),
        **{f"{name} ms": max(one[name] for one in found) for name in ("median", "p95", "p99")},
        "devices cpu s": sum(one["cpu"] for one in found),
    }


def since(harbour: Harbour, before: float) -> dict[str, float]:
    """Give what the SuperLink used since, and its memory now, MB."""
    text = Path(f"/proc/{harbour.part('superlink')}/status").read_text(encoding="ascii")
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return {"superlink cpu s": used(harbour) - before, "superlink MB": int(line.split()[1]) / 1024}


def used(harbour: Harbour) -> float:
    """Give the seconds of a core that the SuperLink used so far (proc(5): utime and stime, after the name)."""
    text = Path(f"/proc/{harbour.part('superlink')}/stat").read_text(encoding="ascii")
    return sum(int(ticks) for ticks in text.rpartition(")")[2].split()[11:13]) / os.sysconf("SC_CLK_TCK")
