from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from server.settings import RunSettings

GOOD = {"state-folder": "/state", "backbone": "ab" * 32, "public-basis": "/basis.npy"}


def test_a_run_configuration_comes_back():
    settings = RunSettings.from_run_config(
        {**GOOD, "kinds": "style, object", "wave-size": "12,8", "rounds": 5, "clip": 3, "people-folder": "/people"}
    )
    assert settings.kinds == ("style", "object")
    assert (settings.wave("style"), settings.wave("object")) == (12, 8)
    assert settings.clip == 3.0
    assert settings.public_basis == Path("/basis.npy")
    assert RunSettings.from_run_config(settings.to_run_config()) == settings


def test_a_wave_is_the_minimum_unless_said_otherwise():
    assert RunSettings.from_run_config(GOOD).wave("style") == 8
    assert RunSettings.from_run_config({**GOOD, "wave-size": 9}).wave("style") == 9
    assert RunSettings.from_run_config({**GOOD, "wave-size": ""}).wave("object") == 8


@pytest.mark.parametrize("name", GOOD)
def test_what_has_no_default_must_be_given(name):
    with pytest.raises(ConfigError, match=name):
        RunSettings.from_run_config({key: value for key, value in GOOD.items() if key != name})
    with pytest.raises(ConfigError, match=name):
        RunSettings.from_run_config({**GOOD, name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("round", 3),
        ("rounds", 0),
        ("rounds", "3"),
        ("rounds", True),
        ("backbone", "abc"),
        ("kinds", ""),
        ("kinds", "object,smell"),
        ("kinds", "object,object"),
        ("minimum-people", 1),
        ("wave-size", 7),
        ("wave-size", "8,8,8"),
        ("wave-size", "many"),
        ("clip", 0.0),
        ("clip", float("nan")),
        ("clip", float("inf")),
        ("poll-seconds", 0),
        ("deadline-seconds", -1.0),
        ("patience-seconds", float("inf")),
        ("max-directions", 0),
        ("cohorts", 0),
        ("state-folder", 3),
    ],
)
def test_what_cannot_work_is_refused(name, value):
    with pytest.raises(ConfigError):
        RunSettings.from_run_config({**GOOD, name: value})
