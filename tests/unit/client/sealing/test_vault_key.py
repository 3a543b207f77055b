"""Each way to protect a vault's key, and what is said where the key is not to be had. Nothing sealed is ever lost."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import keyring
import numpy as np
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import SecretService, fail
from keyring.errors import KeyringLocked

from client.database import Database
from client.sealing import hand_down, inherit, kind_of, passphrase, protect, seal_of, vault_key
from client.vault import Concept, Vault
from common.errors import VaultError

ROOT = Path(__file__).parents[4]
VARIABLES = ("SHOAL_KEY_FILE", "SHOAL_PASSPHRASE", "SHOAL_PASSPHRASE_FILE", "SHOAL_PASSPHRASE_FD")


class Ring(KeyringBackend):
    """A keyring in memory, standing where the system's would be."""

    priority = 9

    def __init__(self):
        super().__init__()
        self.kept, self.locked, self.forgetful = {}, False, False

    def get_password(self, service, username):
        if self.locked:
            raise KeyringLocked
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        if not self.forgetful:
            self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """No key is given, no keyring is there, nobody can be asked, and scrypt is quick."""
    for variable in (*VARIABLES, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(passphrase, "WORK", 2**4)
    monkeypatch.setattr(passphrase, "is_terminal", lambda: False)
    monkeypatch.setattr(vault_key, "_OPENED", {})
    monkeypatch.setattr(keyring, "get_keyring", fail.Keyring)


@pytest.fixture
def ring(monkeypatch):
    found = Ring()
    monkeypatch.setattr(Ring, "__module__", SecretService.__name__)
    monkeypatch.setattr(keyring, "get_keyring", lambda: found)
    return found


def dog():
    token = np.arange(8, dtype=np.float32)
    return Concept(
        name="rex", kind="object", class_word="dog", backbone="ab", anchor=token, token=token, loss=1, forwards=9
    )


def anew():
    """Forget what this process opened, as a new one would not know it."""
    vault_key._OPENED.clear()


def kind(folder):
    with Database(folder).transaction("DEFERRED") as rows:
        return kind_of(rows)


def change(folder, to, **more):
    with Database(folder).transaction() as rows:
        protect(rows, to, **more)


def test_a_passphrase_opens_and_another_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    Vault(tmp_path).save_concept(dog())
    assert kind(tmp_path) == "passphrase"
    anew()
    assert Vault(tmp_path).concept("rex").forwards == 9
    anew()
    before = (tmp_path / "vault.sqlite").read_bytes()
    monkeypatch.setenv("SHOAL_PASSPHRASE", "battery staple")
    with pytest.raises(VaultError, match="not the vault's passphrase: try again; nothing was deleted"):
        Vault(tmp_path).concept("rex")
    with pytest.raises(VaultError, match="not the vault's passphrase"):
        Vault(tmp_path).save_concept(dog())
    assert (tmp_path / "vault.sqlite").read_bytes() == before
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    assert Vault(tmp_path).concept("rex").forwards == 9


def test_a_locked_vault_says_how_to_open_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    Vault(tmp_path).save_concept(dog())
    anew()
    monkeypatch.delenv("SHOAL_PASSPHRASE")
    with pytest.raises(VaultError, match="locked: give its passphrase in SHOAL_PASSPHRASE_FILE"):
        Vault(tmp_path).concept("rex")
    assert [one.name for one in Vault(tmp_path).listed()] == ["rex"]
    monkeypatch.setattr(passphrase, "is_terminal", lambda: True)
    monkeypatch.setattr(passphrase, "ask_once", lambda: "correct horse")
    assert Vault(tmp_path).concept("rex").forwards == 9


def test_scrypt_runs_once_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    Vault(tmp_path).save_concept(dog())
    anew()
    derive, calls = passphrase.derive, []
    monkeypatch.setattr(passphrase, "derive", lambda *a, **k: calls.append(1) or derive(*a, **k))
    for _ in range(5):
        Vault(tmp_path).concept("rex")
    assert len(calls) == 1


@pytest.mark.parametrize("way", ["file", "descriptor", "credential"])
def test_services_are_handed_the_passphrase(tmp_path, monkeypatch, way):
    (tmp_path / "shoal-passphrase").write_text("correct horse\n")
    if way == "file":
        monkeypatch.setenv("SHOAL_PASSPHRASE_FILE", str(tmp_path / "shoal-passphrase"))
    elif way == "credential":
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    else:
        passphrase._from_descriptor.cache_clear()
        monkeypatch.setenv("SHOAL_PASSPHRASE_FD", str(os.open(tmp_path / "shoal-passphrase", os.O_RDONLY)))
    Vault(tmp_path / "home").save_concept(dog())
    anew()
    assert Vault(tmp_path / "home").concept("rex").forwards == 9
    anew()
    for variable in (*VARIABLES, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    assert Vault(tmp_path / "home").concept("rex").forwards == 9


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\xff\xfe", "holds no text"), (b"\nx", "is empty")],
)
def test_a_passphrase_file_of_no_use_is_named(tmp_path, monkeypatch, content, told):
    if content is not None:
        (tmp_path / "words").write_bytes(content)
    monkeypatch.setenv("SHOAL_PASSPHRASE_FILE", str(tmp_path / "words"))
    with pytest.raises(VaultError, match=told):
        Vault(tmp_path / "home").save_concept(dog())
    assert Vault(tmp_path / "home").listed() == []


def test_a_short_passphrase_is_refused_before_it_protects_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "1234567")
    with pytest.raises(VaultError, match="at least 8"):
        Vault(tmp_path).save_concept(dog())
    assert kind(tmp_path) is None


