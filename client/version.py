"""Which Shoal this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Return the installed version; "unknown" where the program runs without having been installed."""
    try:
        return metadata.version("shoal")
    except metadata.PackageNotFoundError:
        return "unknown"
