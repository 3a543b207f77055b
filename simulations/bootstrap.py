"""`shoal-sim bootstrap`: a public basis from public pictures, if it is better than the vocabulary's.

An operator's folder of pictures that anybody may see: a subfolder for each concept, named with its class word ("dog",
"dog 2"). Each is learned as a person's device would, by forward passes, and the leading directions of what they moved
by become the basis; what is missing to the wanted dimensions comes from the vocabulary (`simulations.basis`). Concepts
that were held out decide which of the two bases keeps more of them, and that one is written (design, section 3).

The pictures must be public, for the basis is: nothing here is noised. On the default backbone the learner looks in 16
directions of the vocabulary's, so from 16 dimensions on that basis keeps everything and pictures cannot better it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer
from rich.console import Console

from client.photos import load_photos, stack
from common.errors import ConfigError, PhotoError
from simulations.basis import DIMENSIONS, public_basis
from simulations.demo import MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from client.backbone.engine import Engine

FEWEST: Final = 5
"""Concepts: fewer say nothing about those held out."""
FOLDS: Final = 5
FORWARDS: Final = 400
"""Of each concept: most of what 2,400 gain on the default backbone (`simulations.attacks.displacements`)."""
MARGIN: Final = 0.01
"""By so much of ‖δ‖² the pictures must be better: a basis that anybody can compute without them is worth that."""
_NUMBER: Final = re.compile(r"[\s_-]*\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Which basis was written and why; shares are of ‖δ‖² of concepts that were held out, averaged."""

    backbone: str
    """SHA-256 of the weights."""
    dimensions: int
    concepts: int
    kept_by_pictures: float
    kept_by_vocabulary: float
    chosen: str


def command(
    images: Annotated[Path, typer.Argument(help="Public pictures: a subfolder for each concept, named by its class.")],
    out: Annotated[Path, typer.Argument(help="The .npy file to write.")],
    *,
    model: Annotated[Path, typer.Option(help="Folder of the backbone.")] = MODEL,
    forwards: Annotated[int, typer.Option(help="Forward passes for each concept.")] = FORWARDS,
    dimensions: Annotated[int, typer.Option(help="Of the basis.")] = DIMENSIONS,
    machine: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Learn public pictures and write the public basis that they make, or the vocabulary's where that is as good."""
    from client.backbone.engine import TorchEngine  # noqa: PLC0415 - takes seconds, and --help should not
    from client.quiet import quiet  # noqa: PLC0415 - the same

    quiet()
    console, engine = Console(stderr=True), TorchEngine(model)
    moved = learned(engine, images, out.with_suffix(".learned"), forwards, console)
    basis, found = choose(moved, public_basis(engine, engine.width), dimensions, engine.fingerprint)
    np.save(out, basis.astype(np.float32))
    if machine:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(
        f"{found.chosen}: of {found.concepts} concepts, held out in turn, {found.dimensions} directions keep "
        f"{found.kept_by_pictures:.1%} by the pictures and {found.kept_by_vocabulary:.1%} by the vocabulary\n"
        f"{found.backbone}"
    )


def learned(engine: Engine, images: Path, kept: Path, forwards: int, console: Console) -> NDArray[np.float64]:
    """Learn every concept; give the displacements, shape (concepts, width). What was learned before is read again.

    Raises:
        ConfigError: too few subfolders hold usable pictures.
    """
    from client.learn.search import learn  # noqa: PLC0415 - loads torch
    from client.learn.settings import Settings  # noqa: PLC0415 - the same

    rows, settings = [], Settings(forwards=forwards)
    folders = sorted(folder for folder in images.iterdir() if folder.is_dir()) if images.is_dir() else []
    for number, folder in enumerate(folders, start=1):
        file = kept / f"{engine.fingerprint[:12]}-{forwards}-{folder.name}.npy"
        if not file.exists():
            try:
                photos, _ = load_photos(folder, engine.pixel_size)
            except PhotoError as error:
                console.print(f"skipped {folder.name}: {error}", markup=False)
                continue
            latents = engine.encode(stack(photos))
            result = learn(engine, latents, kind="object", class_word=class_word(folder.name), settings=settings)
            kept.mkdir(parents=True, exist_ok=True)
            np.save(file, result.token.astype(np.float64) - result.anchor)
            console.print(f"{number} of {len(folders)}: {folder.name}", markup=False)
        row = np.load(file, allow_pickle=False)
        if not np.any(row):
            console.print(f"left out {folder.name}: nothing was gained on its class word", markup=False)
            continue
        rows.append(row)
    if len(rows) < FEWEST:
        raise ConfigError(f"{images} gave {len(rows)} concepts, {FEWEST} are needed: add subfolders with pictures")
    return np.stack(rows)


def class_word(name: str) -> str:
    """Give the class that a subfolder is named by: "dog 2" is a dog."""
    return _NUMBER.sub("", name).strip() or name


def choose(
    moved: NDArray[np.float64], vocabulary: NDArray[np.float32], dimensions: int, backbone: str
) -> tuple[NDArray[np.float64], Found]:
    """Give the better basis, shape (width, dimensions), and why.

    Args:
        moved: displacements, shape (concepts, width).
        vocabulary: all of its directions, leading first, shape (width, width or fewer).
        dimensions: p.
        backbone: SHA-256 of the weights.

    Raises:
        ConfigError: no basis has so many dimensions.
    """
    if not 1 <= dimensions <= min(DIMENSIONS, vocabulary.shape[1]):
        raise ConfigError(f"--dimensions must be 1 to {min(DIMENSIONS, vocabulary.shape[1])}, got {dimensions}")
    plain = vocabulary[:, :dimensions].astype(np.float64)
    folds = [np.arange(len(moved)) % FOLDS == fold for fold in range(FOLDS)]
    held = [(moved[out], leading(moved[~out], vocabulary, dimensions)) for out in folds if out.any()]
    pictures = float(np.concatenate([share(rows, basis) for rows, basis in held]).mean())
    words = float(share(moved, plain).mean())
    better = pictures > words + MARGIN
    found = Found(
        backbone=backbone,
        dimensions=dimensions,
        concepts=len(moved),
        kept_by_pictures=pictures,
        kept_by_vocabulary=words,
        chosen="pictures" if better else "vocabulary",
    )
    return leading(moved, vocabulary, dimensions) if better else plain, found


def leading(moved: NDArray[np.float64], vocabulary: NDArray[np.float32], dimensions: int) -> NDArray[np.float64]:
    """Give the leading directions of displacements, filled up from the vocabulary; orthonormal columns.

    Uncentred: the mean of displacements is what a prior starts from, so it belongs into the basis.
    """
    _, strengths, rows = np.linalg.svd(moved, full_matrices=False)
    own = rows[strengths > 1e-9 * strengths[0]][:dimensions]
    basis, _ = np.linalg.qr(np.concatenate([own, vocabulary.T.astype(np.float64)]).T)
    basis = basis[:, :dimensions]
    peaks = basis[np.abs(basis).argmax(axis=0), np.arange(dimensions)]
    return np.ascontiguousarray(basis * np.sign(peaks))


def share(moved: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what a basis keeps of each displacement: ‖Pᵀδ‖² / ‖δ‖², shape (concepts,)."""
    kept: Sequence[float] = np.square(moved @ basis).sum(axis=1) / np.square(moved).sum(axis=1)
    return np.asarray(kept)
