"""Packs the held-out pictures, which the backbone never saw, as the photos of simulated people.

python -m simulations.pictograms.fixtures WORK_FOLDER
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

from simulations.pictograms.data import load
from simulations.population import ARCHIVE


def pack(folder: Path, target: Path = ARCHIVE) -> int:
    """Write ``object/CLASS/NAME/STYLE.png`` and ``style/STYLE/NAME.png`` into one archive; return how many."""
    data = load(folder / "data.npz")
    rows = [*data.where("object"), *data.where("style")]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for i in rows:
            name, style = data.names[i].replace("/", "-"), data.styles[i]
            path = f"object/{data.classes[i]}/{name}/{style}" if data.split[i] == "object" else f"style/{style}/{name}"
            buffer = io.BytesIO()
            Image.fromarray(data.pixels[i]).quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
            archive.writestr(zipfile.ZipInfo(f"{path}.png", (2026, 1, 1, 0, 0, 0)), buffer.getvalue())
    return len(rows)


if __name__ == "__main__":
    print(f"{pack(Path(sys.argv[1]))} pictures, {ARCHIVE.stat().st_size / 1e6:.1f} MB")
