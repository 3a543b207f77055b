"""Flower's programs: where they are, and the environment that keeps them quiet."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from common.errors import ConfigError

_QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def environment(home: Path) -> dict[str, str]:
    """Give the environment for Flower's programs: quiet, at home in `home`, our own Python first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **_QUIET, "FLWR_HOME": str(home.absolute()), "PATH": path}


def program(name: str) -> str:
    """Find one of Flower's programs, next to our own Python before anywhere else."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        message = f"{name} is not installed: pip install 'shoal[server]'"
        raise ConfigError(message)
    return found
