"""`shoal-server enroll | revoke`: let devices in, and shut them out."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import segno
import typer

from common.enrolment import read_application
from common.errors import ConfigError, ProtocolError
from common.invitation import Invitation, fingerprint, write_code
from server.admission import reconcile
from server.admission import revoke as shut_out
from server.config import Config, read_config
from server.control import control
from server.keys import signing_key
from server.roster import Device, Roster
from server.service.commands import Json, State

app = typer.Typer()


@app.command()
def enroll(
    state: State,
    *,
    label: Annotated[str, typer.Option(help="Your own note on whose it is; it stays here.")] = "",
    count: Annotated[int, typer.Option(help="How many codes, each for one device.", min=1, max=1000)] = 1,
    hours: Annotated[
        float | None, typer.Option(help="How long they are good for. [default: devices.code-hours]")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Instead of a code: a device's key file, of `shoal join`.")] = None,
    code: Annotated[bool, typer.Option("--qr/--no-qr", help="Show a QR code of the link, for phones.")] = True,
    machine: Json = False,
) -> None:
    """Make a code that lets one device in, or take a device's key file."""
    config = read_config(state)
    if key is not None:
        device = _take(config, key, label)
        typer.echo(json.dumps({"identity": device.identity}) if machine else f"let in: {device.identity[:16]}")
        return
    seconds = 3600 * (config.devices.code_hours if hours is None else hours)
    if not 0 < seconds <= 3600 * 8760:
        raise ConfigError(f"--hours must be above 0 and at most 8760, got {seconds / 3600:g}: choose another")
    operator = fingerprint(signing_key(config.state).public_key().public_bytes_raw())
    with Roster(config.state) as roster:
        codes = [write_code(Invitation(operator, roster.invite(label, seconds))) for _ in range(count)]
    server = f"https://{config.federation.address}"
    until = datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="minutes")
    if machine:
        typer.echo(json.dumps([{"code": one, "link": f"{server}/#{one}", "until": until} for one in codes], indent=1))
        return
    for one in codes:
        if code:
            typer.echo(_square(f"{server}/#{one}"))
        typer.echo(f"shoal join {server} {one}")
    typer.echo(f"good for one device each, until {until}")


@app.command()
def revoke(
    state: State,
    device: Annotated[str, typer.Argument(help="Its label, or the beginning of its identity.")],
    *,
    machine: Json = False,
) -> None:
    """Shut a device out, at once and for good. What it gave stays in the sums that it is in: nobody can take it out."""
    config = read_config(state)
    with Roster(config.state) as roster:
        found = roster.find(device)
        done = shut_out(config, roster, found)
    if machine:
        typer.echo(json.dumps({"identity": found.identity, "at_the_superlink": done}))
        return
    typer.echo(f"revoked {found.label or found.identity[:16]}" + ("" if done else "; the SuperLink learns it at start"))


def _take(config: Config, path: Path, label: str) -> Device:
    try:
        application = read_application(path.read_bytes())
    except (OSError, ProtocolError) as error:
        raise ConfigError(f"{path} is no device's key file: `shoal join` writes one, device-key.json") from error
    with Roster(config.state) as roster:
        device = roster.admit(application.identity.hex(), application.node_key, label)
        if device.revoked is not None:
            raise ConfigError("this device was revoked, which is for good: it must join from a fresh state folder")
        try:
            with control(config):
                pass
            reconcile(config, roster)
        except ConfigError:
            pass  # it does not run: `serve` does it
    return device


def _square(text: str) -> str:
    """Draw a QR code (ISO/IEC 18004) in half blocks: two rows of it on one line of the terminal."""
    rows = [[bool(cell) for cell in row] for row in segno.make(text, error="l").matrix_iter(border=2)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(blocks[pair] for pair in zip(*two, strict=True)) for two in pairs)
