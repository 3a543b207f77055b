"""Write what benchmarks measured into docs/privacy.md, between two marks: nobody types a number twice.

make bench NAME=secagg FULL=1; make bench NAME=audit FULL=1
python -m simulations.attacks.table
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from common.errors import ConfigError
from simulations.benchmarks.framework import Value, cell

DOCUMENT: Final = Path("docs/privacy.md")
BENCH: Final = Path("build/bench")
BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
_SIDES: Final = {"device": "device ms", "server": "server ms"}


def measured(audit: dict[str, Any], secagg: dict[str, Any]) -> str:
    """Give the two tables, from the benchmarks' files."""
    return "\n\n".join(
        (
            _source(audit, "audit"),
            _table(audit["rows"]),
            _bars(audit),
            _source(secagg, "secagg"),
            _table(_sums(secagg["rows"])),
            _bars(secagg),
        )
    )


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


def _source(report: dict[str, Any], name: str) -> str:
    machine, form = report["machine"], " FULL=1" if report["full"] else ""
    where = f"{machine['cores']} core(s) of an {machine['processor']} with {machine['memory_gb']} GB"
    return f"`make bench NAME={name}{form}`, seed {report['seed']}, on {where}; {'; '.join(report['notes'])}:"


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_number(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: Value) -> str:
    """Write a value as a terminal shows it, but large ones without an exponent."""
    return f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 100 else cell(value)


def _sums(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a round: milliseconds of both sides, bytes of a device, beside the plain sum."""
    sizes: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = sizes.setdefault(row["people"], {"people": row["people"]})
        side, _, plain = str(row["side"]).partition(", ")
        one[f"{_SIDES[side]}{', plain' if plain else ''}"] = float(row["ms"])
        if side == "device":
            one[f"sent{', plain' if plain else ''}"] = row["sent"]
            if not plain:
                one["received"] = row["received"]
    return list(sizes.values())


def _bars(report: dict[str, Any]) -> str:
    failed = [bar["what"] for bar in report["bars"] if not bar["holds"]]
    count = len(report["bars"])
    return (
        f"All {count} bars hold." if not failed else f"{len(failed)} of {count} bars DO NOT HOLD: {'; '.join(failed)}."
    )


def main() -> None:
    """Renew the tables."""
    found = measured(read("audit"), read("secagg"))
    DOCUMENT.write_text(insert(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"written to {DOCUMENT}")


if __name__ == "__main__":
    main()
