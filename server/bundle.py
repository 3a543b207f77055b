"""The Flower App Bundle of a run: our packages' source and one run configuration, in a folder for `flwr run`."""

from __future__ import annotations

import json
import shutil
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.errors import ConfigError
from server.settings import RunSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES: Final = ("client", "common", "server")
"""What both apps need; Flower refuses bundles above 10 MB, so only Python files go in."""
HASH_FILE: Final = "bundle.sha256"
"""In the state folder: by what devices know the run's bundle."""
_PROJECT: Final = """[project]
name = "shoal"
version = "1.0.{generation}" # Flower wants one; what identifies a bundle is its hash
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "shoal"
fab-include = [{include}]

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"

[tool.flwr.app.config]
{config}
"""


def write_bundle(folder: Path, run_config: Mapping[str, str | float], generation: int = 0) -> None:
    """Fill `folder` with what `flwr run` needs; what was there is replaced.

    Args:
        folder: the bundle's own.
        run_config: as `server.settings.RunSettings.to_run_config` gives it.
        generation: of the operator's signing key.

    Raises:
        ConfigError: one of our packages is not installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        _copy(package, folder / package)
    # A JSON scalar is a TOML scalar as well, as long as characters stand for themselves.
    config = "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in run_config.items())
    include = ", ".join(f'"{package}/**/*.py"' for package in PACKAGES)
    text = _PROJECT.format(include=include, config=config, generation=generation)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def build_bundle(folder: Path, generation: int = 0) -> bytes:
    """Fill `folder` and give the bundle's bytes; no operator's settings are in it, those come with each run.

    Devices answer the runs of bundles that they know, and of no others. Flower's builder is private (1.41.0, pinned).

    So every server of one version of Shoal has the same bundle, and devices go on knowing it when settings change. When
    the signing key gives way to another they do not: a device that stayed online asks for the terms again.

    Args:
        folder: the bundle's own.
        generation: how many signing keys there were before the present one.

    Raises:
        ConfigError: one of our packages is not installed.
    """
    from flwr.cli.build import build_fab_from_disk  # noqa: PLC0415 - takes a second, and only this needs it

    write_bundle(folder, default_run_config(), generation)
    return build_fab_from_disk(folder)


def default_run_config() -> dict[str, str | int | float]:
    """Give every key of a run configuration: what has no default is empty, as in this project's own."""
    found: dict[str, str | int | float] = {"people-folder": ""}
    for item in fields(RunSettings):
        value = "" if item.default is MISSING else item.default
        found[item.name.replace("_", "-")] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return found


def _copy(package: str, target: Path) -> None:
    found = find_spec(package)
    if found is None or found.origin is None:
        message = f"package {package!r} is not installed: install shoal whole, the bundle carries all its apps"
        raise ConfigError(message)
    source = Path(found.origin).parent
    for path in sorted(source.rglob("*.py")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
