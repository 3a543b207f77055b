"""Keeps the model libraries from reporting to anyone and from filling the terminal."""

from __future__ import annotations

import os
from typing import Final

SILENT: Final = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin starve each other on a busy machine
}
"""What the libraries read when they are imported; whoever says otherwise is heard."""


def silence() -> None:
    """Set the variables for libraries that are not imported yet, here and in processes begun from here."""
    for variable, value in SILENT.items():
        os.environ.setdefault(variable, value)


def quiet() -> None:
    """Switch off telemetry, progress bars and warnings of the model libraries; call it before they are imported."""
    silence()
    from diffusers.utils import logging as diffusers_logging  # noqa: PLC0415 - reads the variables when imported
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - the same

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
