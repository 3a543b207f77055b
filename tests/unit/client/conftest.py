"""A machine that says what a test wants, for whatever asks whether conditions hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest


@dataclass
class Told:
    """A `client.machine.Machine`; as it is made, it hinders nothing at noon."""

    idle: float | None = 1e6
    power: bool | None = True
    degrees: float | None = 20.0
    by_volume: bool | None = False
    clock: str = "12:00"

    def idle_seconds(self):
        return self.idle

    def on_power(self):
        return self.power

    def hottest(self):
        return self.degrees

    def metered(self):
        return self.by_volume

    def now(self):
        return datetime.fromisoformat(f"2026-11-24T{self.clock}")


@pytest.fixture
def machine():
    """Make one: `machine(power=False)`."""
    return Told
