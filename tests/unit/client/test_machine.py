"""What is read of the machine: psutil's answers, and a true D-Bus with services that say what a test wants."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple

import psutil
import pytest

from client.machine import ThisMachine, mac_idle

BATTERY = namedtuple("BATTERY", "percent secsleft power_plugged")  # noqa: PYI024 - as psutil has it
PART = namedtuple("PART", "label current high critical")  # noqa: PYI024 - the same


@pytest.mark.parametrize(("battery", "expected"), [
    (None, True), (BATTERY(50, 60, True), True), (BATTERY(50, 60, False), False), (BATTERY(50, 60, None), None),
])  # fmt: skip
def test_a_desktop_is_always_on_power(monkeypatch, battery, expected):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert ThisMachine().on_power() is expected


@pytest.mark.parametrize(("sensors", "expected"), [
    ({}, None),
    ({"k10": [PART("", 51.5, None, None), PART("", 60.0, None, None)], "nvme": [PART("", 48.0, None, None)]}, 60.0),
    ({"broken": [PART("", 65535.0, None, None), PART("", -128.0, None, None)], "cpu": [PART("", 30.0, 0, 0)]}, 30.0),
])  # fmt: skip
def test_the_hottest_part_counts_and_broken_sensors_do_not(monkeypatch, sensors, expected):
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert ThisMachine().hottest() == expected


@pytest.mark.parametrize("name", ["sensors_battery", "sensors_temperatures"])
def test_a_system_without_sensors_cannot_tell(monkeypatch, name):
    monkeypatch.delattr(psutil, name, raising=False)
    ask = {"sensors_battery": ThisMachine().on_power, "sensors_temperatures": ThisMachine().hottest}[name]
    assert ask() is None


def test_what_macos_prints_is_understood():
    assert mac_idle('    | |   "HIDIdleTime" = 2500000000\n') == 2.5
    assert mac_idle("") is None


class Service:
    """A service on a bus of its own: answers with values by (interface, method or property)."""

    def __init__(self, address, name, answers):
        from jeepney import message_bus
        from jeepney.io.blocking import open_dbus_connection

        self.answers = answers
        self._connection = open_dbus_connection(address)
        self._connection.send_and_get_reply(message_bus.RequestName(name))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        from jeepney import HeaderFields, new_error, new_method_return

        while True:
            try:
                asked = self._connection.receive()
            except (OSError, EOFError, ConnectionError):
                return
            method = asked.header.fields.get(HeaderFields.member)
            key = asked.body[-1] if method == "Get" else method
            if key not in self.answers:
                self._connection.send(new_error(asked, "org.freedesktop.DBus.Error.UnknownMethod"))
            elif method == "Get":
                self._connection.send(new_method_return(asked, "v", (self.answers[key],)))
            else:
                signature, value = self.answers[key]
                self._connection.send(new_method_return(asked, signature, (value,)))


@pytest.fixture
def bus(monkeypatch):
    """Give the address of a D-Bus of the test's own, which stands for the system's and the session's."""
    if sys.platform != "linux":
        pytest.skip("D-Bus is Linux's")
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        assert "CI" not in os.environ, "dbus-daemon is missing: apt install dbus-daemon"
        pytest.skip("dbus-daemon is missing: apt install dbus-daemon")
    command = [daemon, "--session", "--nofork", "--print-address"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    yield address
    process.terminate()
    process.wait()
    process.stdout.close()


def test_gnome_tells_when_somebody_touched_the_computer(bus):
    Service(bus, "org.gnome.Mutter.IdleMonitor", {"GetIdletime": ("t", 61_500)})
    assert ThisMachine().idle_seconds() == 61.5


def test_elsewhere_logind_tells(bus):
    logind = Service(bus, "org.freedesktop.login1", {"IdleHint": ("b", False), "IdleSinceHint": ("t", 0)})
    assert ThisMachine().idle_seconds() == 0
    logind.answers |= {"IdleHint": ("b", True), "IdleSinceHint": ("t", 1_000_000)}
    assert ThisMachine().idle_seconds() > 1e9


@pytest.mark.parametrize(("value", "expected"), [(1, True), (2, False), (3, True), (4, False), (0, None)])
def test_network_manager_tells_what_the_network_costs(bus, value, expected):
    Service(bus, "org.freedesktop.NetworkManager", {"Metered": ("u", value)})
    assert ThisMachine().metered() is expected


def test_where_nobody_answers_nothing_is_known(bus, monkeypatch):
    assert ThisMachine().idle_seconds() is None
    assert ThisMachine().metered() is None
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    assert ThisMachine().idle_seconds() is None
    assert ThisMachine().metered() is None
