"""What the pages show, as plain data: read from the registry, nothing of it about any one person."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from common.denoising import denoised, noise_floor
from common.mixture import mean_and_covariance, total
from server.account import spending
from server.difference import difference, directions
from server.sums import EXCHANGES
from server.update import pool
from server.web.charts import Series, bars, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from common.prior import Kind, Prior
    from common.statistics import Moments
    from server.books import Entry
    from server.desk import Desk

SHOWN: Final = 60
"""Rounds in a chart: beyond it bars are thinner than what a finger hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindView:
    """One kind on the front page."""

    kind: Kind
    version: int
    people: int
    cohorts: int
    directions: int
    created: str
    done: int
    aborted: int
    withheld: int
    together: str
    dearest: str


def overview(desk: Desk) -> dict[str, Any]:
    """Gather the front page."""
    entries = desk.registry.rounds(backbone=desk.settings.backbone)
    kinds = [_kind(desk, kind, [entry for entry in entries if entry.kind == kind]) for kind in desk.settings.kinds]
    return {
        "kinds": kinds,
        "withheld": [entry for entry in entries if entry.state == "withheld"],
        "open": desk.registry.open_rounds(),
        "charts": [participation(entries), dropouts(entries), *(_costs(entries, kind) for kind in desk.settings.kinds)],
        "rounds": list(reversed(entries))[:10],
    }


def _kind(desk: Desk, kind: Kind, entries: Sequence[Entry]) -> KindView:
    versions, states = desk.versions(kind), Counter(entry.state for entry in entries)
    latest, costs = versions[-1] if versions else None, spending(entries)
    return KindView(
        kind=kind,
        version=latest.version if latest else 0,
        people=latest.people if latest else 0,
        cohorts=len(latest.cohorts) if latest else 0,
        directions=directions(latest) if latest else 0,
        created=latest.created if latest else "",
        done=states["done"] + states["accepted"],
        aborted=states["aborted"],
        withheld=states["withheld"],
        together=_epsilon(costs[-1].together if costs else 0.0),
        dearest=_epsilon(max((one.epsilon for one in costs), default=0.0)),
    )


def participation(entries: Sequence[Entry]) -> Markup:
    """Draw how many were in each round's sum, and how many were called to it and lost."""
    shown = entries[-SHOWN:]
    return bars(
        "Participation by round",
        [entry.ended.strftime("%d %b") for entry in shown],
        [
            Series("in the sum", "c1", [entry.people for entry in shown]),
            Series("called, not in it", "c3", [max(0, entry.called - entry.people) for entry in shown]),
        ],
    )


def dropouts(entries: Sequence[Entry]) -> Markup:
    """Draw at which exchange people were lost, over the rounds shown."""
    counts: Counter[str] = Counter()
    for entry in entries[-SHOWN:]:
        for what, count in entry.dropouts.items():
            counts[what.split(" ")[0]] += count
    names = [name.removeprefix("train.") for name in EXCHANGES]
    return bars("Dropouts by exchange", names, [Series("lost", "c3", [counts[name] for name in EXCHANGES])])


def _costs(entries: Sequence[Entry], kind: Kind) -> Markup:
    found = spending([entry for entry in entries if entry.kind == kind])[-SHOWN:]
    return lines(
        f"ε over time, {kind} (central, δ = 1e-6)",
        [one.ended.strftime("%d %b") for one in found],
        [
            Series("somebody in every round", "c2", [one.together for one in found]),
            Series("one round", "c1", [one.epsilon for one in found]),
        ],
    )


def version_page(desk: Desk, prior: Prior) -> dict[str, Any]:
    """Gather one version: its spectrum against the noise of its sums, its cohorts, and how it differs from the last."""
    everybody = total(pool(desk.registry.sums_of(prior.rounds), dimensions=prior.public_basis.shape[1]))
    others = desk.versions(prior.kind)
    before = next((one for one in others if one.version == prior.version - 1), None)
    return {
        "prior": prior,
        "spectrum": spectrum(everybody),
        "cohorts": [
            {
                "weight": cohort.weight,
                "mean": float(np.linalg.norm(cohort.mean)),
                "directions": len(cohort.spectrum),
                "spectrum": " ".join(f"{value:.3g}" for value in cohort.spectrum),
                "residual": cohort.residual,
            }
            for cohort in prior.cohorts
        ],
        "difference": difference(before, prior) if before else None,
        "versions": [one.version for one in others],
    }


def spectrum(everybody: Moments) -> Markup:
    """Draw the eigenvalues of what was summed, and how far the noise of the sums alone would reach."""
    values = np.linalg.eigvalsh(mean_and_covariance(everybody)[1])[::-1]
    floor = noise_floor(everybody)
    corrected, kept = denoised(np.asarray(values, dtype=np.float64), floor, len(values))
    reach = float(corrected[-1]) + floor.level if floor.level > 0 else 0.0
    return lines(
        f"Spectrum of all people against the noise floor: {kept} of {len(values)} directions stand above it",
        [str(place + 1) for place in range(len(values))],
        [
            Series("variance along a direction, as summed", "c1", values.tolist()),
            Series("what noise alone reaches", "c3", [reach] * len(values)),
        ],
    )


def _epsilon(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "no noise"
