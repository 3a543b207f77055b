"""What every benchmark hands back, and how it is written and shown.

A benchmark is one module of this package with ``run(full: bool, seed: int) -> Report``. The files it leads to,
``build/bench/NAME.json``, are compared over time, so their keys are a contract.
"""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from common.errors import ConfigError

Value = str | float | int | bool | None
"""What a cell of the table may hold."""

PACKAGES = ("flwr", "torch", "diffusers", "transformers", "optimum-quanto", "numpy")
"""Packages whose versions change what a benchmark measures."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise of an issue or of the README: ``value`` must stand on the right side of ``bound``."""

    what: str
    value: float
    bound: float
    direction: Literal["at least", "at most", "below"]
    interval: tuple[float, float] | None = None
    """How far ``value`` is known, where that was asked (95 %); a promise is held to ``value`` itself."""

    @classmethod
    def known(
        cls, what: str, known: tuple[float, float, float], bound: float, direction: Literal["at least", "at most"]
    ) -> Bar:
        """Return a promise of what is known with an interval: value, lower and upper bound (`intervals`)."""
        value, low, high = known
        return cls(what, value, bound, direction, (low, high))

    @property
    def holds(self) -> bool:
        """Whether the promise is kept; a value that is not a number keeps none."""
        if math.isnan(self.value):
            return False
        if self.direction == "below":
            return self.value < self.bound
        return self.value >= self.bound if self.direction == "at least" else self.value <= self.bound

    def as_dict(self) -> dict[str, Value]:
        """Return the JSON form; the direction is spelled out in ``what``."""
        what = f"{self.what} ({self.direction})"
        found: dict[str, Value] = {"what": what, "value": self.value, "bound": self.bound, "holds": self.holds}
        return found if self.interval is None else found | dict(zip(("low", "high"), self.interval, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one benchmark found.

    ``rows`` is the table, every row with the same keys; ``ratios`` holds numbers that were measured side by
    side in this run; ``notes`` says what a reader must know to judge them.
    """

    name: str
    seed: int
    rows: list[dict[str, Value]]
    full: bool = False
    ratios: dict[str, float] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a table whose rows do not agree."""
        if len({tuple(row) for row in self.rows}) > 1:
            keys = [list(row) for row in self.rows]
            raise ConfigError(f"rows of benchmark {self.name} must share their columns, got {keys}")

    def as_dict(self) -> dict[str, object]:
        """Return what stands in ``build/bench/NAME.json``."""
        content = asdict(self)
        content["bars"] = [bar.as_dict() for bar in self.bars]
        return {"name": content.pop("name"), "machine": machine(), "versions": versions(), **content}


def machine() -> dict[str, Value]:
    """Describe the hardware: processor, cores this process may use, memory in GB; never a host's name."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _said_of_the_processor("model name") or platform.processor() or platform.machine(),
        "matrix_units": "amx_bf16" in _said_of_the_processor("flags").split(),
        "system": platform.system(),
        "cores": allowed,
        "memory_gb": _memory_gb(),
    }


def _said_of_the_processor(what: str) -> str:
    """Return what Linux says of the first core; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(what)), "")


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (ValueError, OSError, AttributeError):  # not every system counts its pages
        return None


def versions() -> dict[str, Value]:
    """Return the versions of Python and of the packages that matter; None for one that is not installed."""
    found: dict[str, Value] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def write(report: Report, folder: Path) -> Path:
    """Write ``NAME.json`` below ``folder`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    path.write_text(json.dumps(_finite(report.as_dict()), indent=2, allow_nan=False) + "\n")
    return path


def _finite(value: object) -> object:
    """Replace what JSON cannot say (NaN and infinities) by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def show(report: Report, console: Console) -> None:
    """Print the table, the ratios and every bar; a bar that fails is loud."""
    form = "full" if report.full else "small"
    table = Table(title=f"{report.name} ({form} form, seed {report.seed})", title_justify="left")
    for column in report.rows[0] if report.rows else ():
        table.add_column(column.replace("_", " "), justify="left" if column == next(iter(report.rows[0])) else "right")
    for row in report.rows:
        table.add_row(*(cell(value) for value in row.values()))
    console.print(table)
    for what, ratio in report.ratios.items():
        console.print(f"  {what.replace('_', ' ')}: [bold]{cell(ratio)}[/bold]")
    for bar in report.bars:
        mark = "[bold green]holds[/bold green]" if bar.holds else "[bold white on red] DOES NOT HOLD [/]"
        known = "" if bar.interval is None else f" ({' to '.join(map(cell, bar.interval))})"
        console.print(f"  {mark} {bar.what}: {cell(bar.value)}{known}, {bar.direction} {cell(bar.bound)}")
    for note in report.notes:
        console.print(f"  [dim]{note}[/dim]")


def cell(value: Value) -> str:
    """Write a value as a table's cell: three significant digits, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10**4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
