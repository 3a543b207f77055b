"""Run the server's parts on this machine: a SuperLink on loopback, and one run of our apps on it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.errors import ConfigError
from server.bundle import bundle_hash, write_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.settings import RunSettings

LOOPBACK: Final = "127.0.0.1"
"""Flower serves its fleet, control and runtime interfaces on one port without accounts, so never anything wider."""
START_SECONDS: Final = 120.0
"""For the SuperLink to listen; 5 s on an idle machine."""
HASH_FILE: Final = "bundle.sha256"
"""In the state folder: by what devices know the run's bundle."""
_STOP_SECONDS: Final = 20.0
_QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def serve(settings: RunSettings, port: int) -> None:
    """Start a SuperLink, hold one run of the federation on it, stop it again.

    Without TLS and node authentication so far, hence reachable from this machine alone.

    Args:
        settings: of the run; its state folder also holds Flower's own files and logs.
        port: to listen on.

    Raises:
        ConfigError: Flower is not installed, the SuperLink does not start, or the run fails.
    """
    home = settings.state_folder / "flower"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{LOOPBACK}:{port}"\ninsecure = true\n',
        encoding="utf-8",
    )
    bundle = settings.state_folder / "bundle"
    write_bundle(bundle, settings.to_run_config())
    (settings.state_folder / HASH_FILE).write_text(f"{bundle_hash(bundle)}\n", encoding="ascii")
    with _superlink(home, port):
        # Elsewhere than the source folder, so that what runs is what is in the bundle.
        command = [program("flwr"), "run", str(bundle.absolute()), "here", "--stream"]
        subprocess.run(command, env=environment(home), cwd=home, check=False)  # noqa: S603 - ours
        _require_completed(home)  # `flwr run` itself ends with 0 whatever became of the run


def _require_completed(home: Path) -> None:
    command = [program("flwr"), "list", "here", "--format", "json"]
    found = subprocess.run(command, env=environment(home), cwd=home, check=False, capture_output=True)  # noqa: S603 - ours
    if b'"finished:completed"' not in found.stdout:
        message = f"the run failed: what it said is above, what Flower said in {home / 'superlink.log'}"
        raise ConfigError(message)


def environment(home: Path) -> dict[str, str]:
    """Give the environment for Flower's programs: quiet, at home in `home`, our own Python first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **_QUIET, "FLWR_HOME": str(home.absolute()), "PATH": path}


@contextmanager
def _superlink(home: Path, port: int) -> Iterator[None]:
    """Run a SuperLink as long as the body runs; its log is in `home`."""
    command = [program("flower-superlink"), "--insecure", "--host", LOOPBACK, "--port", str(port)]
    with (home / "superlink.log").open("ab") as log:
        link = subprocess.Popen(  # noqa: S603 - ours
            command, env=environment(home), cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await_listening(link, port, home)
        yield
    finally:
        link.terminate()
        try:
            link.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            link.kill()
            link.wait()


def _await_listening(link: subprocess.Popen[bytes], port: int, home: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while link.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.2)
    message = f"the SuperLink does not listen on port {port}: see {home / 'superlink.log'}, or choose another port"
    raise ConfigError(message)


def program(name: str) -> str:
    """Find one of Flower's programs, next to our own Python before anywhere else."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        message = f"{name} is not installed: pip install 'shoal[server]'"
        raise ConfigError(message)
    return found
