"""Devices that drop out, and devices that die: the faults of simulated runs, and a record to check sums against.

A person's `fault.json` says what befalls them; `suffering` makes it so. `mortal` answers each message in a process of
its own, which is killed at a named point:

    EXCHANGE:begun      before anything was looked at
    EXCHANGE:written    the round's next state is written, its transaction not yet over
    EXCHANGE:saved      the transaction is over, the answer has not left
    EXCHANGE:replied    the answer has left
    masked:unbooked     everything is computed, nothing written into the ledger
    masked:booked       the ledger's line is written, its transaction not yet over
    masked:unsealed     the transaction is over, the ledger's receipt is still the one before (also unmask:unsealed)

EXCHANGE is one of keys, shares, masked, confirm, unmask. The device's own code knows nothing of this.
"""

from __future__ import annotations

import ast
import json
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from client.app import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flwr.app import Context
    from flwr.clientapp import ClientApp
    from numpy.typing import NDArray

    from common.privacy import Mechanism, Randomness
    from simulations.memory import Node

EXCHANGES: Final = ("keys", "shares", "masked", "confirm", "unmask")
POINTS: Final = (
    *(f"{exchange}:{when}" for exchange in EXCHANGES for when in ("begun", "written", "saved", "replied")),
    *("masked:unbooked", "masked:booked", "masked:unsealed", "unmask:unsealed"),
)


FAULT: Final = "fault.json"
RECORDS: Final = "masked-*.npz"
DROPPED: Final = "Dropout"


def plan_fault(folder: Path, *, drop: str = "", lost: bool = False, die: str = "") -> None:
    """Decide what befalls a virtual person; what they mask is recorded in any case.

    Args:
        folder: their state folder.
        drop: the message type of the exchange that they do not answer.
        lost: whether they do answer it, and the answer gets lost.
        die: a point at which their whole process is killed.
    """
    (folder / FAULT).write_text(json.dumps({"drop": drop, "lost": lost, "die": die}), encoding="utf-8")


def suffering(app: ClientApp, folder: Path) -> Callable[[Message, Context], Message]:
    """Give the app as it is for one person: honest, but for what `plan_fault` decided."""

    def answer(message: Message, context: Context) -> Message:
        try:
            fault = json.loads((folder / FAULT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return app(message, context)
        here = message.metadata.message_type == fault["drop"]
        if here and not fault["lost"]:
            return failure(message, DROPPED)
        exchange, _, when = fault["die"].partition(":")
        if when and message.metadata.message_type == f"train.{exchange}":
            arm(when)
        with _recording(folder):
            reply = app(message, context)
        return failure(message, DROPPED) if here else reply

    return answer


def recorded(folder: Path) -> dict[bytes, NDArray[np.uint32]]:
    """Give the integers that a person masked, shape (padded,), by the seed of their round's rotation."""
    found = {}
    for path in folder.glob(RECORDS):
        with np.load(path) as record:
            found[record["seed"].tobytes()] = record["integers"]
    return found


@contextmanager
def _recording(folder: Path) -> Iterator[None]:
    """Keep what is masked, aside from the exit: in a file of the simulation's own."""
    import client.contribution as the_exit  # noqa: PLC0415 - patched below, as a module

    protect = the_exit.protect

    def record(
        vector: NDArray[np.float64], mechanism: Mechanism, seed: bytes, randomness: Randomness
    ) -> NDArray[np.uint32]:
        integers = protect(vector, mechanism, seed, randomness)
        name = RECORDS.replace("*", seed.hex()[:16])
        np.savez(folder / name, integers=integers, seed=np.frombuffer(seed, np.uint8))
        return integers

    the_exit.protect = record
    try:
        yield
    finally:
        the_exit.protect = protect


def mortal(app: ClientApp, context: Context, point: str = "") -> Node:
    """Give a node whose every answer is made by a new process; at `point` that process is killed with SIGKILL."""
    exchange, _, when = point.partition(":")

    def answer(message: Message) -> Message | None:
        dies = bool(point) and message.metadata.message_type == f"train.{exchange}"
        said = _in_a_process_of_its_own(lambda: app(message, context), when if dies else "")
        if said is None:
            return None
        fields, reason = said
        if fields is None:
            return failure(message, reason)
        return Message(RecordDict({"fields": ConfigRecord(fields)}), reply_to=message)

    return answer


def _in_a_process_of_its_own(answer: Callable[[], Message], when: str) -> tuple[Any, str] | None:
    """Give the fields of an answer or the name of an error; None if the process died before it said anything."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(source)
            arm(when)
            reply = answer()
            said = (None, reply.error.reason) if reply.has_error() else (dict(reply.content["fields"]), "")
            with os.fdopen(sink, "wb") as pipe:
                pipe.write(repr(said).encode())
            if when == "replied":
                die()
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return ast.literal_eval(data.decode()) if data else None


def arm(when: str) -> None:
    """Prepare this process to kill itself; it is one that lives for one answer."""
    import client.app  # noqa: PLC0415 - patched below, as modules
    import client.contribution  # noqa: PLC0415
    import client.federation  # noqa: PLC0415
    import client.ledger  # noqa: PLC0415

    exits: dict[str, list[tuple[object, str, bool]]] = {
        "begun": [(client.app, "device", False)],
        "written": [
            (client.federation, "begin", True),
            (client.federation, "advance", True),
            (client.contribution, "advance", True),
        ],
        "saved": [(client.app, "to_fields", False)],
        "unbooked": [(client.contribution, "append", False)],
        "booked": [(client.contribution, "append", True)],
        "unsealed": [(client.ledger, "_renew", False)],
    }
    for module, name, after in exits.get(when, []):
        setattr(module, name, _deadly(getattr(module, name), after=after))


def die() -> NoReturn:
    """Kill this process as a power cut would, with nothing flushed and nothing closed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # never reached


def _deadly(function: Callable[..., object], *, after: bool) -> Callable[..., object]:
    def call(*arguments: object, **named: object) -> object:
        if after:
            function(*arguments, **named)
        die()

    return call
