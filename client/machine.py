"""What this machine says of itself: psutil, and each platform's own interface where psutil has none."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any, Final

import psutil

HOTTEST_KNOWN: Final = 150.0
"""°C; a sensor that says more is broken."""
METERED: Final = {1: True, 2: False, 3: True, 4: False}
"""NetworkManager's property Metered: yes, no, guessed yes, guessed no; 0 is unknown."""
_SECONDS: Final = 5.0
"""How long another program may take to answer."""
_WINDOWS_COST: Final = (
    "[void][Windows.Networking.Connectivity.NetworkInformation,Windows,ContentType=WindowsRuntime];"
    "[Windows.Networking.Connectivity.NetworkInformation]::GetInternetConnectionProfile()"
    ".GetConnectionCost().NetworkCostType"
)


class ThisMachine:
    """The computer that this runs on, as `client.conditions.Machine`."""

    def idle_seconds(self) -> float | None:
        """Return seconds since the last key or movement; None where no desktop can be asked."""
        if sys.platform == "win32":
            return _windows_idle()
        if sys.platform == "darwin":
            return mac_idle(_said("/usr/sbin/ioreg", "-c", "IOHIDSystem", "-d", "4", "-S"))
        return float(found) if (found := _first(_mutter_idle, _logind_idle)) is not None else None

    def on_power(self) -> bool | None:
        """Return whether the charger is connected, or there is no battery."""
        try:
            battery = psutil.sensors_battery()
        except (AttributeError, OSError):
            return None
        if battery is None:
            return True
        return None if battery.power_plugged is None else bool(battery.power_plugged)

    def hottest(self) -> float | None:
        """Return the hottest part's temperature in °C."""
        try:
            sensors = psutil.sensors_temperatures()
        except (AttributeError, OSError):  # not on macOS and Windows
            return None
        found = [one.current for parts in sensors.values() for one in parts if 0 < one.current < HOTTEST_KNOWN]
        return max(found, default=None)

    def metered(self) -> bool | None:
        """Return whether the network costs by volume."""
        if sys.platform == "win32":
            told = _said("powershell", "-NoProfile", "-Command", _WINDOWS_COST).strip()
            return {"Unrestricted": False, "Fixed": True, "Variable": True}.get(told)
        return _first(_network_manager) if sys.platform == "linux" else None

    def now(self) -> datetime:
        """Return date and time by the clock on the wall."""
        return datetime.now().astimezone()


def mac_idle(told: str) -> float | None:
    """Return seconds from what `ioreg -c IOHIDSystem` prints."""
    found = re.search(r'"HIDIdleTime" = (\d+)', told)
    return int(found[1]) / 1e9 if found else None


def _windows_idle() -> float | None:
    """Ask GetLastInputInfo (winuser.h)."""

    class LastInput(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("time", ctypes.c_uint))

    asked = LastInput(size=ctypes.sizeof(LastInput))
    windows: Any = getattr(ctypes, "windll", None)
    if windows is None or not windows.user32.GetLastInputInfo(ctypes.byref(asked)):
        return None
    passed: int = (windows.kernel32.GetTickCount() - asked.time) & 0xFFFFFFFF  # the counter wraps after 49 days
    return passed / 1000


def _mutter_idle() -> float | None:
    """Ask GNOME, which knows to the millisecond."""
    place = ("/org/gnome/Mutter/IdleMonitor/Core", "org.gnome.Mutter.IdleMonitor", "org.gnome.Mutter.IdleMonitor")
    return float(_call("SESSION", *place, "GetIdletime")) / 1000


def _logind_idle() -> float | None:
    """Ask systemd-logind, which desktops and terminals tell (org.freedesktop.login1(5), User objects)."""
    place = (f"/org/freedesktop/login1/user/_{os.getuid()}", "org.freedesktop.login1", "org.freedesktop.login1.User")
    if not _get("SYSTEM", *place, "IdleHint"):
        return 0.0
    return time.time() - float(_get("SYSTEM", *place, "IdleSinceHint")) / 1e6


def _network_manager() -> bool | None:
    """Ask NetworkManager."""
    place = ("/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "org.freedesktop.NetworkManager")
    return METERED.get(int(_get("SYSTEM", *place, "Metered")))


def _get(bus: str, path: str, name: str, interface: str, what: str) -> Any:  # noqa: ANN401 - whatever the bus holds
    _, value = _call(bus, path, name, "org.freedesktop.DBus.Properties", "Get", "ss", (interface, what))
    return value


def _call(
    bus: str,
    path: str,
    name: str,
    interface: str,
    method: str,
    signature: str | None = None,
    body: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 - whatever the bus answers
    """Call a method on D-Bus, and return its one value."""
    from jeepney import DBusAddress, new_method_call  # noqa: PLC0415 - on Linux alone
    from jeepney.io.blocking import open_dbus_connection  # noqa: PLC0415

    address = DBusAddress(path, bus_name=name, interface=interface)
    with closing(open_dbus_connection(bus)) as connection:
        reply = connection.send_and_get_reply(new_method_call(address, method, signature, body), timeout=_SECONDS)
    if reply.header.message_type.name != "method_return":
        raise OSError(f"{name} does not answer")
    return reply.body[0]


def _first(*ways: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the ways give
    """Return the first answer that there is; None if nobody can be asked."""
    for way in ways:
        try:
            return way()
        except (OSError, KeyError, ValueError, TypeError, IndexError, ImportError):
            continue
    return None


def _said(*words: str) -> str:
    """Return what a program of the system prints; nothing where it cannot be run."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout  # noqa: S603 - ours
    except (OSError, subprocess.SubprocessError):
        return ""
