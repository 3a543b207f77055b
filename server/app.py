"""The Flower ServerApp: wiring between Flower's grid and `server.rounds`, the same in simulation and deployment."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.exchange import Clock
from server.keys import signing_key
from server.registry import Registry
from server.roster import revoked_by
from server.rounds import Rounds
from server.settings import RunSettings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Hold the rounds that the run configuration asks for, then end."""
    settings = RunSettings.from_run_config(context.run_config)
    key = signing_key(settings.state_folder)
    with Registry(settings.registry_url) as registry:
        revoked = revoked_by(settings.state_folder)
        Rounds(grid, settings, registry=registry, key=key, clock=Clock(), revoked=revoked).run()
