"""Figures for Prometheus, read from the registry at each scrape: counts and costs of rounds, nothing about anybody."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from server.account import spending
from server.desk import desk
from server.difference import directions
from server.sums import EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prometheus_client import Metric

    from common.prior import Kind
    from server.books import Entry
    from server.desk import Desk

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
STATES: Final = ("done", "aborted", "withheld", "accepted", "rejected")
_CAUSES: Final = ("silent", "refused")
"""Causes by name; all others are text from devices, which may write what they like, and count as `error`."""


class _Collector:
    """What `prometheus_client` asks at each scrape."""

    def __init__(self, opened: Desk) -> None:
        self._desk = opened

    def collect(self) -> Iterator[Metric]:
        """Read the registry once and give all figures."""
        entries = self._desk.registry.rounds(backbone=self._desk.settings.backbone)
        still = GaugeMetricFamily("shoal_rounds_open", "Rounds that are being held.")
        still.add_metric([], len(self._desk.registry.open_rounds()))
        yield still
        rounds = CounterMetricFamily("shoal_rounds", "Rounds by what became of them.", labels=["kind", "state"])
        people = CounterMetricFamily("shoal_contributions", "Contributions in sums.", labels=["kind"])
        lost = CounterMetricFamily("shoal_dropouts", "People lost.", labels=["kind", "exchange", "cause"])
        seconds = CounterMetricFamily("shoal_round_seconds", "Time in rounds.", labels=["kind"])
        for kind in self._desk.settings.kinds:
            mine = [entry for entry in entries if entry.kind == kind]
            states = Counter(entry.state for entry in mine)
            for state in STATES:
                rounds.add_metric([kind, state], states[state])
            people.add_metric([kind], sum(entry.people for entry in mine))
            seconds.add_metric([kind], sum((entry.ended - entry.started).total_seconds() for entry in mine))
            for (exchange, cause), count in sorted(_lost(mine).items()):
                lost.add_metric([kind, exchange, cause], count)
        yield from (rounds, people, lost, seconds)
        yield from self._gauges(entries)

    def _gauges(self, entries: Sequence[Entry]) -> Iterator[Metric]:
        found = {
            "shoal_prior_version": "Latest version of the prior.",
            "shoal_prior_people": "People in it.",
            "shoal_prior_directions": "Directions that stand out of the noise, over all cohorts.",
            "shoal_epsilon_together": "Central epsilon of somebody who was in every round; +Inf without noise.",
            "shoal_last_round_timestamp_seconds": "When the latest round ended, Unix time.",
        }
        gauges = {name: GaugeMetricFamily(name, text, labels=["kind"]) for name, text in found.items()}
        for kind in self._desk.settings.kinds:
            for name, value in self._values(kind, [entry for entry in entries if entry.kind == kind]).items():
                gauges[name].add_metric([kind], value)
        yield from gauges.values()

    def _values(self, kind: Kind, mine: Sequence[Entry]) -> dict[str, float]:
        versions, costs = self._desk.versions(kind), spending(mine)
        latest = versions[-1] if versions else None
        return {
            "shoal_prior_version": latest.version if latest else 0,
            "shoal_prior_people": latest.people if latest else 0,
            "shoal_prior_directions": directions(latest) if latest else 0,
            "shoal_epsilon_together": costs[-1].together if costs else 0.0,
            "shoal_last_round_timestamp_seconds": mine[-1].ended.timestamp() if mine else math.nan,
        }


def _lost(entries: Sequence[Entry]) -> Counter[tuple[str, str]]:
    """Count dropouts by exchange and cause; only names of ours become labels."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for what, count in entry.dropouts.items():
            exchange, _, cause = what.rpartition(" ")
            name = exchange.removeprefix("train.") if exchange in EXCHANGES else "any"
            counts[name, cause if cause in _CAUSES else "error"] += count
    return counts


def exposition(state: Path) -> bytes:
    """Give all figures of a state folder in Prometheus' text format."""
    with desk(state) as opened:
        registry = CollectorRegistry()
        registry.register(_Collector(opened))
        return generate_latest(registry)
