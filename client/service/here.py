"""Which kind of service this machine has, and where its file belongs."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.service import launchd, systemd, windows
from client.service.installation import Installation
from client.service.plan import Plan
from common.errors import ConfigError

UNPROTECTED = (
    "this system allows no user namespaces, so the service is less confined than it could be: see the file's comments"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is asked of the machine."""

    platform: str = sys.platform
    person: str = field(default_factory=getpass.getuser)
    folder: Path = field(default_factory=Path.home)
    """The person's home folder."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    number: int = field(default_factory=getattr(os, "getuid", lambda: 0))
    """The person's user id."""
    namespaces: bool = field(default_factory=systemd.namespaces_allowed)


def installation(plan: Plan, machine: Machine) -> Installation:
    """Return how this machine keeps the daemon running.

    Raises:
        ConfigError: no way is known.
    """
    if machine.platform == "linux":
        return _systemd(plan, machine)
    if machine.platform == "darwin":
        return _launchd(plan, machine)
    if machine.platform == "win32":
        return _windows(plan, machine)
    raise ConfigError(f"no service is known for {machine.platform}: keep `shoal daemon` running by means of your own")


def _systemd(plan: Plan, machine: Machine) -> Installation:
    folder = Path(machine.environment.get("XDG_CONFIG_HOME") or machine.folder / ".config") / "systemd" / "user"
    control = ("systemctl", "--user")
    return Installation(
        file=folder / systemd.FILE,
        content=systemd.unit(plan, namespaces=machine.namespaces).encode(),
        start=((*control, "daemon-reload"), (*control, "enable", systemd.FILE), (*control, "restart", systemd.FILE)),
        stop=((*control, "disable", "--now", systemd.FILE),),
        forget=((*control, "daemon-reload"),),
        running=(*control, "is-active", "--quiet", systemd.FILE),
        note="" if machine.namespaces else UNPROTECTED,
    )


def _launchd(plan: Plan, machine: Machine) -> Installation:
    file = machine.folder / "Library" / "LaunchAgents" / launchd.FILE
    session = f"gui/{machine.number}"
    service = f"{session}/{launchd.LABEL}"
    return Installation(
        file=file,
        content=launchd.plist(plan),
        # A label that is known already cannot be read in again; `bootout` fails where there is none, hence the shell.
        start=(
            ("/bin/sh", "-c", f"launchctl bootout {service} 2>/dev/null; true"),
            ("launchctl", "bootstrap", session, str(file)),
        ),
        stop=(("launchctl", "bootout", service),),
        running=("launchctl", "print", service),
    )


def _windows(plan: Plan, machine: Machine) -> Installation:
    file = plan.home / "service.xml"
    domain = machine.environment.get("USERDOMAIN")
    person = f"{domain}\\{machine.person}" if domain else machine.person
    ask = f"exit [int]((Get-ScheduledTask -TaskName {windows.TASK}).State -ne 'Running')"  # schtasks answers in words
    return Installation(
        file=file,
        content=windows.task(plan, person),
        start=(
            ("schtasks", "/Create", "/TN", windows.TASK, "/XML", str(file), "/F"),
            ("schtasks", "/Run", "/TN", windows.TASK),
        ),
        stop=(("schtasks", "/End", "/TN", windows.TASK), ("schtasks", "/Delete", "/TN", windows.TASK, "/F")),
        running=("powershell", "-NoProfile", "-Command", ask),
        registered=("schtasks", "/Query", "/TN", windows.TASK, "/XML"),
    )
