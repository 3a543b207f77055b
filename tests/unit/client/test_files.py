from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from client.files import write_whole


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path):
    write_whole(tmp_path / "a" / "b" / "c.txt", b"whole")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"whole"
    assert names(tmp_path / "a" / "b") == ["c.txt"]


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    write_whole(tmp_path / "a", b"new", replace=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_memory_card_without_links_will_do(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_in_the_middle_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch, error, replace):
    def fail(_):
        raise error

    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    for name in ("a", "b"):
        with pytest.raises(type(error)):
            write_whole(tmp_path / name, b"new", replace=replace)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_file_in_the_place_of_a_folder_is_not_taken_for_the_file_itself(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / "file" / "a", b"")
