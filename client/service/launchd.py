"""macOS: an agent of the person's own launchd session."""

from __future__ import annotations

import plistlib

from client.service.plan import Plan

LABEL = "shoal.daemon"
FILE = f"{LABEL}.plist"


def plist(plan: Plan) -> bytes:
    """Return the agent's property list (launchd.plist(5)).

    launchd has no confinement and no bound of memory for an agent: "Background" makes everything else come first.
    """
    log = str(plan.home / "daemon.log")
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(plan.command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 60,
            "ExitTimeOut": 60,
            "ProcessType": "Background",
            "LowPriorityIO": True,
            "Nice": 10,
            "Umask": 0o077,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )
