from __future__ import annotations

import pytest

from client.conditions import hindrances, in_words, unknown
from client.settings import Conditions

ALL = Conditions(idle_minutes=5, on_power=True, hottest=85, unmetered=True, hours="22:00-07:00")
GOOD = {"idle": 300.0, "power": True, "degrees": 85.0, "by_volume": False, "clock": "23:59"}
HARMS = {
    "idle_minutes": {"idle": 299.0},
    "on_power": {"power": False},
    "hottest": {"degrees": 85.1},
    "unmetered": {"by_volume": True},
    "hours": {"clock": "07:00"},
}
HEEDED = {
    "learning": ("on_power", "hours", "idle_minutes", "hottest"),
    "rounds": ("on_power", "hours", "unmetered"),
}


def names(conditions, told, work):
    return {one.name for one in hindrances(conditions, told, work)}


@pytest.mark.parametrize("work", HEEDED)
def test_where_all_hold_nothing_hinders(machine, work):
    assert names(ALL, machine(**GOOD), work) == set()


@pytest.mark.parametrize("work", HEEDED)
@pytest.mark.parametrize("harm", HARMS)
def test_each_condition_alone_is_enough_to_hinder_what_heeds_it(machine, work, harm):
    found = names(ALL, machine(**GOOD | HARMS[harm]), work)
    assert found == ({harm} if harm in HEEDED[work] else set())


def test_every_hindrance_is_told_at_once(machine):
    bad = machine(**GOOD | HARMS["on_power"] | HARMS["hottest"])
    told = in_words(hindrances(ALL, bad, "learning"))
    assert told == "on battery: connect the charger; 85 °C, above 85: it waits to cool down"


@pytest.mark.parametrize("work", HEEDED)
def test_what_is_not_asked_for_does_not_hinder(machine, work):
    off = Conditions(idle_minutes=0, on_power=False, hottest=0, unmetered=False, hours="")
    worst = machine(idle=0.0, power=False, degrees=149.0, by_volume=True, clock="12:00")
    assert names(off, worst, work) == set()


def test_what_the_machine_cannot_tell_does_not_hinder_and_is_named(machine):
    silent = machine(idle=None, power=None, degrees=None, by_volume=None)
    assert names(Conditions(), silent, "learning") == names(Conditions(), silent, "rounds") == set()
    assert set(unknown(Conditions(), silent)) == {"idle_minutes", "on_power", "hottest", "unmetered"}
    assert list(unknown(Conditions(idle_minutes=0), machine())) == []


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-07:00", ["22:00", "23:59", "00:00", "06:59"], ["07:00", "12:00", "21:59"]),
        ("09:30-17:00", ["09:30", "16:59"], ["09:29", "17:00", "00:00"]),
        ("00:00-24:00", ["00:00", "12:00", "23:59"], []),
    ],
)
def test_hours_may_go_over_midnight(machine, hours, inside, outside):
    conditions = Conditions(hours=hours)
    assert [clock for clock in inside + outside if not names(conditions, machine(clock=clock), "learning")] == inside
