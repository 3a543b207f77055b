"""`shoal daemon` and the words that it obeys: status, pause, resume, watch, unwatch, conditions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from client.activity import read_activity
from client.control import conditions as read_conditions
from client.control import is_paused, set_conditions, watched
from client.control import pause as ask_pause
from client.control import resume as ask_resume
from client.control import unwatch as ask_unwatch
from client.control import watch as ask_watch
from client.daemon.telling import described
from client.options import Home, Json, Model
from client.settings import Watched
from client.taste.standing import standing
from common.errors import ConfigError


def daemon(
    *,
    model: Model = None,
    page: Annotated[bool, typer.Option(help="Serve the page for `shoal open`.")] = True,
    forwards: Annotated[int | None, typer.Option(help="Forward passes to spend at most on each set.")] = None,
    home: Home,
) -> None:
    """Learn what lies in the watched folders when it may, and take part in rounds. Ctrl-C ends it in order."""
    from client.daemon.program import serve  # noqa: PLC0415 - what other commands need not load

    console = Console()
    serve(home.absolute(), model, page=page, forwards=forwards, say=lambda text: _print(console, text))


def status(*, machine: Json = False, home: Home) -> None:
    """Say what the daemon does now and why, or why it does nothing; exit code 3 if it does not run."""
    activity, folders = read_activity(home), watched(home)
    if machine:
        told: dict[str, Any] = {"running": activity is not None, "paused": is_paused(home)}
        told["activity"] = None if activity is None else asdict(activity)
        told["taste"] = asdict(standing(home))
        told["watched"] = [asdict(one) | {"folder": str(one.folder)} for one in folders]
        typer.echo(json.dumps(told, indent=1))
    else:
        for line in described(activity, folders, paused=is_paused(home)):
            _print(Console(), line)
        _print(Console(), f"your taste: {standing(home).in_words}")
    if activity is None:
        raise typer.Exit(3)


def pause(*, home: Home) -> None:
    """Have the daemon do nothing until you say otherwise; what was begun is kept."""
    ask_pause(home)
    _print(Console(), "paused: `shoal resume` goes on")


def resume(*, home: Home) -> None:
    """Have the daemon go on."""
    ask_resume(home)
    hint = "" if read_activity(home) else "; it does not run: `shoal service install` starts it, or `shoal daemon`"
    _print(Console(), f"resumed{hint}")


def watch(
    folder: Annotated[Path | None, typer.Argument(help="A folder with photos of one thing. None lists them.")] = None,
    *,
    name: Annotated[str, typer.Option(help="What to call it: my-dog stands as <my-dog> in prompts.")] = "",
    class_word: Annotated[str, typer.Option("--class", help="What it is one of: dog. Not needed for a style.")] = "",
    kind: Annotated[Literal["object", "style"], typer.Option(help="A thing, or a way of drawing.")] = "object",
    machine: Json = False,
    home: Home,
) -> None:
    """Have the daemon learn a folder of photos, and again when they change."""
    if folder is not None:
        if not name:
            raise ConfigError("a watched folder needs --name, what to call what it shows, as in --name my-dog")
        one = Watched(folder=folder.expanduser().absolute(), name=name, kind=kind, class_word=class_word)
        ask_watch(home, one)
        if not machine:
            _print(Console(), f"watching {one.folder}: everything in it is taken for <{name}>")
    if machine:
        typer.echo(json.dumps([asdict(one) | {"folder": str(one.folder)} for one in watched(home)], indent=1))
    elif folder is None:
        for one in watched(home):
            _print(Console(), f"<{one.name}>  {one.class_word or one.kind}  {one.folder}")


def unwatch(name: Annotated[str, typer.Argument(help="The concept's name.")], *, home: Home) -> None:
    """Watch a folder no longer. What was learned of it stays; `shoal forget` deletes it."""
    if not ask_unwatch(home, name):
        raise ConfigError(f"no watched folder is called {name}: `shoal watch` lists them")
    _print(Console(), f"the folder of <{name}> is watched no longer")


def conditions(
    *,
    idle: Annotated[float | None, typer.Option(help="Learn after so many idle minutes; 0: at any time.")] = None,
    power: Annotated[bool | None, typer.Option("--power/--battery", help="Only on power, or on battery too.")] = None,
    hottest: Annotated[float | None, typer.Option(help="Learn up to so many °C; 0: at any temperature.")] = None,
    unmetered: Annotated[
        bool | None, typer.Option("--unmetered/--metered", help="Rounds only where the network is free, or always.")
    ] = None,
    hours: Annotated[str | None, typer.Option(help='Only between these hours: 22:00-07:00; "" for any.')] = None,
    machine: Json = False,
    home: Home,
) -> None:
    """Show or change when the daemon may work. All conditions must hold."""
    asked = {"idle_minutes": idle, "on_power": power, "hottest": hottest, "unmetered": unmetered, "hours": hours}
    changes = {key: value for key, value in asked.items() if value is not None}
    found = set_conditions(home, **changes) if changes else read_conditions(home)
    if machine:
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    for key, value in asdict(found).items():
        _print(Console(), f"{key:13} {value if value != '' else 'any'}")


def register(app: typer.Typer) -> None:
    """Add these commands to `shoal`."""
    for command in (daemon, status, pause, resume, watch, unwatch, conditions):
        app.command()(command)


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
