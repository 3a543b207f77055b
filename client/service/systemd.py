"""Linux: a unit of the person's own systemd, confined to the state folder."""

from __future__ import annotations

from pathlib import Path

from client.service.plan import DESCRIPTION, Plan
from common.errors import ConfigError

FILE = "shoal.service"
REFUSED = "\"'\\"
"""Characters that systemd 252 takes in no program's path, however quoted."""

UNIT = """\
# Written by `shoal service install`; that command tells when it was changed by hand, and then leaves it alone.
[Unit]
Description={description}
Documentation=man:systemd.exec(5)

[Service]
ExecStart=:{command}
Restart=on-failure
RestartSec=60
TimeoutStopSec=60
Slice=background.slice

# Others come first.
Nice=10
IOSchedulingClass=idle
MemoryHigh=50%
MemoryMax=60%
TasksMax=128
OOMScoreAdjust=500

# What it may do. MemoryDenyWriteExecute= is missing on purpose: matrix libraries write the code that they run.
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{confinement}
[Install]
WantedBy=default.target
"""

CONFINED = """
# What it sees: photos and models to read, its state folder to write, no devices. Learning on a GPU needs the devices.
PrivateUsers=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# What would be written elsewhere in the home folder.
Environment={flower}
Environment=HF_HUB_OFFLINE=1
"""

UNCONFINED = """
# This system allows no user namespaces, without which a person's own systemd cannot hide or protect folders:
# ProtectSystem=, ProtectHome=, PrivateTmp= and PrivateDevices= are left out.
"""


def unit(plan: Plan, *, namespaces: bool) -> str:
    """Return the unit's text (systemd.service(5), systemd.exec(5), systemd.resource-control(5); systemd 252).

    Args:
        plan: what it runs.
        namespaces: whether the system lets a person make user namespaces. The settings that hide folders need one in
            a person's own systemd, and with them a unit fails to start where there are none (226/NAMESPACE).

    Raises:
        ConfigError: the program lies where systemd starts none.
    """
    if any(character in plan.program[0] for character in REFUSED):
        raise ConfigError(f"systemd starts no program with a quote or backslash in its path: move {plan.program[0]}")
    command = " ".join(quoted(part) for part in plan.command)  # after the colon a dollar is a dollar
    flower = quoted(f"FLWR_HOME={plan.home / 'flower'}")
    confinement = CONFINED.format(home=quoted(str(plan.home)), flower=flower) if namespaces else UNCONFINED
    return UNIT.format(description=DESCRIPTION, command=command, confinement=confinement)


def quoted(text: str) -> str:
    """Return a word as units spell it (systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers")."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def namespaces_allowed(settings: Path = Path("/proc/sys")) -> bool:
    """Return whether an ordinary person may make user namespaces here: not on Ubuntu since 23.10, for one."""
    forbidding = {
        "kernel/apparmor_restrict_unprivileged_userns": "1",
        "kernel/unprivileged_userns_clone": "0",
        "user/max_user_namespaces": "0",
    }
    return not any(_read(settings / name) == value for name, value in forbidding.items())


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
