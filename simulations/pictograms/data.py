"""The Pictograms data set: emoji of eight open sets, rendered at 64 x 64 on white, with captions.

Fetched from the npm registry only when the backbone is built (``python -m simulations.pictograms.data``),
never at run time. Licences of the sets stand in NOTICE.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

SIZE = 64
"""Side of a picture in pixels."""

TRAINING_SETS = {
    "noto": "soft",
    "fxemoji": "classic",
    "twemoji": "simple",
    "emojione": "pop",
    "fluent-emoji": "modern",
    "fluent-emoji-flat": "clean",
    "fluent-emoji-high-contrast": "ink",
    "fluent-emoji-3d": "studio",
}
"""npm package (its last part) to the style's word in captions: each is one token, as a learned style is."""

FLUENT_FAMILY = ("modern", "clean", "ink", "studio")
"""One artwork in four renderings: never split between training and test."""

HELD_OUT_SET = "noto-v1"
HELD_OUT_STYLE = "vintage"
"""The style nobody trained on: early Noto, Apache-2.0."""

PACKAGES = (
    *(f"@iconify-json/{name}" for name in TRAINING_SETS if name != "fluent-emoji-3d"),
    f"@iconify-json/{HELD_OUT_SET}",
    "@lobehub/fluent-emoji-3d",
    "emojibase-data",
)
HELD_OUT_NAMES = 150
UNSEEN_PAIRS = 300
"""(name, style family) pairs left out of training whose name and style are both seen elsewhere."""

SKIPPED_GROUPS = (2, 9)
"""emojibase groups: components (skin tones, hair) and flags (letters in disguise)."""

OBJECT_GROUPS = (3, 4, 5, 6, 7)
"""Groups that held-out objects come from: animals, food, travel, activities, objects."""


@dataclass(frozen=True, slots=True)
class Pictograms:
    """All pictures with what is known about each.

    ``pixels`` is uint8 of shape (pictures, 64, 64, 3); the lists run along its first axis.
    ``split`` holds ``train``, ``unseen`` (name and style known, pair not), ``object`` (name held out)
    or ``style`` (set held out; its names may be held out too).
    """

    pixels: NDArray[np.uint8]
    names: list[str]
    styles: list[str]
    classes: list[str]
    split: list[str]

    def where(self, split: str) -> list[int]:
        """Return the indices of one split."""
        return [i for i, s in enumerate(self.split) if s == split]


def caption(name: str, style: str) -> str:
    """Return the caption of a picture, as the backbone was trained."""
    return f"{name}, {style} style"


def slug(text: str) -> str:
    """Reduce a name to its letters and digits, so that sets' spellings meet."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("&", "and"))


def fetch(folder: Path) -> Path:
    """Install the npm packages below ``folder`` (scripts off) and return their ``node_modules``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", *PACKAGES]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - a fixed list of package names
    return folder / "node_modules"


def _concepts(modules: Path) -> dict[str, dict[str, Any]]:
    """Read emojibase: hexcode to label, group and class word, without flags, tones and gender variants."""
    data = json.loads((modules / "emojibase-data/en/data.json").read_text())
    subgroups = json.loads((modules / "emojibase-data/meta/groups.json").read_text())["subgroups"]
    found = {}
    for entry in data:
        gendered = "-200D-" in entry["hexcode"] and any(
            sign in entry["hexcode"] for sign in ("2640", "2642", "1F468", "1F469")
        )
        if entry.get("group") is None or entry["group"] in SKIPPED_GROUPS or gendered:
            continue
        word = subgroups[str(entry["subgroup"])]
        found[entry["hexcode"].lower()] = {
            "label": entry["label"].lower(),
            "group": entry["group"],
            "class": class_word(word),
        }
    return found


def class_word(subgroup: str) -> str:
    """Turn an emojibase subgroup such as ``animal-mammal`` or ``food-fruit`` into a common noun."""
    special = {
        "animal-mammal": "animal", "animal-bug": "insect", "animal-marine": "fish", "food-asian": "dish",
        "food-prepared": "meal", "food-sweet": "dessert", "plant-flower": "flower", "plant-other": "plant",
        "transport-ground": "vehicle", "transport-water": "ship", "transport-air": "aircraft",
        "sky-weather": "weather", "arts-crafts": "art", "light-video": "lamp", "book-paper": "book",
        "musical-instrument": "instrument", "award-medal": "medal", "other-object": "object",
    }  # fmt: skip
    return special.get(subgroup, subgroup.rsplit("-", maxsplit=1)[-1])


