"""`make demo` in small: real learning, real rounds, a report."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from client.priors import current_prior

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_demo_learns_holds_rounds_and_reports(tmp_path):
    command = [Path(sys.executable).with_name("shoal-sim"), "demo", "--small", "--out", tmp_path / "demo"]
    loud = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
    ran = subprocess.run(
        command, cwd=ROOT, env=loud | {"HF_HUB_OFFLINE": "1"}, check=True, timeout=1500, capture_output=True, text=True
    )
    assert "newcomers drawn: 2 of 2" in ran.stdout
    assert "requires torchvision" not in ran.stderr
    assert "matplotlib" not in ran.stderr
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert (report["people"], report["rounds"], report["new_people"]) == (12, 2, 2)
    assert set(report["forwards_to_target"]) == {"zoodip_reference", "without_prior", "with_prior"}
    for key in ("target", "gradient_baseline_loss", "seconds", "peak_memory_mb"):
        assert report[key]
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("data:image/png") >= 2 * (3 * 3 + 1)
    newcomer = tmp_path / "demo" / "people" / "13"
    registry = sqlite3.connect(tmp_path / "demo" / "server" / "registry.sqlite")
    [(fingerprint,)] = registry.execute("SELECT DISTINCT backbone FROM priors").fetchall()
    for kind, people in (("object", 6), ("style", 6)):
        prior = current_prior(newcomer, fingerprint, kind)
        assert prior is not None
        assert (prior.version, prior.people) == (2, people)
