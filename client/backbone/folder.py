"""Finds the backbone's folder: the one named, the one of `SHOAL_MODEL`, or the one that ships with the package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from common.errors import BackboneError

SHIPPED = Path(__file__).parent / "pictograms"
"""The small backbone that comes with the package, so that no hub is needed."""

NEEDED = ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json")
WANTED_FILES = ("*.json", "*.txt", "*.safetensors")
"""What is fetched from a hub: never a pickle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a backbone is best sampled: ``sampling`` in the ``shoal.json`` of its folder."""

    guidance: float = 7.5
    """Classifier-free guidance (Ho & Salimans, arXiv:2207.12598); 1 is none."""
    steps: int = 30


def find_backbone(name: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of a pipeline: a local folder as it is, any other name from the hub's cache or the hub.

    Raises:
        BackboneError: there is no such folder or hub name, or it holds no Stable Diffusion pipeline.
    """
    wanted = name or environment.get("SHOAL_MODEL") or str(SHIPPED)
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        folder = _from_hub(wanted)
    missing = [file for file in NEEDED if not (folder / file).is_file()]
    if missing:
        raise BackboneError(
            f"{wanted} is no Stable Diffusion folder ({missing[0]} is missing): name one with --model or SHOAL_MODEL"
        )
    return folder


def sampling(folder: Path) -> Sampling:
    """Return how this backbone is best sampled.

    Raises:
        BackboneError: its ``shoal.json`` cannot be read.
    """
    chosen = folder / "shoal.json"
    if not chosen.is_file():
        return Sampling()
    try:
        return Sampling(**json.loads(chosen.read_text()).get("sampling", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise BackboneError(f"{chosen} cannot be read ({error}): mend it or delete it") from error


def _from_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED_FILES)))
    except (OSError, ValueError, HFValidationError) as error:
        raise BackboneError(
            f"{name} is neither a folder nor a model that the hub gives ({type(error).__name__}): "
            "name a local folder with --model or SHOAL_MODEL"
        ) from error
