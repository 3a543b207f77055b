from __future__ import annotations

import stat
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from common.errors import ConfigError
from server.keys import KEY_FILE, public_pem, signing_key


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    folder = tmp_path / "state"
    first, second = signing_key(folder), signing_key(folder)
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [KEY_FILE], "no draft is left behind"


def test_the_public_half_verifies(tmp_path):
    key = signing_key(tmp_path)
    load_pem_public_key(public_pem(key)).verify(key.sign(b"x"), b"x")


def test_a_key_that_others_can_read_is_refused(tmp_path):
    signing_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        signing_key(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no key",
        X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        public_pem(Ed25519PrivateKey.generate()),
    ],
    ids=["empty", "text", "another algorithm", "a public key"],
)
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / KEY_FILE
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="Ed25519"):
        signing_key(tmp_path)
    assert path.read_bytes() == text


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    gate, found = threading.Barrier(8), []

    def start():
        gate.wait()
        found.append(signing_key(tmp_path).private_bytes_raw())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
