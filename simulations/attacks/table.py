"""Write what benchmarks measured into docs/privacy.md, between two marks: nobody types a number twice.

make bench NAME=secagg FULL=1; make bench NAME=audit FULL=1
python -m simulations.attacks.table
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from simulations.benchmarks.tables import bars, insert, read, source, table

DOCUMENT: Final = Path("docs/privacy.md")
_SIDES: Final = {"device": "device ms", "server": "server ms"}


def measured(audit: dict[str, Any], secagg: dict[str, Any]) -> str:
    """Give the two tables, from the benchmarks' files."""
    return "\n\n".join(
        (
            source(audit, "audit"),
            table(audit["rows"]),
            bars(audit),
            source(secagg, "secagg"),
            table(_sums(secagg["rows"])),
            bars(secagg),
        )
    )


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


def main() -> None:
    """Renew the tables."""
    found = measured(read("audit"), read("secagg"))
    DOCUMENT.write_text(insert(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"written to {DOCUMENT}")


if __name__ == "__main__":
    main()
