"""What was chosen in the benchmark ``taste``, and what came of it, as one HTML file, nothing to fetch."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from simulations.tastes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

TRAITS: Final = 4
"""How many of a person's preferences are named: the strongest."""
STYLE: Final = (
    "body{font:15px/1.5 system-ui;margin:2rem;color-scheme:light dark}"
    "th{text-align:left;font-weight:400;padding-right:1rem}"
    "img{width:64px;image-rendering:pixelated;margin:2px;background:#fff}"
)


def write_page(path: Path, people: Sequence[tuple[NDArray[np.float64], Mapping[str, Sequence[str]]]]) -> None:
    """Write the page.

    Args:
        path: where to.
        people: of each the weights of their preferences, as `simulations.tastes.ATTRIBUTES` names them, and pictures as
            ``data:`` addresses, by what they show.
    """
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Taste</title><style>{STYLE}</style><h1>Taste from choices</h1>"
    ]
    for number, (weights, pictures) in enumerate(people, 1):
        liked = sorted(zip(weights, ATTRIBUTES, strict=True), key=lambda each: -abs(each[0]))[:TRAITS]
        told = ", ".join(f"{'more' if weight > 0 else 'less'} {name}" for weight, name in liked)
        parts.append(f"<h2>Person {number}: {escape(told)}</h2><table>")
        for what, addresses in pictures.items():
            cells = "".join(f'<img alt="" src="{address}">' for address in addresses)
            parts.append(f"<tr><th>{escape(what)}<td>{cells}")
        parts.append("</table>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")
