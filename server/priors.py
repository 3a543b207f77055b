"""`shoal-server priors ...`: every version there is, what is in it, and how to get another."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from common.errors import ConfigError, PriorError
from common.prior import KINDS, SignedPrior, decode_prior, encode_prior, open_prior
from server.desk import Desk, desk, now, one_kind
from server.difference import difference, directions
from server.keys import signing_key
from server.publication import remake, software
from server.service.commands import Json, State
from server.succession import signed_now, succession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.prior import Prior

app = typer.Typer(help="Versions of priors.", no_args_is_help=True)

KindName = Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))]
_ALIKE: Final = 1e-9
"""How far the numbers of a version made again may be off on another machine, whose LAPACK rounds otherwise."""


@app.command("list")
def list_(state: State, *, machine: Json = False) -> None:
    """List all versions."""
    with desk(state) as open_desk:
        found = [_summary(prior) for kind in KINDS for prior in open_desk.versions(kind)]
    _tell(found, found, machine=machine, empty="no prior yet: it takes a round of enough people")


@app.command()
def show(
    state: State,
    kind: KindName,
    version: Annotated[int | None, typer.Argument(help="[default: the latest]")] = None,
    *,
    machine: Json = False,
) -> None:
    """Show one version: its people, rounds and cohorts."""
    with desk(state) as open_desk:
        prior = open_desk.version(one_kind(kind), version)
    cohorts = [
        {
            "weight": cohort.weight,
            "mean_norm": float(np.linalg.norm(cohort.mean)),
            "spectrum": cohort.spectrum.tolist(),
            "residual": cohort.residual,
        }
        for cohort in prior.cohorts
    ]
    full = {**_summary(prior), "backbone": prior.backbone, "round_ids": list(prior.rounds), "cohort_list": cohorts}
    _tell(full, cohorts, machine=machine, title=f"{kind} version {prior.version}, {prior.people} people")


@app.command()
def diff(state: State, kind: KindName, first: int, second: int, *, machine: Json = False) -> None:
    """Say how two versions differ."""
    with desk(state) as open_desk:
        found = asdict(difference(open_desk.version(one_kind(kind), first), open_desk.version(one_kind(kind), second)))
    _tell(found, [found], machine=machine, title=f"{kind} version {second} against {first}")


@app.command()
def publish(
    state: State,
    kind: KindName,
    *,
    accept: Annotated[str, typer.Option(help="A withheld or rejected round that shall count as well.")] = "",
    machine: Json = False,
) -> None:
    """Make the next version of all sums that no version has yet; with a round that was withheld, if you say so."""
    with desk(state) as open_desk:
        if accept and open_desk.kind_of(accept) != one_kind(kind):
            raise ConfigError(f"round {accept} is of another kind than {kind}: see `rounds list`")
        prior = open_desk.accept(accept) if accept else open_desk.publisher().advance(one_kind(kind), now())
    _told(prior, machine=machine)


@app.command()
def rollback(state: State, kind: KindName, version: int, *, machine: Json = False) -> None:
    """Publish an earlier version's numbers as the next version, and leave out the rounds that came after it."""
    with desk(state) as open_desk:
        prior = open_desk.publisher().roll_back(one_kind(kind), version, now())
    _told(prior, machine=machine)


@app.command()
def export(
    state: State,
    kind: KindName,
    version: Annotated[int | None, typer.Argument(help="[default: the latest]")] = None,
    *,
    out: Annotated[Path, typer.Option(help="The file; its signature goes beside it, with .sig added.")],
    machine: Json = False,
) -> None:
    """Write a version as devices get it, and its signature."""
    with desk(state) as open_desk:
        prior = open_desk.version(one_kind(kind), version)
        folder = open_desk.settings.state_folder
        signed = signed_now(_signed(open_desk, prior), signing_key(folder), succession(folder))
    signature = out.with_name(f"{out.name}.sig")
    out.write_bytes(signed.payload)
    signature.write_bytes(signed.signature)
    found = {"version": prior.version, "payload": str(out), "signature": str(signature)}
    _tell(found, [found], machine=machine)


@app.command()
def verify(
    state: State,
    *,
    kind: Annotated[str, typer.Option(help="[default: all]")] = "",
    machine: Json = False,
) -> None:
    """Check every version: its signature, its bounds, and that its numbers follow from the sums on record."""
    kinds = (one_kind(kind),) if kind else KINDS
    with desk(state) as open_desk:
        found = [
            {"kind": prior.kind, "version": prior.version, "verdict": verdict(open_desk, prior)}
            for name in kinds
            for prior in open_desk.versions(name)
        ]
    _tell(found, found, machine=machine, empty="no prior yet")
    if bad := [one for one in found if not str(one["verdict"]).startswith("good")]:
        raise ConfigError(f"{len(bad)} of {len(found)} versions do not verify: see above, and restore a backup")


def verdict(open_desk: Desk, prior: Prior) -> str:
    """Say whether a version is what it says."""
    key = signing_key(open_desk.settings.state_folder)
    try:
        signed = signed_now(_signed(open_desk, prior), key, succession(open_desk.settings.state_folder))
        open_prior(signed, public_key=key.public_key(), backbone=prior.backbone, width=len(prior.public_basis))
        again = remake(open_desk.registry, prior)
    except (PriorError, ConfigError) as error:
        return str(error)
    if again is not None and encode_prior(again) == encode_prior(prior):
        return "good: signed, and its sums give it to the last byte"
    if again is not None and _alike(again, prior):
        return "good: signed, and its sums give it but for rounding"
    made_with = open_desk.registry.fit_of(prior.backbone, prior.kind, prior.version).get("software")
    if made_with != software():
        return "signed; made by another version of Shoal, whose mathematics are not these: verify it with that one"
    return "its sums do not give it: somebody changed numbers and signed them"


def _alike(first: Prior, second: Prior) -> bool:
    if first.people != second.people or len(first.cohorts) != len(second.cohorts):
        return False
    return all(
        one.spectrum.shape == other.spectrum.shape
        and np.allclose(one.mean, other.mean, rtol=0, atol=_ALIKE)
        and np.allclose(one.spectrum, other.spectrum, rtol=_ALIKE)
        and np.allclose(np.abs(np.sum(one.basis * other.basis, axis=0)), 1.0, atol=1e-6)
        and abs(one.weight - other.weight) <= _ALIKE
        for one, other in zip(first.cohorts, second.cohorts, strict=True)
    )


def _signed(open_desk: Desk, prior: Prior) -> SignedPrior:
    found = open_desk.registry.versions(prior.backbone, prior.kind)
    return next(signed for signed in found if decode_prior(signed.payload).version == prior.version)


def _summary(prior: Prior) -> dict[str, Any]:
    return {
        "kind": prior.kind,
        "version": prior.version,
        "people": prior.people,
        "rounds": len(prior.rounds),
        "cohorts": len(prior.cohorts),
        "directions": directions(prior),
        "created": prior.created,
    }


def _told(prior: Prior | None, *, machine: bool) -> None:
    found = _summary(prior) if prior else {"version": None}
    empty = "nothing was published: no new sum counts, or people do not stand out from the noise yet"
    _tell(found, [found] if prior else [], machine=machine, empty=empty)


def _tell(full: object, rows: Sequence[dict[str, Any]], *, machine: bool, title: str = "", empty: str = "") -> None:
    """Print as JSON, or as a table of the rows."""
    if machine:
        typer.echo(json.dumps(full, indent=1))
        return
    if not rows:
        typer.echo(empty)
        return
    table = Table(*rows[0], title=title or None)
    for row in rows:
        table.add_row(*(_short(value) for value in row.values()))
    Console().print(table)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return " ".join(_short(one) for one in value)
    return str(value)
