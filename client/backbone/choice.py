"""Which engine learns: the one that a person names, or the fastest that passes the gate on this backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch

from client.backbone.compact import EXACT, CompactEngine, Form
from client.backbone.engine import TorchEngine, fingerprint
from client.backbone.gate import Judged, judged, refusal
from common.errors import ConfigError

Name = Literal["auto", "differences", "quanto", "bfloat16", "float32"]
NAMES: tuple[Name, ...] = get_args(Name)

FASTEST_FIRST: tuple[Name, ...] = ("differences", "quanto")
"""What ``auto`` tries; float32 is what the gate measures by and passes by definition. bfloat16, on candidates as they
are, has to be named: where it passes, on Pictograms, it is no faster than differences (docs/engines.md)."""


def open_engine(
    folder: Path,
    cache: Path,
    name: Name = "auto",
    *,
    device: str = "cpu",
    threads: int | None = None,
    by: Judged = "predictions",
    told: Callable[[str], None] = lambda _: None,
) -> CompactEngine | TorchEngine:
    """Return an engine that has passed the gate on this backbone.

    The first time on a backbone this makes its int8 shards and measures: half a minute for Stable Diffusion 1.5.

    Args:
        folder: the pipeline's.
        cache: where int8 shards and verdicts are kept, by the backbone's fingerprint.
        name: which engine; ``auto`` takes the fastest that passes.
        device: as PyTorch names it: cpu, cuda, mps.
        threads: of PyTorch, for the whole process; None leaves them as they are.
        by: slopes of what the search will follow: the losses' are the published algorithm's.
        told: is told what takes time.

    Raises:
        BackboneError: the folder holds no such pipeline, or the engine that was named does not pass.
        ConfigError: there is no such device or engine, or no number of threads.
    """
    check_device(device)
    if name not in NAMES:
        raise ConfigError(f"there is no engine {name!r}: choose one of {', '.join(NAMES)}")
    use_threads(threads)
    tried = FASTEST_FIRST if name == "auto" else (name,)
    for each in tried:
        if each == "float32":
            break
        if _passes(each, folder, cache, device, by, told, only=name != "auto"):
            return _open(each, folder, cache, device)
    return _open("float32", folder, cache, device)


def check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigError: there is none.
    """
    kind = device.split(":", maxsplit=1)[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise ConfigError(f"there is no device {device!r} here: choose {', '.join(d for d in there if there[d])}")


def use_threads(threads: int | None) -> None:
    """Compute with so many processor threads from now on; None leaves them as they are.

    Raises:
        ConfigError: there is no such number of threads.
    """
    if threads is None:
        return
    if threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    torch.set_num_threads(threads)


def _passes(
    name: Name, folder: Path, cache: Path, device: str, by: Judged, told: Callable[[str], None], *, only: bool
) -> bool:
    place = cache / fingerprint(folder)[:32] / "verdicts.json"
    if not place.exists():
        told("comparing the engine's slopes with float32's, once for this model")
    verdict = judged(
        name,
        lambda: _open(name, folder, cache, device),
        lambda: CompactEngine(folder, cache, device=device, form=EXACT),
        place,
        f"{device.split(':', maxsplit=1)[0]}, torch {torch.__version__}",
        by,
    )
    if only and not verdict.passes:
        raise refusal(name, verdict)
    return verdict.passes


def _open(name: Name, folder: Path, cache: Path, device: str) -> CompactEngine | TorchEngine:
    if name == "differences":
        return CompactEngine(folder, cache, device=device)
    if name == "bfloat16":
        return CompactEngine(folder, cache, device=device, form=Form(differences=False))
    return TorchEngine(folder, device=device, int8=name == "quanto")
