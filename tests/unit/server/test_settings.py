from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from client.rules import FEWEST_PEOPLE
from common.errors import ConfigError
from server.settings import RunSettings

ROOT = Path(__file__).parents[3]
GOOD = {"state-folder": "/state", "backbone": "ab" * 32, "public-basis": "/basis.npy"}


def test_a_run_configuration_comes_back():
    settings = RunSettings.from_run_config(
        {
            **GOOD,
            "kinds": "style, object",
            "wave-size": "12,8",
            "rounds": 5,
            "clip": 3,
            "people-folder": "/people",
            "epsilon": 2,
            "unprotected-simulation": True,
        }
    )
    assert settings.kinds == ("style", "object")
    assert (settings.wave("style"), settings.wave("object")) == (12, 8)
    assert (settings.clip, settings.epsilon, settings.delta) == ((3.0,), 2.0, 1e-6)
    assert settings.unprotected_simulation is True
    assert settings.public_basis == Path("/basis.npy")
    assert RunSettings.from_run_config(settings.to_run_config()) == settings


def test_protection_is_on_unless_said_otherwise():
    settings = RunSettings.from_run_config(GOOD)
    assert settings.unprotected_simulation is False
    assert settings.epsilon == 1.0
    assert settings.minimum_people >= FEWEST_PEOPLE  # fewer would be refused by every device


def test_the_bundle_declares_every_setting_with_its_default():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["config"]
    ours = RunSettings.from_run_config(GOOD).to_run_config()
    assert declared.keys() == ours.keys() | {"people-folder"}
    assert {key: declared[key] for key in ours.keys() - GOOD.keys()} == {
        key: ours[key] for key in ours.keys() - GOOD.keys()
    }


def test_a_wave_is_the_minimum_unless_said_otherwise():
    assert RunSettings.from_run_config(GOOD).wave("style") == 8
    assert RunSettings.from_run_config({**GOOD, "wave-size": 9}).wave("style") == 9
    assert RunSettings.from_run_config({**GOOD, "wave-size": ""}).wave("object") == 8


def test_each_kind_has_a_clip_that_suits_it_unless_said_otherwise():
    settings = RunSettings.from_run_config(GOOD)
    assert [settings.bound(kind) for kind in ("object", "style", "taste")] == [1.0, 1.25, 0.4]
    assert RunSettings.from_run_config({**GOOD, "clip": 3}).bound("taste") == 3.0
    settings = RunSettings.from_run_config({**GOOD, "kinds": "taste,object", "clip": "0.3,2"})
    assert (settings.bound("taste"), settings.bound("object")) == (0.3, 2.0)


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
        ("minimum-people", 2),
        ("minimum-people", 129),
        ("epsilon", 0.0),
        ("epsilon", float("inf")),
        ("epsilon", float("nan")),
        ("delta", 0.0),
        ("delta", 0.1),
        ("unprotected-simulation", 1),
        ("unprotected-simulation", "false"),
        ("wave-size", 7),
        ("wave-size", "8,8"),
        ("wave-size", "many"),
        ("clip", 0.0),
        ("clip", "1.5,0"),
        ("clip", "1.5,2"),
        ("clip", "long"),
        ("clip", float("nan")),
        ("clip", float("inf")),
        ("poll-seconds", 0),
        ("deadline-seconds", -1.0),
        ("deadline-seconds", 181.0),
        ("patience-seconds", float("inf")),
        ("max-directions", 0),
        ("cohorts", 0),
        ("state-folder", 3),
    ],
)
def test_what_cannot_work_is_refused(name, value):
    with pytest.raises(ConfigError):
        RunSettings.from_run_config({**GOOD, name: value})