def _svg_pictures(modules: Path, package: str, concepts: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """Return hexcode to SVG for one Iconify set, matched by character where it tells, else by name."""
    base = modules / "@iconify-json" / package
    icons = json.loads((base / "icons.json").read_text())
    chars = json.loads((base / "chars.json").read_text()) if (base / "chars.json").exists() else {}
    by_char = {code.replace("-fe0f", ""): name for code, name in chars.items()}
    by_slug = {slug(name): name for name in icons["icons"]}
    found = {}
    for code, concept in concepts.items():
        name = by_char.get(code.replace("-fe0f", "")) or by_slug.get(slug(concept["label"]))
        if name is None or name not in icons["icons"]:
            continue
        icon = icons["icons"][name]
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        view = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        body = icon["body"].replace("currentColor", "#222222")
        found[code] = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{body}</svg>'.encode()
    return found


def on_white(picture: Image.Image) -> NDArray[np.uint8]:
    """Lay a picture on white at 64 x 64, keeping its proportions."""
    rgba = picture.convert("RGBA")
    rgba.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIZE, SIZE), "white")
    canvas.alpha_composite(rgba, ((SIZE - rgba.width) // 2, (SIZE - rgba.height) // 2))
    return np.asarray(canvas.convert("RGB"))


def render_svg(svg: bytes) -> NDArray[np.uint8]:
    """Rasterize with resvg at twice the size, then reduce (smoother edges than at size)."""
    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=2 * SIZE, height=2 * SIZE)
    return on_white(Image.open(io.BytesIO(bytes(png))))


def _pictures(modules: Path, concepts: dict[str, dict[str, Any]], package: str) -> dict[str, NDArray[np.uint8]]:
    if package != "fluent-emoji-3d":
        return {code: render_svg(svg) for code, svg in _svg_pictures(modules, package, concepts).items()}
    files = {f.stem.replace("-fe0f", ""): f for f in (modules / "@lobehub/fluent-emoji-3d/assets").glob("*.webp")}
    return {
        code: on_white(Image.open(files[code.replace("-fe0f", "")]))
        for code in concepts
        if code.replace("-fe0f", "") in files
    }


def _order(key: str) -> str:
    """Order by a public hash, so that splits never depend on a library's random generator."""
    return hashlib.sha256(f"pictograms-1/{key}".encode()).hexdigest()


def _held_out(found: dict[str, dict[str, NDArray[np.uint8]]], concepts: dict[str, dict[str, Any]]) -> set[str]:
    """Choose the objects: names that at least seven training sets and the held-out set draw."""
    counts = {code: sum(code in found[s] for s in TRAINING_SETS) for code in concepts}
    able = [
        c for c, n in counts.items() if n >= 7 and c in found[HELD_OUT_SET] and concepts[c]["group"] in OBJECT_GROUPS
    ]
    return set(sorted(able, key=_order)[:HELD_OUT_NAMES])


def _unseen(found: dict[str, dict[str, NDArray[np.uint8]]], codes: list[str]) -> set[tuple[str, str]]:
    """Choose (code, style) pairs left out of training; a fluent pair takes its whole family along."""
    pairs = [(code, style) for code in codes for package, style in TRAINING_SETS.items() if code in found[package]]
    counts = {code: sum(code in found[s] for s in TRAINING_SETS) for code in codes}
    chosen: set[tuple[str, str]] = set()
    names: set[str] = set()
    for code, style in sorted(pairs, key=lambda pair: _order("/".join(pair))):
        if len(names) >= UNSEEN_PAIRS:
            break
        family = FLUENT_FAMILY if style in FLUENT_FAMILY else (style,)
        if code in names or counts[code] < 7:
            continue
        names.add(code)
        chosen |= {(code, member) for member in family}
    return chosen


def build(folder: Path) -> Pictograms:
    """Fetch, match, render and split everything; about five minutes on one core."""
    modules = fetch(folder)
    concepts = _concepts(modules)
    found = {}
    for package in (*TRAINING_SETS, HELD_OUT_SET):
        found[package] = _pictures(modules, concepts, package)
        print(f"{package}: {len(found[package])} pictures", file=sys.stderr, flush=True)
    objects = _held_out(found, concepts)
    codes = [c for c in concepts if c not in objects]
    unseen = _unseen(found, codes)
    pixels, names, styles, classes, split = [], [], [], [], []
    for package, pictures in found.items():
        style = TRAINING_SETS.get(package, HELD_OUT_STYLE)
        for code, picture in pictures.items():
            pixels.append(picture)
            names.append(concepts[code]["label"])
            styles.append(style)
            classes.append(concepts[code]["class"])
            kind = "object" if code in objects else "unseen" if (code, style) in unseen else "train"
            split.append("style" if package == HELD_OUT_SET else kind)
    return Pictograms(np.stack(pixels), names, styles, classes, split)


def save(data: Pictograms, path: Path) -> None:
    """Write one ``.npz`` without pickles."""
    np.savez_compressed(
        path,
        pixels=data.pixels,
        names=np.array(data.names),
        styles=np.array(data.styles),
        classes=np.array(data.classes),
        split=np.array(data.split),
    )


def load(path: Path) -> Pictograms:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        lists = {key: [str(v) for v in file[key]] for key in ("names", "styles", "classes", "split")}
        return Pictograms(file["pixels"], **lists)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/pictograms")
    save(build(target), target / "data.npz")
