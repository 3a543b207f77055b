"""A demo says how far it is, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from simulations.demo import _bars, _told


@pytest.mark.parametrize("terminal", [True, False])
def test_results_pass_through_and_a_log_has_a_line_for_each(terminal):
    log = io.StringIO()
    with _bars(Console(file=log, force_terminal=terminal, width=80)) as bars:
        for number, result in enumerate(_told(bars, iter("abc"), 3, "people learn"), start=1):
            assert result == "abc"[number - 1]
            assert (f"people learn: {number} of 3" in log.getvalue()) is not terminal
    assert "3/3" in log.getvalue()
