from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from client.database import Database
from client.vault import Concept, Vault, mark_contributed
from common.errors import VaultError

BACKBONE = "ab" * 32


def concept(name="my-dog", **changes):
    rng = np.random.default_rng(len(name))
    values = {
        "kind": "object",
        "class_word": "dog",
        "backbone": BACKBONE,
        "anchor": rng.standard_normal(12).astype(np.float32),
        "token": rng.standard_normal(12).astype(np.float32),
        "loss": 0.25,
        "forwards": 900,
    }
    return Concept(name=name, **{**values, **changes})


def mark(folder, name, round_id):
    with Database(folder).transaction() as rows:
        return mark_contributed(rows, name, round_id, 0)


def test_a_concept_comes_back_as_it_was_saved(tmp_path):
    saved = concept()
    Vault(tmp_path).save_concept(saved)
    found = Vault(tmp_path).concept("my-dog")
    assert (found.kind, found.class_word, found.backbone, found.loss, found.forwards) == (
        ("object", "dog", BACKBONE, 0.25, 900)
    )
    np.testing.assert_array_equal(found.token, saved.token)
    np.testing.assert_array_equal(found.anchor, saved.anchor)
    assert found.token.dtype == np.float32
    np.testing.assert_allclose(found.displacement, saved.token.astype(float) - saved.anchor)


def test_tokens_and_anchors_lie_sealed_on_the_disk(tmp_path):
    saved = concept()
    Vault(tmp_path).save_concept(saved)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"my-dog" in on_disk
    assert not any(vector[i : i + 2].tobytes() in on_disk for vector in (saved.token, saved.anchor) for i in range(11))


def test_a_token_in_the_place_of_another_does_not_open(tmp_path):
    vault = Vault(tmp_path)
    vault.save_concept(concept("a"))
    vault.save_concept(concept("b"))
    with Database(tmp_path).transaction() as rows:
        rows.execute("UPDATE concepts SET token = (SELECT token FROM concepts WHERE name = 'b') WHERE name = 'a'")
    assert vault.concept("b").name == "b"
    with pytest.raises(VaultError, match="concept/a/token"):
        vault.concept("a")


def test_prompts_give_each_concept_at_each_of_its_strengths_once(tmp_path):
    anchor, token = np.array([1, 2], np.float32), np.array([3, 2, 1, 6], np.float32)  # two stages
    Vault(tmp_path).save_concept(concept("rex", anchor=anchor, token=token))
    Vault(tmp_path).save_concept(concept("ink"))
    given = Vault(tmp_path).taught("a <rex:0.5> beside <rex>, <ink> style", "<rex:0.5> or <rex:0>")
    assert [one.name for one in given] == ["rex:0.5", "rex", "ink", "rex:0"]
    half, whole, _, none = (one.token.tolist() for one in given)
    assert (half, whole, none) == ([2, 2, 1, 4], [3, 2, 1, 6], [1, 2, 1, 2])
    assert {(one.stages, one.token.dtype.name) for one in given if one.name.startswith("rex")} == {(2, "float32")}
    with pytest.raises(VaultError, match="max"):
        Vault(tmp_path).taught("a <max:0.5>")


def test_concepts_are_listed_without_opening_them(tmp_path, monkeypatch):
    vault = Vault(tmp_path)
    vault.save_concept(concept("a"))
    vault.save_concept(concept("b"))
    mark(tmp_path, "b", "round-1")
    monkeypatch.setattr("client.vault.seal_of", None)
    assert [(one.name, one.class_word, one.loss, one.contributed is None) for one in vault.listed()] == [
        ("a", "dog", 0.25, True),
        ("b", "dog", 0.25, False),
    ]


def test_only_the_owner_can_read_it(tmp_path):
    Vault(tmp_path / "home").save_concept(concept())
    for path in [tmp_path / "home", *(tmp_path / "home").iterdir()]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"kind": "smell"},
        {"token": np.zeros(11, np.float32)},
        {"token": np.full(12, np.nan, np.float32)},
        {"anchor": np.full(12, np.inf, np.float32)},
    ],
)
def test_a_concept_that_could_not_be_used_is_refused(changes):
    with pytest.raises(VaultError):
        concept(**{"name": "x", **changes})


