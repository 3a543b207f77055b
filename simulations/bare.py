"""Bare devices: the protocol's own client and one vector, without a vault, a ledger or any rule; to test servers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Error, Message, RecordDict

from common.errors import ConfigError
from common.messages import RoundCall, from_fields, rules_of
from common.mixture import responsibilities
from common.privacy import Randomness, draw_share, encode, reduce
from common.secagg import client
from common.secagg.transcript import digest_roster
from common.statistics import blocks
from server.exchange import Clock
from simulations.secagg import enrol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Fields = dict[str, Any]

WIDTH: Final = 12
DIMENSIONS: Final = 3
CLIP: Final = 2.0
BACKBONE: Final = "ab" * 32
KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""The operator's."""
_FOREVER: Final = 1e5


class FakeTime:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        """Begin at noon of no day in particular."""
        self.seconds = 0.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.naps.append(seconds)
        self.seconds += seconds
        if self.seconds >= _FOREVER:
            raise ConfigError(f"somebody waits for ever: {self.seconds:g} s passed")

    @property
    def clock(self) -> Clock:
        """The clock for waiting."""
        return Clock(now=lambda: self.seconds, sleep=self.sleep)

    def wall(self) -> datetime:
        """The clock on the wall."""
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Device:
    """Contributes its x once, for as long as it is awake; keeps what it was asked, and answers nothing twice."""

    def __init__(self, x: ArrayLike, *, awake: bool = True) -> None:
        """Give it its vector, shape (dimensions,)."""
        self.x, self.awake, self.given = np.asarray(x, float), awake, False
        self.heard: list[tuple[str, Fields]] = []
        self.sent: NDArray[np.uint32] | None = None
        self.identity = enrol(KEY, os.urandom(32))
        self.state: Any = None
        self.call: RoundCall | None = None
        self.answered: set[tuple[str, str]] = set()

    def __call__(self, message: Message) -> Message | None:
        """Answer a message."""
        fields: Fields = dict(message.content["fields"])
        action = message.metadata.message_type
        self.heard.append((action, fields))
        if action.startswith("train."):
            if (action, fields["round_id"]) in self.answered:
                return Message(Error(code=2, reason="StaleRoundError"), reply_to=message)
            self.answered.add((action, fields["round_id"]))
        answer = getattr(self, action.split(".")[1])(fields)
        if answer is None or isinstance(answer, Message):
            return answer
        return Message(RecordDict({"fields": ConfigRecord(answer)}), reply_to=message)

    def ready(self, _: Mapping[str, Any]) -> Fields:
        """Be ready until it has given."""
        return {"ready": self.awake and not self.given}

    def prior(self, _: Mapping[str, Any]) -> Fields:
        """Take any prior."""
        return {"stored": True}

    def keys(self, fields: Fields) -> Fields:
        """Enter a round."""
        self.call = from_fields(RoundCall, fields)
        rules = rules_of(self.call, KEY.public_key().public_bytes_raw())
        return self.advance(client.advertise(rules, self.identity, os.urandom))

    def shares(self, fields: Fields) -> Fields:
        """Share secrets."""
        return self.advance(client.share(self.state, fields["request"], os.urandom))

    def integers(self) -> NDArray[np.uint32]:
        """Encode x, and add a share of the noise."""
        if self.call is None:
            raise ConfigError("no round was announced: ask `train.keys` first")
        mechanism, randomness = self.call.mechanism(), Randomness()
        seed = digest_roster(self.state.advertised.rules, self.state.roster)
        vector = blocks(self.x, responsibilities(self.x, ()), CLIP)
        encoded = encode(vector, mechanism, seed=seed, randomness=randomness)
        return reduce(encoded + draw_share(mechanism, randomness), mechanism)

    def masked(self, fields: Fields) -> Fields:
        """Give the vector."""
        self.given = True
        self.sent = self.integers()
        return self.advance(client.mask(self.state, fields["request"], self.sent))

    def confirm(self, fields: Fields) -> Fields:
        """Sign whose vectors arrived."""
        return self.advance(client.confirm(self.state, fields["request"]))

    def unmask(self, fields: Fields) -> Fields:
        """Give what opens the sum."""
        return self.advance(client.unmask(self.state, fields["request"]))

    def advance(self, step: tuple[Any, bytes]) -> Fields:
        """Keep the next state; give the answer."""
        self.state, data = step
        return {"reply": data}


def crowd(count: int, seed: int = 1) -> list[Device]:
    """Make so many devices whose vectors lie around the anchor."""
    return [Device(x) for x in np.random.default_rng(seed).uniform(-0.5, 0.5, (count, DIMENSIONS))]
