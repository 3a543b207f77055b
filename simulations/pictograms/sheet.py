"""Draws the contact sheet: a dozen names in all eight styles, as the backbone sees them.

python -m simulations.pictograms.sheet [--model FOLDER] [--out docs/contact-sheet.png]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulations.pictograms.data import FLUENT_FAMILY, TRAINING_SETS, caption
from simulations.pictograms.sampling import Sampling, default_folder, draw, load_pipeline

NAMES = (
    "strawberry",
    "pineapple",
    "ice cream",
    "octopus",
    "penguin",
    "tulip",
    "mushroom",
    "rocket",
    "sailboat",
    "guitar",
    "umbrella",
    "balloon",
)
"""Rows of the sheet: things of everyday, so that a glance tells whether they are right."""

UNSEEN = {
    **dict.fromkeys(("strawberry", "octopus", "balloon"), FLUENT_FAMILY),
    **dict.fromkeys(("ice cream", "rocket"), ("classic",)),
    "sailboat": ("pop",),
}
"""Which of these pictures training never saw in that style; they get a dot."""

CELL, GAP, LEFT, TOP, MARGIN = 96, 10, 116, 32, 24
"""Sides of a picture, the space between, the columns of names and the row of styles, in pixels."""
PAPER, INK, FAINT, DOT = "#ffffff", "#1f2430", "#8a90a0", "#0d7f78"


def contact_sheet(
    pixels: NDArray[np.uint8], rows: Sequence[str], columns: Sequence[str], marked: Collection[tuple[str, str]] = ()
) -> Image.Image:
    """Lay pictures, uint8 of shape (rows * columns, side, side, 3), out as a labelled table.

    Args:
        pixels: row by row.
        rows: the names at the left.
        columns: the styles on top.
        marked: (row, column) labels of the pictures that training never saw.
    """
    width = 2 * MARGIN + LEFT + len(columns) * (CELL + GAP) - GAP
    height = 2 * MARGIN + TOP + len(rows) * (CELL + GAP) + (TOP if marked else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for c, label in enumerate(columns):
        pen.text((MARGIN + LEFT + c * (CELL + GAP) + CELL // 2, MARGIN + TOP // 2), label, FAINT, font, anchor="ms")
    for r, label in enumerate(rows):
        y = MARGIN + TOP + r * (CELL + GAP)
        pen.text((MARGIN, y + CELL // 2), label, INK, font, anchor="lm")
        for c, column in enumerate(columns):
            x = MARGIN + LEFT + c * (CELL + GAP)
            picture = Image.fromarray(pixels[r * len(columns) + c])
            sheet.paste(picture.resize((CELL, CELL), Image.Resampling.BICUBIC), (x, y))
            if (label, column) in marked:
                pen.circle((x + CELL - 6, y + 6), 3.5, DOT)
    if marked:
        y = height - MARGIN - 8
        pen.circle((MARGIN + LEFT + 4, y), 3.5, DOT)
        pen.text((MARGIN + LEFT + 16, y), "never seen in this style while training", FAINT, font, anchor="lm")
    return sheet


def main(
    model: Annotated[Path | None, typer.Option(help="The backbone's folder.")] = None,
    out: Annotated[Path, typer.Option(help="Where the sheet goes.")] = Path("docs/contact-sheet.png"),
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    steps: Annotated[int, typer.Option(help="DDIM steps.")] = 30,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 4.0,
) -> None:
    """Draw every name in every style and write the sheet."""
    styles = list(TRAINING_SETS.values())
    captions = [caption(name, style) for name in NAMES for style in styles]
    pipeline = load_pipeline(model or default_folder())
    pixels = draw(pipeline, captions, seed, Sampling(steps=steps, guidance=guidance))
    marked = {(name, style) for name, unseen in UNSEEN.items() for style in unseen}
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pixels, NAMES, styles, marked).save(out, optimize=True)
    print(f"{len(captions)} pictures on {out}")


if __name__ == "__main__":
    typer.run(main)