def test_pending_gives_each_concept_of_its_kind_once_oldest_first(tmp_path):
    vault = Vault(tmp_path)
    for name, kind in [("b", "object"), ("a", "object"), ("c", "style")]:
        vault.save_concept(concept(name, kind=kind))
    assert vault.pending("object", BACKBONE).name == "b"
    mark(tmp_path, "b", "round-1")
    assert vault.pending("object", BACKBONE).name == "a"
    mark(tmp_path, "a", "round-2")
    assert vault.pending("object", BACKBONE) is None
    assert vault.pending("style", "cd" * 32) is None
    assert vault.pending("style", BACKBONE).name == "c"


def test_a_concept_counts_once_and_a_round_gets_one_answer(tmp_path):
    vault = Vault(tmp_path)
    vault.save_concept(concept("a"))
    vault.save_concept(concept("b"))
    mark(tmp_path, "a", "round-1")
    with pytest.raises(VaultError, match="counts once"):
        mark(tmp_path, "a", "round-2")
    with pytest.raises(VaultError, match="counts once"):
        mark(tmp_path, "b", "round-1")
    with pytest.raises(VaultError, match="no concept"):
        mark(tmp_path, "nobody", "round-3")
    assert vault.pending("object", BACKBONE).name == "b"


def test_learning_a_concept_again_does_not_contribute_it_again(tmp_path):
    vault = Vault(tmp_path)
    vault.save_concept(concept(loss=0.5))
    mark(tmp_path, "my-dog", "round-1")
    vault.save_concept(concept(loss=0.1))
    assert vault.concept("my-dog").loss == 0.1
    assert len(vault.concepts()) == 1
    assert vault.pending("object", BACKBONE) is None


def test_forgetting_erases_the_token_from_the_disk_and_keeps_the_booking(tmp_path):
    vault = Vault(tmp_path)
    forgotten = concept("my-dog", token=np.full(12, 1.2345678, np.float32))
    vault.save_concept(forgotten)
    mark(tmp_path, "my-dog", "round-1")
    with Database(tmp_path).transaction() as rows:
        (sealed,) = rows.execute("SELECT token FROM concepts").fetchone()
    assert any(sealed in path.read_bytes() for path in tmp_path.iterdir())
    assert vault.forget("my-dog") is not None
    assert not any(sealed in path.read_bytes() for path in tmp_path.iterdir())
    assert not any(b"my-dog" in path.read_bytes() for path in tmp_path.iterdir())
    vault.save_concept(concept("other"))
    assert Vault(tmp_path).listed()[0].contributed is None
    with pytest.raises(VaultError, match="counts once"):
        mark(tmp_path, "other", "round-1")
    assert vault.forget("other") is None
    with pytest.raises(VaultError, match="no concept"):
        vault.forget("my-dog")


def test_a_new_concept_never_inherits_the_booking_of_a_forgotten_one(tmp_path):
    vault = Vault(tmp_path)
    vault.save_concept(concept())
    mark(tmp_path, "my-dog", "round-1")
    vault.forget("my-dog")
    vault.save_concept(concept())
    assert vault.pending("object", BACKBONE) is not None


def test_what_was_booked_survives_a_kill(tmp_path):
    Vault(tmp_path).save_concept(concept())
    script = (
        "import os, pathlib, signal, sys; from client.database import Database; from client.vault import *\n"
        "with Database(pathlib.Path(sys.argv[1])).transaction() as rows:\n"
        " mark_contributed(rows, 'my-dog', 'round-1', 0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert Vault(tmp_path).pending("object", BACKBONE) is None


def test_many_at_once_open_write_and_book_without_losing_anything(tmp_path):
    def work(number):
        Vault(tmp_path).save_concept(concept(f"c{number}"))
        try:
            mark(tmp_path, "c0", f"round-{number}")
        except VaultError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        booked = sum(pool.map(work, range(16)))
    assert len(Vault(tmp_path).concepts()) == 16
    assert booked == 1


def test_a_file_that_is_no_vault_is_named_and_left_alone(tmp_path):
    (tmp_path / "vault.sqlite").write_bytes(b"holiday pictures" * 100)
    with pytest.raises(VaultError, match=r"vault\.sqlite"):
        Vault(tmp_path)
    assert (tmp_path / "vault.sqlite").read_bytes() == b"holiday pictures" * 100


def test_a_vault_of_a_later_version_is_left_alone(tmp_path):
    Vault(tmp_path)
    with sqlite3.connect(tmp_path / "vault.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(VaultError, match="update Shoal"):
        Vault(tmp_path)


def test_a_vault_of_an_earlier_version_is_left_alone(tmp_path):
    Vault(tmp_path)
    with sqlite3.connect(tmp_path / "vault.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(VaultError, match="move it away"):
        Vault(tmp_path)
