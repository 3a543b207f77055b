"""Disks that are full, folders that are closed, files that are damaged: for real, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.database import FILE, Database
from client.vault import Concept, Vault
from common.errors import VaultError

ROOT = Path(__file__).parents[3]


def concept(name, width=8):
    token = np.arange(width, dtype=np.float32)
    return Concept(
        name=name, kind="object", class_word="dog", backbone="ab", anchor=token, token=token, loss=1, forwards=9
    )


SAVE = """
import numpy as np, pathlib, resource, signal, sys
from client.vault import Concept, Vault
{before}
vault = Vault(pathlib.Path(sys.argv[1]))
token = np.arange(100_000, dtype=np.float32)
for i in range(20):
    words = dict(name=f"c{{i}}", kind="object", class_word="dog", backbone="ab")
    vault.save_concept(Concept(**words, anchor=token, token=token, loss=1, forwards=9))
    print(i, flush=True)
"""


def save_twenty(home, before, *, words=()):
    command = [*words, sys.executable, "-c", SAVE.format(before=before), str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def test_a_full_disk_is_told_of_and_what_was_kept_is_intact(tmp_path):
    """The size that a file may have is limited, which SQLite meets as a disk that takes no more."""
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000,) * 2)"
    done = save_twenty(tmp_path, limit)
    assert "make room" in done.stderr
    kept = [concept.name for concept in Vault(tmp_path).concepts()]
    assert kept == [f"c{i}" for i in range(len(done.stdout.split()))]
    assert 1 <= len(kept) < 20
    Vault(tmp_path).save_concept(concept("afterwards"))
    assert len(Vault(tmp_path).concepts()) == len(kept) + 1


@pytest.mark.slow
def test_a_tiny_file_system_that_is_full_is_told_of(tmp_path):
    """The same with a true file system of 3 MB, where the system lets us mount one."""
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        (small / "ballast").write_bytes(bytes(900_000))
        done = save_twenty(small / "home", "")
        assert "the disk is full: make room" in done.stderr
        assert [one.name for one in Vault(small / "home").concepts()] == [
            f"c{i}" for i in range(len(done.stdout.split()))
        ]
        (small / "ballast").unlink()  # SQLite needs room to delete, too
        for one in Vault(small / "home").concepts()[1:]:
            Vault(small / "home").forget(one.name)
        assert [one.name for one in Vault(small / "home").concepts()] == ["c0"]
    finally:
        subprocess.run(["umount", small], check=True)  # noqa: S607 - as above


def without_privilege():
    """Give the words before a command by which not even root may write where the mode forbids it."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        assert "CI" not in os.environ, "setpriv is missing: apt install util-linux"
        pytest.skip("root may write anywhere, and there is no setpriv: apt install util-linux")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]


def test_a_folder_that_may_only_be_read_is_named_and_left_alone(tmp_path):
    home = tmp_path / "home"
    Vault(home).save_concept(concept("mine"))
    before = (home / FILE).read_bytes()
    (home / FILE).chmod(0o400)
    home.chmod(0o500)
    done = save_twenty(home, "", words=without_privilege())
    assert f"cannot write to {home} (Permission denied): choose another state folder" in done.stderr
    (home / FILE).chmod(0o600)
    done = save_twenty(home, "", words=without_privilege())
    assert f"the vault {home / FILE} cannot be used" in done.stderr
    assert "may not be written: allow that" in done.stderr
    assert (home / FILE).read_bytes() == before
    home.chmod(0o700)
    assert Vault(home).concept("mine").forwards == 9


@pytest.mark.parametrize("place", ["head", "middle", "tail cut off"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path, place):
    vault = Vault(tmp_path)
    for i in range(40):
        vault.save_concept(concept(f"c{i}", width=2000))
    data = bytearray((tmp_path / FILE).read_bytes())
    if place == "head":
        data[:100] = bytes(100)
    elif place == "middle":
        data[4096:-4096] = os.urandom(len(data) - 8192)
    else:
        del data[len(data) // 2 :]
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(VaultError, match=r"vault\.sqlite cannot be used.*restore it from a backup or move it away"):
        Vault(tmp_path).concepts()
    assert (tmp_path / FILE).read_bytes() == data


def test_one_damaged_token_leaves_the_others_readable(tmp_path):
    for name in ("a", "b"):
        Vault(tmp_path).save_concept(concept(name))
    with Database(tmp_path).transaction() as rows:
        rows.execute("UPDATE concepts SET token = zeroblob(60) WHERE name = 'a'")
    assert Vault(tmp_path).concept("b").name == "b"
    with pytest.raises(VaultError, match="concept/a/token"):
        Vault(tmp_path).concept("a")
    Vault(tmp_path).forget("a")
    assert [one.name for one in Vault(tmp_path).concepts()] == ["b"]


def test_looking_into_a_vault_does_not_touch_its_file(tmp_path):
    Vault(tmp_path).save_concept(concept("a"))
    os.utime(tmp_path / FILE, (1, 1))
    Vault(tmp_path).concepts()
    assert (tmp_path / FILE).stat().st_mtime == 1
