"""Run the federation on Flower's simulation engine, in a process of its own.

The people are folders: whoever has a concept pending in the vault at `people_folder/<number>` takes part. So a demo
starts the federation, learns in other processes, and reads each new prior from the people's own vaults:

    with Federation(settings, people_folder=folder, people=40) as federation:
        ...  # virtual_vault(folder / "7").save_concept(...); current_prior(folder / "7", backbone, "object")
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
import time
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from client.app import app as client_app
from client.database import Database
from client.federation import enrol
from client.ledger import Simulation, append, read, writing
from common.enrolment import answer
from common.errors import ShoalError
from common.messages import ReadyQuery, to_fields
from server.app import app as server_app
from server.exchange import LOOK_SECONDS, Clock, exchange
from server.keys import signing_key
from server.rounds import load_basis
from server.settings import RunSettings
from simulations.faults import suffering
from simulations.vaults import virtual_vault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

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
START_SECONDS: Final = 300.0
"""For the engine to start: some 15 s, on a busy machine a minute or two."""
ATTEMPTS: Final = 3
"""Ray gives its own parts 15 s to start and ends for good where they need longer; the next time they are cached."""
STOP_SECONDS: Final = 20.0
"""For an orderly end before the process is killed."""
UNPROTECTED: Final = """\
################################################################################
#  UNPROTECTED SIMULATION: masks are on, noise is off.                         #
#  Sums of so few virtual people would drown in it. Nobody real is in them;    #
#  a person's device refuses every round without noise, whatever it is told.   #
################################################################################"""
LOG_FILE: Final = "federation.log"
UP_FILE: Final = "federation.up"
"""There as long as the engine has answered."""


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
        """Enrol everybody, start the process, and wait until a person has answered.

        Raises:
            ShoalError: the engine does not start.
        """
        if self._settings.unprotected_simulation:
            print(f"\n{UNPROTECTED}\n", file=sys.stderr, flush=True)
        operator = signing_key(self._settings.state_folder)
        width = len(load_basis(self._settings.public_basis))
        for number in range(self._people):
            folder = self._people_folder / str(number)
            virtual_vault(folder)
            enrol(
                folder,
                operator=operator.public_key(),
                certify=partial(answer, operator),
                backbone=self._settings.backbone,
                width=width,
            )
            if self._settings.unprotected_simulation:
                pretend(folder)
        for _ in range(ATTEMPTS):
            self._launch()
            if self._is_up():
                return
            self.stop()
        message = f"the simulation engine does not start: see {self.log}"
        raise ShoalError(message)

    def _launch(self) -> None:
        config = {**self._settings.to_run_config(), "people-folder": str(self._people_folder)}
        command = [sys.executable, "-m", "simulations.run", str(self._people), json.dumps(config)]
        (self._settings.state_folder / UP_FILE).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **QUIET}
            )

    def _is_up(self) -> bool:
        """Wait for the engine; False if its process ended before, or the time did."""
        end = time.monotonic() + START_SECONDS
        while self.running and time.monotonic() < end:
            if (self._settings.state_folder / UP_FILE).exists():
                return True
            time.sleep(0.1)
        return (self._settings.state_folder / UP_FILE).exists()  # it may have come up and ended in between

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


def pretend(folder: Path) -> None:
    """Write into a virtual person's ledger that it is one, so that it takes part in rounds without noise."""
    with writing(Database(folder)) as rows:
        if not any(isinstance(entry.event, Simulation) for entry in read(rows, folder)):
            append(rows, folder, Simulation())


class Configured(ClientApp):
    """The client app of a deployment, given a run configuration with each message."""

    def __init__(self, run_config: RunConfig) -> None:
        """Keep the run configuration for each call."""
        super().__init__()
        self._run_config = run_config

    def __call__(self, message: Message, context: Context) -> Message:
        """Call the app with a context of its own: Flower forbids to change the one it gave."""
        folder = Path(str(self._run_config["people-folder"])) / str(context.node_config["partition-id"])
        return suffering(client_app, folder)(
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
        settings = RunSettings.from_run_config(run_config)
        _await_engine(grid, settings)
        (settings.state_folder / UP_FILE).touch()
        server_app(grid, context)

    return app


def _await_engine(grid: Grid, settings: RunSettings) -> None:
    """Ask one person until there is an answer: the nodes are there long before anything can play them.

    Without it the first questions would die of age in the engine's queue.
    """
    query = to_fields(ReadyQuery(kind=settings.kinds[0], backbone=settings.backbone, prior_version=0))
    while True:
        questions = dict.fromkeys(list(grid.get_node_ids())[:1], query)
        answers = exchange(grid, "query.ready", questions, group="engine", seconds=START_SECONDS, clock=Clock())
        if answers.fields:
            return
        time.sleep(LOOK_SECONDS)


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
    try:
        simulate(int(sys.argv[1]), json.loads(sys.argv[2]))
    except Exception:  # noqa: BLE001 - whatever it is, Flower's server thread must not outlive it
        traceback.print_exc()
        _end(1)


def _end_with_parent() -> None:
    """End this process when whoever started it closes our standard input, or dies."""
    os.read(0, 1)  # not through sys.stdin, whose lock a thread that waits in it would hold until the very end
    _end(0)


def _end(code: int) -> NoReturn:
    """End at once, with all threads, and take Ray's processes along; on its own some would stay behind."""
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # By its name, so that Ray's workers import `Configured` instead of getting a copy of it.
    import_module("simulations.run").main()