def test_two_passphrases_that_differ_change_nothing():
    answers = iter(["correct horse", "correct hearse"])
    with pytest.raises(VaultError, match="differ"):
        passphrase.ask_new(lambda _: next(answers))


def test_where_there_is_no_keyring_and_no_passphrase_nothing_is_kept_and_it_is_said(tmp_path):
    with pytest.raises(VaultError, match=r"no keyring here.*SHOAL_PASSPHRASE_FILE.*SHOAL_KEY_FILE"):
        Vault(tmp_path).save_concept(dog())
    assert Vault(tmp_path).listed() == []


def test_the_keyring_is_taken_where_there_is_one(tmp_path, ring):
    Vault(tmp_path).save_concept(dog())
    assert kind(tmp_path) == "keyring"
    assert [service for service, _ in ring.kept] == ["shoal"]
    anew()
    assert Vault(tmp_path).concept("rex").forwards == 9


def test_a_keyring_that_keeps_plain_text_is_not_taken(tmp_path, ring, monkeypatch):
    monkeypatch.setattr(Ring, "__module__", "keyrings.alt.file")
    with pytest.raises(VaultError, match="no keyring here"):
        Vault(tmp_path).save_concept(dog())
    assert ring.kept == {}


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda ring: ring.kept.clear(), "no key for this vault.*Nothing was deleted"),
        (lambda ring: setattr(ring, "locked", True), "unlock it, then try again"),
        (lambda ring: ring.kept.update(dict.fromkeys(ring.kept, "00" * 32)), "not this vault's key"),
        (lambda ring: ring.kept.update(dict.fromkeys(ring.kept, "no hex")), "is no key"),
    ],
)
def test_a_key_that_is_lost_is_told_of_and_nothing_else_is_lost(tmp_path, ring, harm, told):
    Vault(tmp_path).save_concept(dog())
    anew()
    before, kept = (tmp_path / "vault.sqlite").read_bytes(), dict(ring.kept)
    harm(ring)
    for attempt in (lambda: Vault(tmp_path).concept("rex"), lambda: Vault(tmp_path).save_concept(dog())):
        with pytest.raises(VaultError, match=told):
            attempt()
    assert (tmp_path / "vault.sqlite").read_bytes() == before
    ring.kept, ring.locked = kept, False
    assert Vault(tmp_path).concept("rex").forwards == 9


def test_a_keyring_that_forgets_protects_nothing(tmp_path, ring):
    ring.forgetful = True
    with pytest.raises(VaultError, match="did not keep"):
        Vault(tmp_path).save_concept(dog())
    assert kind(tmp_path) is None


