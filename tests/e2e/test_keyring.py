"""A true Secret Service: GNOME's keyring on a D-Bus of its own, as a desktop has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("dbus-run-session", "gnome-keyring-daemon")
SAVE = """
import numpy as np, pathlib, sys
from client.vault import Concept, Vault
token = np.arange(8, dtype=np.float32)
words = dict(name="rex", kind="object", class_word="dog", backbone="ab", loss=1, forwards=9)
Vault(pathlib.Path(sys.argv[1])).save_concept(Concept(**words, anchor=token, token=token))
"""
OPEN = (
    "import pathlib, sys; from client.vault import Vault; print(Vault(pathlib.Path(sys.argv[1])).concept('rex').token)"
)

pytestmark = pytest.mark.slow


@pytest.fixture
def desktop(tmp_path):
    """Give a way to run programs as somebody who is logged on, with a keyring that opened with their password."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        assert "CI" not in os.environ, f"{missing[0]} is missing: apt install dbus gnome-keyring"
        pytest.skip(f"{missing[0]} is missing: apt install dbus gnome-keyring")
    person = tmp_path / "person"
    (person / "run").mkdir(parents=True, mode=0o700)
    own = {key: value for key, value in os.environ.items() if not key.startswith(("SHOAL_", "DBUS_", "XDG_"))}
    own |= {"HOME": str(person), "XDG_RUNTIME_DIR": str(person / "run"), "PYTHONPATH": str(ROOT)}

    def run(*command, opening="password"):
        unlock = 'printf %s "$0" | gnome-keyring-daemon --unlock --components=secrets >/dev/null && exec "$@"'
        words = ["dbus-run-session", "--", "bash", "-c", unlock, opening, *map(str, command)]
        return subprocess.run(words, env=own, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_the_key_is_in_the_keyring_and_nowhere_else(desktop, tmp_path):
    home = tmp_path / "home"
    saved = desktop(sys.executable, "-c", SAVE, home)
    assert saved.returncode == 0, saved.stderr
    told = desktop(sys.executable, "-m", "client", "vault", "--home", home)
    assert "sealed by a key in the system's keyring" in told.stdout, told.stderr
    assert sorted(file.name for file in home.iterdir()) == ["vault.sqlite"]
    opened = desktop(sys.executable, "-c", OPEN, home)
    assert opened.stdout.startswith("[0. 1. 2."), opened.stderr


def test_another_person_and_another_password_do_not_open_it(desktop, tmp_path):
    home = tmp_path / "home"
    assert desktop(sys.executable, "-c", SAVE, home).returncode == 0
    before = (home / "vault.sqlite").read_bytes()
    refused = desktop(sys.executable, "-c", OPEN, home, opening="another")
    assert refused.returncode != 0
    assert "VaultError" in refused.stderr
    (tmp_path / "person" / ".local").rename(tmp_path / "away")
    stranger = desktop(sys.executable, "-c", OPEN, home)
    assert "the keyring has no key for this vault" in stranger.stderr
    assert "Nothing was deleted" in stranger.stderr
    assert (home / "vault.sqlite").read_bytes() == before
    shutil.rmtree(tmp_path / "person" / ".local")
    (tmp_path / "away").rename(tmp_path / "person" / ".local")
    assert desktop(sys.executable, "-c", OPEN, home).returncode == 0


def test_a_vault_is_moved_from_the_keyring_to_a_key_file_and_back(desktop, tmp_path):
    home, file = tmp_path / "home", tmp_path / "keys" / "shoal.key"
    assert desktop(sys.executable, "-c", SAVE, home).returncode == 0
    shoal = (sys.executable, "-m", "client", "vault", "--home", home)
    assert "sealed by a key file" in desktop(*shoal, "--protect", "file", "--file", file).stdout
    assert desktop(sys.executable, "-c", OPEN, home).stdout.startswith("[0. 1. 2.")
    assert "keyring" in desktop(*shoal, "--protect", "keyring").stdout
    file.unlink()
    assert desktop(sys.executable, "-c", OPEN, home).stdout.startswith("[0. 1. 2.")
