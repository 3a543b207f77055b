"""The process of `shoal daemon`: its lock, its signals, its threads."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom
from types import FrameType

from filelock import FileLock, Timeout

from client.activity import Activity, clear_activity, write_activity
from client.conditions import unknown
from client.control import conditions
from client.daemon.loop import Daemon
from client.daemon.rounds import Rounds
from client.machine import ThisMachine
from client.vault import Vault
from client.web.serving import serving
from common.errors import ConfigError, ShoalError, VaultError

LOCK = "daemon.lock"


def serve(home: Path, model: str | None, *, page: bool, forwards: int | None, say: Callable[[str], None]) -> None:
    """Run until a signal asks for the end.

    Args:
        home: the state folder, absolute.
        model: which backbone; None for the default one.
        page: whether to serve the page on loopback.
        forwards: budget of each learning in forward passes; None is the learner's own.
        say: tells the terminal, or the service's log.

    Raises:
        ConfigError: another daemon runs on this state folder.
        VaultError: the vault cannot be opened.
    """
    ended = threading.Event()
    with _alone(home), ExitStack() as stack:
        Vault(home).unlock()  # at once and not in the middle of the night: here somebody can be asked
        write_activity(home, Activity(doing="starting", reason="it has just been started"))
        stack.callback(clear_activity, home)
        daemon = Daemon(home=home, model=model, machine=ThisMachine(), forwards=forwards, say=say)

        def end() -> None:
            ended.set()
            daemon.woken.set()

        _on_signals(stack, end)
        rounds = Rounds(home, daemon.machine, daemon.woken.set, SystemRandom())
        daemon.federation = lambda: rounds.status
        daemon.heard = rounds.look
        if page:
            daemon.page = _page(stack, home, model, say)
        rounds.start()
        stack.callback(rounds.close)
        for name in unknown(conditions(home), daemon.machine):
            say(f"this machine cannot tell about {name}: that condition never hinders")
        say(f"running on {home}; `shoal status` tells what it does, Ctrl-C ends it")
        daemon.run(ended)
    say("ended")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Be the one daemon of a state folder."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(home / LOCK, timeout=0, mode=0o600):
            yield
    except Timeout as error:
        raise ConfigError(f"a daemon runs on {home} already: `shoal status` tells what it does") from error
    except OSError as error:
        raise VaultError(f"cannot write to {home} ({error.strerror}): make room or choose another --home") from error


def _page(stack: ExitStack, home: Path, model: str | None, say: Callable[[str], None]) -> str | None:
    """Serve the page, or say why not: the daemon works without it."""
    try:
        return stack.enter_context(serving(home, model))
    except (ShoalError, OSError) as error:
        say(f"there is no page: {error}")
        return None


def _on_signals(stack: ExitStack, end: Callable[[], object]) -> None:
    """End in order at the first Ctrl-C or SIGTERM; a second one ends at once."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        restore()
        end()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    stack.callback(restore)