def test_a_key_file_is_made_where_it_is_asked_for_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_KEY_FILE", str(tmp_path / "keys" / "shoal.key"))
    Vault(tmp_path / "home").save_concept(dog())
    assert kind(tmp_path / "home") == "file"
    assert stat.S_IMODE((tmp_path / "keys" / "shoal.key").stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["vault.sqlite"]
    anew()
    monkeypatch.delenv("SHOAL_KEY_FILE")
    assert Vault(tmp_path / "home").concept("rex").forwards == 9
    anew()
    (tmp_path / "keys").rename(tmp_path / "moved")
    with pytest.raises(VaultError, match="is gone: put it back"):
        Vault(tmp_path / "home").concept("rex")
    monkeypatch.setenv("SHOAL_KEY_FILE", str(tmp_path / "moved" / "shoal.key"))
    assert Vault(tmp_path / "home").concept("rex").forwards == 9


def test_where_new_keys_belong_does_not_hide_where_a_vaults_own_is(tmp_path, monkeypatch):
    """As with virtual people, whose keys are beside them, in a process that keeps a person's elsewhere."""
    monkeypatch.setenv("SHOAL_KEY_FILE", str(tmp_path / "one.key"))
    Vault(tmp_path / "one").save_concept(dog())
    monkeypatch.setenv("SHOAL_KEY_FILE", str(tmp_path / "other.key"))
    Vault(tmp_path / "other").save_concept(dog())
    anew()
    assert Vault(tmp_path / "one").concept("rex").forwards == 9
    assert Vault(tmp_path / "other").concept("rex").forwards == 9


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (b"00" * 32, 0o600, "not this vault's"),
        (b"no key", 0o600, "holds no key"),
        (b"00", 0o600, "1 bytes"),
        (None, 0o644, "chmod 600"),
    ],
)
def test_a_key_file_of_no_use_is_named(tmp_path, monkeypatch, content, mode, told):
    file = tmp_path / "shoal.key"
    monkeypatch.setenv("SHOAL_KEY_FILE", str(file))
    Vault(tmp_path / "home").save_concept(dog())
    anew()
    file.write_bytes(file.read_bytes() if content is None else content)
    file.chmod(mode)
    with pytest.raises(VaultError, match=told):
        Vault(tmp_path / "home").concept("rex")


def test_the_protection_is_changed_without_touching_what_it_seals(tmp_path, ring, monkeypatch):
    Vault(tmp_path).save_concept(dog())
    with Database(tmp_path).transaction() as rows:
        sealed = rows.execute("SELECT token FROM concepts").fetchone()
    change(tmp_path, "passphrase", ask=lambda: "correct horse")
    ring.kept.clear()
    anew()
    with pytest.raises(VaultError, match="locked"):
        Vault(tmp_path).concept("rex")
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    assert Vault(tmp_path).concept("rex").forwards == 9
    change(tmp_path, "file", file=tmp_path / "keys" / "a.key")
    anew()
    monkeypatch.delenv("SHOAL_PASSPHRASE")
    assert Vault(tmp_path).concept("rex").forwards == 9
    with Database(tmp_path).transaction() as rows:
        assert rows.execute("SELECT token FROM concepts").fetchone() == sealed


@pytest.mark.parametrize("harm", ["{}", "[1]", "no json", '{"vault":"a","kind":"smoke","wrapped":"00"}'])
def test_a_record_that_was_damaged_is_named(tmp_path, monkeypatch, harm):
    monkeypatch.setenv("SHOAL_KEY_FILE", str(tmp_path / "key"))
    Vault(tmp_path / "home").save_concept(dog())
    with Database(tmp_path / "home").transaction() as rows:
        rows.execute("UPDATE sealing SET record = ?", (harm,))
    with pytest.raises(VaultError, match=r"restore the vault from a backup|update Shoal"):
        Vault(tmp_path / "home").concept("rex")


def test_a_record_that_was_altered_does_not_open(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    Vault(tmp_path).save_concept(dog())
    anew()
    with Database(tmp_path).transaction() as rows:
        rows.execute('UPDATE sealing SET record = replace(record, \'"vault": "\', \'"vault": "00\')')
    with pytest.raises(VaultError, match="not the vault's passphrase"):
        Vault(tmp_path).concept("rex")


def test_a_child_process_is_handed_the_key_and_asks_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOAL_PASSPHRASE", "correct horse")
    Vault(tmp_path).save_concept(dog())
    with Database(tmp_path).transaction() as rows:
        handed = hand_down(rows)
    script = (
        "import sys, pathlib; from client.sealing import inherit; from client.vault import Vault\n"
        "inherit(sys.stdin.read()); print(Vault(pathlib.Path(sys.argv[1])).concept('rex').forwards)"
    )
    bare = {key: value for key, value in os.environ.items() if key not in VARIABLES} | {"PYTHONPATH": str(ROOT)}
    child = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(child, env=bare, input=handed, capture_output=True, text=True, check=False)
    assert done.stdout == "9\n", done.stderr
    without = subprocess.run(child, env=bare, input="other:" + "00" * 32, capture_output=True, text=True, check=False)
    assert "the vault is locked" in without.stderr


def test_opening_an_empty_vault_to_read_makes_no_key(tmp_path):
    assert Vault(tmp_path).concepts() == []
    assert kind(tmp_path) is None
    inherit("nobody:" + "00" * 32)
    with Database(tmp_path).transaction() as rows, pytest.raises(VaultError):
        seal_of(rows)
