"""Keeps the model libraries from reporting to anyone and from filling the terminal."""

from __future__ import annotations

import os


def quiet() -> None:
    """Switch off telemetry, progress bars and warnings of the model libraries; call it before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other on a busy machine
    from diffusers.utils import logging as diffusers_logging  # noqa: PLC0415 - reads the variables when imported
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - the same

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
