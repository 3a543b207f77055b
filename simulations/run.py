"""Run the federation on Flower's simulation engine, in a process of its own.

The people are folders: whoever has a concept pending in the vault at `people_folder/<number>` takes part. So a demo
starts the federation, learns in other processes, and reads each new prior from the people's own vaults:

    with Federation(settings, people_folder=folder, people=40) as federation:
        ...  # Vault(folder / "7").save_concept(...); current_prior(folder / "7", backbone, "object")
        federation.wait(timeout=600)

The apps are those of a deployment, unchanged. Only the run configuration reaches them another way, because Flower's
Python entry to the simulation takes none: see `Configured` and `configured`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from client.app import app as client_app
from client.federation import enrol
from common.errors import ShoalError
from server.app import app as server_app
from server.keys import signing_key
from server.rounds import load_basis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from server.settings import RunSettings

RunConfig = dict[str, bool | float | int | str]
BackendArguments = dict[
    str, "int | float | str | bytes | bool | list[int] | list[float] | list[str] | list[bytes] | list[bool]"
]

QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}
"""No telemetry, no update checks, no installation at run time; and the cores belong to those who learn."""
STORE_BYTES: Final = 100 * 2**20
"""Ray's object store, which would otherwise reserve a third of the memory; our messages are below 1 MB."""
STOP_SECONDS: Final = 20.0
"""For an orderly end before the process is killed."""
LOG_FILE: Final = "federation.log"


class Federation:
    """The federation's own process: start it, learn meanwhile, wait for its end."""

    def __init__(self, settings: RunSettings, *, people_folder: Path, people: int) -> None:
        """Prepare; `start` does something.

        Args:
            settings: as an operator would give them; the state folder gets the log as well.
            people_folder: holds one state folder for each person, named by number from 0.
            people: how many there are.
        """
        self._settings, self._people_folder, self._people = settings, people_folder, people
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Enrol everybody and start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    @property
    def log(self) -> Path:
        """What the process says."""
        return self._settings.state_folder / LOG_FILE

    @property
    def running(self) -> bool:
        """Whether the process is alive; False before `start` as well."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Enrol everybody, then start the process; it needs some 10 s until the first question."""
        operator = signing_key(self._settings.state_folder).public_key()
        width = len(load_basis(self._settings.public_basis))
        for number in range(self._people):
            enrol(self._people_folder / str(number), operator=operator, backbone=self._settings.backbone, width=width)
        config = {**self._settings.to_run_config(), "people-folder": str(self._people_folder)}
        command = [sys.executable, "-m", "simulations.run", str(self._people), json.dumps(config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **QUIET}
            )

    def wait(self, timeout: float) -> None:
        """Wait until all rounds are over.

        Args:
            timeout: seconds.

        Raises:
            ShoalError: it failed, or it is not over in time.
        """
        if self._process is None:
            raise ShoalError("the federation was never started: call start first")
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            message = f"the federation is not over after {timeout:g} s: see {self.log}"
            raise ShoalError(message) from error
        if code:
            message = f"the federation ended with code {code}: see {self.log}"
            raise ShoalError(message)

    def stop(self) -> None:
        """End the process now; what it wrote down stays, and a later start continues from there."""
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()  # `_end_with_parent` notices
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Configured(ClientApp):
    """The client app of a deployment, given a run configuration with each message."""

    def __init__(self, run_config: RunConfig) -> None:
        """Keep the run configuration for each call."""
        super().__init__()
        self._run_config = run_config

    def __call__(self, message: Message, context: Context) -> Message:
        """Call the app with a context of its own: Flower forbids to change the one it gave."""
        return client_app(
            message,
            Context(
                run_id=context.run_id,
                node_id=context.node_id,
                node_config=context.node_config,
                state=context.state,
                run_config=dict(self._run_config),
            ),
        )


def configured(run_config: Mapping[str, bool | float | str]) -> ServerApp:
    """Give the server app of a deployment, with a run configuration."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        context.run_config = dict(run_config)
        server_app(grid, context)

    return app


def simulate(people: int, run_config: RunConfig) -> None:
    """Hold a whole run in this process; returns when the server app is done.

    One Ray actor plays all people in turn: an answer takes milliseconds, a further actor 150 MB and a core's warm-up.
    `RAY_ADDRESS` names an existing cluster instead.
    """
    from flwr.simulation import run_simulation  # noqa: PLC0415 - loads Ray, which nothing else here needs

    cluster: BackendArguments = {"include_dashboard": False}
    if "RAY_ADDRESS" not in os.environ:
        cluster |= {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    run_simulation(
        server_app=configured(run_config),
        client_app=Configured(run_config),
        num_supernodes=people,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": cluster},
    )


def main() -> None:
    """Be the federation's process: `python -m simulations.run PEOPLE RUN_CONFIG_AS_JSON`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    simulate(int(sys.argv[1]), json.loads(sys.argv[2]))


def _end_with_parent() -> None:
    """End this process when whoever started it closes our standard input, or dies."""
    os.read(0, 1)  # not through sys.stdin, whose lock a thread that waits in it would hold until the very end
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()  # otherwise some of its processes stay behind
    os._exit(0)


if __name__ == "__main__":
    # By its name, so that Ray's workers import `Configured` instead of getting a copy of it.
    import_module("simulations.run").main()
