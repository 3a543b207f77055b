"""The unit that keeps `shoal-server serve` running (systemd.service(5), systemd.exec(5), systemd 252)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from common.errors import ConfigError

FILE: Final = "shoal-server.service"
_REFUSED: Final = "\"'\\%$"
"""Characters that a unit would read otherwise, or that systemd takes in no path."""
_UNIT: Final = """\
# Written by `shoal-server unit`. To install: write it to /etc/systemd/system/{file}, then
#   systemctl daemon-reload && systemctl enable --now {file}
[Unit]
Description=Shoal server: rounds, enrolment and the proxy in front of them
Documentation=man:systemd.exec(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
ExecStart={command}
Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=120
LimitNOFILE=16384

# What it sees: the system to read, its state folder to write, nothing of anybody's home but that.
UMask=0077
ProtectSystem=strict
{home}
ReadWritePaths="{state}"
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes

# What it may do. MemoryDenyWriteExecute= is missing on purpose: libraries of numbers write the code that they run.
NoNewPrivileges=yes
{capabilities}
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(state: Path, user: str, *, port: int, program: Path | None = None) -> str:
    """Give the unit's text.

    Args:
        state: the state folder.
        user: the account that it runs as; the state folder is its own.
        port: of the proxy; below 1024 the account needs the one capability for that.
        program: `shoal-server`; by default the one beside this Python.

    Raises:
        ConfigError: a path has characters that no unit can hold.
    """
    program, state = program or Path(sys.executable).with_name("shoal-server"), state.absolute()
    for path in (program, state):
        if any(character in _REFUSED or not character.isprintable() for character in str(path)):
            raise ConfigError(f"systemd cannot be given the path {path}: move it to one without quotes, % and $")
    at_home = [path for path in (program, state) if path.is_relative_to("/home") or path.is_relative_to("/root")]
    low = "CAP_NET_BIND_SERVICE" if port < 1024 else ""
    return _UNIT.format(
        file=FILE,
        user=user,
        command=f'"{program}" serve "{state}"',
        state=state,
        home="ProtectHome=read-only" if at_home else "ProtectHome=yes",
        capabilities="\n".join(f"{key}={low}" for key in ("CapabilityBoundingSet", "AmbientCapabilities")),
    )
