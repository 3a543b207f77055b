from __future__ import annotations

import subprocess
import sys


def test_the_daemon_itself_loads_neither_a_model_library_nor_flower_nor_the_accountant():
    """They are its children's, so that waiting stays small; see tests/e2e/test_daemon.py for the megabytes."""
    heavy = {"torch", "diffusers", "transformers", "PIL", "flwr", "scipy", "dp_accounting"}
    code = f"import sys, client.cli, client.daemon.program; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
