"""Has pictures drawn for the page, one order after the other, each by a child process that ends afterwards."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from client.database import Database
from client.sealing import hand_down
from common.errors import ConfigError, ShoalError

if TYPE_CHECKING:
    from pathlib import Path

KEPT: Final = 12
"""Orders that are remembered, in memory only: what was drawn is nowhere on the disk unless the person saves it."""
KEPT_BYTES: Final = 32 * 2**20
"""Of pictures; the oldest orders go first."""
WAITING: Final = 8
"""Orders that may wait at once."""

PAINTER: Final = (sys.executable, "-P", "-m", "client.web.painter")
CLOSING_SECONDS: Final = 10.0

State = Literal["waiting", "drawing", "done", "stopped", "failed"]
Purpose = Literal["drawing", "pair", "course"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One prompt, drawn from some seeds."""

    prompt: str
    seeds: tuple[int, ...]
    negative: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A concept in those prompts."""

    name: str
    vectors: tuple[tuple[float, ...], ...]
    """Shape (tokens, width)."""
    backbone: str = ""
    """Fingerprint of the model that it was learned on; empty for whichever is there."""
    stages: int = 1
    """Of denoising; the vectors are theirs, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks to be drawn."""

    sheets: tuple[Sheet, ...]
    tokens: tuple[Token, ...] = ()
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    """How far the taste is followed; None leaves it out."""
    tastes: tuple[tuple[float, ...], ...] = ()
    """Of a pair that is drawn again: what each picture was drawn with; of a new pair none, they are chosen."""
    purpose: Purpose = "drawing"
    subject: str = ""
    """Which concept's course it is."""

    @property
    def needs_vault(self) -> bool:
        """Whether whoever draws it has to know what is believed of the taste."""
        return self.strength is not None or self.purpose == "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One that is finished."""

    key: str
    """What it is called in addresses: tells nothing."""
    sheet: int
    seed: int
    png: bytes
    taste: tuple[float, ...] = ()
    """Vector of the taste that it was drawn with, (width,); none where there was none."""


Finished = Callable[[Picture], None]


def _nobody(_picture: Picture) -> None:
    """Need not be told."""


