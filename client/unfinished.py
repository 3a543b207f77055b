"""Where a learning lies while it is not finished: one checkpoint in the person's state folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

FOLDER = "learning"


def checkpoint_path(home: Path, name: str, what: str, pixels: NDArray[Any]) -> Path:
    """Return the checkpoint's file; other photos, or another ``what`` to learn, are another learning."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{what}/{pixels.shape}/".encode() + pixels.tobytes())
    return folder / f"{name}.{digest.hexdigest()[:12]}.safetensors"


def forget_unfinished(home: Path, name: str) -> None:
    """Delete every checkpoint of that name."""
    for file in (home / FOLDER).glob("*"):
        if file.name.split(".")[0] == name:
            file.unlink(missing_ok=True)
