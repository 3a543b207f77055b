"""Benchmarks' files as tables of a document, between two marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from common.errors import ConfigError
from simulations.benchmarks.framework import Value, cell

BENCH: Final = Path("build/bench")
BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


def insert(document: str, tables: str) -> str:
    """Put the tables between the marks.

    Raises:
        ConfigError: the document has no such marks, or not in this order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"the document has no {BEGIN} before an {END}: put them where the tables belong")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def read(name: str, folder: Path = BENCH) -> dict[str, Any]:
    """Read one benchmark's file.

    Raises:
        ConfigError: it is not there.
    """
    path = folder / f"{name}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"no measurements at {path}: make bench NAME={name} FULL=1") from error
    return found


def source(report: dict[str, Any], name: str) -> str:
    """Say which command measured what follows, where, and what a reader must know."""
    machine, form = report["machine"], " FULL=1" if report["full"] else ""
    form += f" ARGS='--seed {report['seed']}'" if report["seed"] else ""
    units = " with matrix units and" if machine.get("matrix_units") else " with"  # files had no word of them at first
    where = f"{machine['cores']} core(s) of an {machine['processor']}{units} {machine['memory_gb']} GB"
    seed = "" if report["seed"] else ", seed 0"
    return f"`make bench NAME={name}{form}`{seed}, on {where}; {'; '.join(report['notes'])}:"


def table(rows: list[dict[str, Any]]) -> str:
    """Write rows, all with the same keys, as a table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_number(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars(report: dict[str, Any]) -> str:
    """Say whether all promises hold, or which do not."""
    failed = [bar["what"] for bar in report["bars"] if not bar["holds"]]
    count = len(report["bars"])
    return (
        f"All {count} bars hold." if not failed else f"{len(failed)} of {count} bars DO NOT HOLD: {'; '.join(failed)}."
    )


def _number(value: Value) -> str:
    """Write a value as a terminal shows it, but large ones without an exponent."""
    return f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 100 else cell(value)