@dataclass(slots=True, kw_only=True, eq=False)
class Order:
    """One order and how far it is."""

    number: int
    wanted: Wanted
    finished: Finished = _nobody
    state: State = "waiting"
    problem: str = ""
    """Why it failed, and what to do."""
    steps_done: float = 0.0
    """Of one picture each."""
    made: dict[str, Any] = field(default_factory=dict)
    """By what: ``backbone``, ``steps``, ``guidance``; empty until the model is loaded."""
    pictures: list[Picture] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Pictures wanted."""
        return sum(len(sheet.seeds) for sheet in self.wanted.sheets)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.steps_done / (self.count * self.made["steps"])) if self.made else 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in {"done", "stopped", "failed"}


class Studio:
    """The orders of one page."""

    def __init__(self, model: str | None, home: Path | None = None, command: tuple[str, ...] = PAINTER) -> None:
        """Draw with that model; nothing is started before the first order.

        Args:
            model: which backbone; None for the default one.
            home: the state folder in whose vault the taste is; None where no order needs it.
            command: what draws.
        """
        self._model, self._home, self._command = model, home, command
        self._orders: deque[Order] = deque()
        self._changed = threading.Condition()
        self._child: subprocess.Popen[str] | None = None
        self._closed = False
        self._worker: threading.Thread | None = None
        self._last = 0

    def order(self, wanted: Wanted, finished: Finished = _nobody) -> Order:
        """Have something drawn; return at once.

        Args:
            wanted: what.
            finished: told of each picture, in the studio's thread.

        Raises:
            ConfigError: too many orders wait already.
        """
        with self._changed:
            if sum(not order.over for order in self._orders) >= WAITING:
                raise ConfigError(f"{WAITING} drawings are waiting already: stop one, or wait")
            self._last += 1
            order = Order(number=self._last, wanted=wanted, finished=finished)
            self._orders.append(order)
            self._forget_old()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="studio", daemon=True)
                self._worker.start()
            self._changed.notify()
        return order

    def orders(self, purpose: Purpose) -> list[Order]:
        """Return what is remembered of one purpose, newest first."""
        return [order for order in reversed(tuple(self._orders)) if order.wanted.purpose == purpose]

    def find(self, number: int) -> Order | None:
        """Return an order; None where it is forgotten or never was."""
        return next((order for order in tuple(self._orders) if order.number == number), None)

    def picture(self, key: str) -> Picture | None:
        """Return a picture by its key."""
        return next((one for order in tuple(self._orders) for one in tuple(order.pictures) if one.key == key), None)

    def stop(self, order: Order) -> None:
        """Draw no more of an order; what is finished stays."""
        with self._changed:
            if order.state == "drawing" and self._child is not None:
                self._child.kill()
            if not order.over:
                order.state = "stopped"

    def drop(self, order: Order) -> None:
        """Forget an order and its pictures."""
        with self._changed, contextlib.suppress(ValueError):
            self._orders.remove(order)

    def close(self) -> None:
        """Stop everything, and wait until the child is gone."""
        with self._changed:
            self._closed = True
            for order in self._orders:
                self.stop(order)
            self._changed.notify()
        if self._worker is not None:
            self._worker.join(CLOSING_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                order = self._next()
                if self._closed or order is None:
                    return
                order.state = "drawing"
                self._child = self._start()
            self._follow(order, self._child)

    def _next(self) -> Order | None:
        return next((order for order in self._orders if order.state == "waiting"), None)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own program
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the model libraries quote prompts that are too long
            text=True,
            encoding="utf-8",
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )

    def _follow(self, order: Order, child: subprocess.Popen[str]) -> None:
        """Tell the child what is wanted and take what comes, until it ends."""
        asking, answers = child.stdin, child.stdout
        try:
            if asking is not None and answers is not None:
                told = asdict(order.wanted) | {"model": self._model} | self._vault(order.wanted)
                with contextlib.suppress(OSError):  # it ended at once: said below
                    asking.write(json.dumps(told) + "\n")
                    asking.flush()
                for line in answers:
                    self._take(order, json.loads(line))
        except ShoalError as error:
            order.problem = str(error)
        finally:
            child.kill()
            child.wait()
            with self._changed:
                self._child = None
                if not order.over:
                    order.state = "done" if len(order.pictures) == order.count else "failed"
                    if order.state == "failed" and not order.problem:
                        order.problem = "the drawing ended unexpectedly, perhaps for lack of memory: try fewer at once"

    def _vault(self, wanted: Wanted) -> dict[str, str]:
        """Return where the vault is, and its key, for an order that needs them."""
        if self._home is None or not wanted.needs_vault:
            return {}
        with Database(self._home).transaction() as rows:
            return {"home": str(self._home), "key": hand_down(rows)}

    def _take(self, order: Order, answer: dict[str, Any]) -> None:
        if "error" in answer:
            order.problem = answer["error"]
        elif "progress" in answer:
            order.steps_done += answer["progress"]
        elif "png" in answer:
            png = base64.b64decode(answer["png"], validate=True)
            picture = Picture(
                key=secrets.token_hex(12),
                sheet=answer["sheet"],
                seed=answer["seed"],
                png=png,
                taste=tuple(answer.get("taste", ())),
            )
            order.pictures.append(picture)
            order.finished(picture)
        else:
            order.made = answer

    def _forget_old(self) -> None:
        """Keep memory bounded; what is still under way stays."""
        while len(self._orders) > KEPT or self._bytes() > KEPT_BYTES:
            oldest = next((order for order in self._orders if order.over), None)
            if oldest is None:
                return
            self._orders.remove(oldest)

    def _bytes(self) -> int:
        return sum(len(one.png) for order in self._orders for one in order.pictures)
