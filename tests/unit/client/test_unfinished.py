"""One learner of a concept at a time, sealed checkpoints, and forgetting in the middle of a learning."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from client import unfinished
from client.control import watch, watched
from client.daemon.tried import Tried, last_tried, note_tried
from client.forgetting import check_known, forget, in_words
from client.settings import Watched
from client.unfinished import checkpoint_of, delete_unfinished, forgetting, is_begun, learning_alone
from client.vault import Concept, Vault
from common.errors import ConfigError, VaultError

PIXELS = np.zeros((2, 4, 4, 3), np.uint8)


def begun(home, name="rex", what="object/dog", pixels=PIXELS):
    found = checkpoint_of(home, name, what, pixels)
    found.write_bytes(b"half a token")
    return found


def concept(name):
    token = np.arange(8, dtype=np.float32)
    words = {"name": name, "kind": "object", "class_word": "dog", "backbone": "ab", "loss": 1, "forwards": 9}
    return Concept(**words, anchor=token, token=token)


def test_a_checkpoint_is_sealed_and_comes_back(tmp_path):
    found = begun(tmp_path)
    assert found.exists()
    assert found.read_bytes() == b"half a token"
    assert not any(b"half" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert [file.name for file in (tmp_path / "learning").iterdir()] == [found.path.name]


def test_a_checkpoint_that_was_changed_or_swapped_is_refused(tmp_path):
    one, other = begun(tmp_path), begun(tmp_path, name="ink")
    other.path.write_bytes(one.path.read_bytes())
    with pytest.raises(VaultError, match="is damaged or of another vault"):
        other.read_bytes()
    one.path.write_bytes(one.path.read_bytes()[:-1])
    with pytest.raises(VaultError, match="is damaged"):
        one.read_bytes()


def test_other_photos_or_another_word_are_another_learning_and_the_name_tells_no_photos(tmp_path):
    first = checkpoint_of(tmp_path, "rex", "object/dog", PIXELS)
    assert first.path == checkpoint_of(tmp_path, "rex", "object/dog", PIXELS).path
    assert first.path != checkpoint_of(tmp_path, "rex", "object/cat", PIXELS).path
    assert first.path != checkpoint_of(tmp_path, "rex", "object/dog", PIXELS + 1).path
    other_vault = checkpoint_of(tmp_path / "other", "rex", "object/dog", PIXELS)
    assert first.path.name != other_vault.path.name


def test_two_do_not_learn_the_same_at_once(tmp_path):
    script = (
        "import pathlib, sys; from client.unfinished import learning_alone\n"
        "with learning_alone(pathlib.Path(sys.argv[1]), 'rex'): print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], **pipes) as other:
        other.stdout.readline()
        with pytest.raises(ConfigError, match="being learned already"), learning_alone(tmp_path, "rex"):
            pass
        assert is_begun(tmp_path, "rex")
        with learning_alone(tmp_path, "ink"):
            pass
        other.kill()
        other.wait()
    with learning_alone(tmp_path, "rex") as forgotten:  # a killed learner holds nothing
        assert not forgotten()
    assert not is_begun(tmp_path, "rex")


def test_forgetting_waits_until_the_learner_ends(tmp_path):
    entered, order = threading.Event(), []

    def learn():
        with learning_alone(tmp_path, "rex") as forgotten:
            entered.set()
            while not forgotten():
                time.sleep(0.01)
            begun(tmp_path)
            order.append("learner ended")

    thread = threading.Thread(target=learn)
    thread.start()
    assert entered.wait(30)
    with forgetting(tmp_path, "rex"):
        order.append("forgotten")
    thread.join()
    assert order == ["learner ended", "forgotten"]
    assert not is_begun(tmp_path, "rex")
    with learning_alone(tmp_path, "rex") as forgotten:
        assert not forgotten()


def test_a_learner_that_does_not_end_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "_LEAVING_SECONDS", 0.2)
    begun(tmp_path)
    with learning_alone(tmp_path, "rex") as forgotten:
        with pytest.raises(VaultError, match="does not end"), forgetting(tmp_path, "rex"):
            pass
        assert not forgotten()
    assert is_begun(tmp_path, "rex")


def test_only_checkpoints_of_that_name_are_deleted(tmp_path):
    for name in ("rex", "rex-2", "re"):
        begun(tmp_path, name)
    delete_unfinished(tmp_path, "rex")
    assert [is_begun(tmp_path, name) for name in ("re", "rex", "rex-2")] == [True, False, True]


def test_forget_leaves_nothing_that_was_made_of_the_photos(tmp_path):
    home, photos = tmp_path / "home", tmp_path / "photos"
    photos.mkdir()
    watch(home, Watched(folder=photos, name="rex", class_word="dog"))
    Vault(home).save_concept(concept("rex"))
    Vault(home).save_concept(concept("ink"))
    begun(home)
    note_tried(home, "rex", Tried(digest="ab", skipped=("skipped a.jpg: empty",)))
    assert last_tried(home, "rex") == Tried(digest="ab", skipped=("skipped a.jpg: empty",))
    assert forget(home, "rex") is None
    assert watched(home) == ()
    assert last_tried(home, "rex") is None
    assert [one.name for one in Vault(home).listed()] == ["ink"]
    assert not any(b"rex" in file.read_bytes() for file in home.rglob("*") if file.is_file())
    with pytest.raises(VaultError, match="there is no concept 'rex'"):
        forget(home, "rex")


def test_what_was_only_begun_can_be_forgotten(tmp_path):
    begun(tmp_path)
    note_tried(tmp_path, "rex", Tried(digest="ab", problem="no usable photo"))
    check_known(tmp_path, "rex")
    forget(tmp_path, "rex")
    assert not is_begun(tmp_path, "rex")
    assert last_tried(tmp_path, "rex") is None


def test_what_cannot_be_recalled_is_said():
    assert "sums already made cannot be undone" in in_words("rex", "2026-11-24T10:00:00+00:00")
    assert "sum" not in in_words("rex", None)


def test_where_photos_lie_and_what_they_are_called_is_sealed(tmp_path):
    note_tried(tmp_path, "rex", Tried(digest="digest-of-mine", skipped=("skipped photo-of-mine.jpg",)))
    assert not any(b"of-mine" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
