"""The learnings under attack: real, small, openly licensed, twice of the same concept and without a common picture."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from common.errors import ConfigError
from common.prior import check_public_basis
from simulations.attacks.displacements import SOURCE, halves, load
from simulations.population import ARCHIVE, PICTURES, people


def test_the_two_learnings_of_a_concept_share_no_picture():
    with zipfile.ZipFile(ARCHIVE) as file:
        members = file.namelist()
    for person in people(10, 0, seed=3):
        own = [m for m in members if m.startswith(f"object/{person.class_word}/{person.subject}/")]
        first, second = halves(person, own, seed=0)
        assert sorted(first.pictures + second.pictures) == sorted(own)
        assert len(first.pictures) >= PICTURES[0]
        assert second.pictures
        assert (first.subject, first.class_word) == (person.subject, person.class_word)


def test_the_file_is_small_and_whole():
    assert SOURCE.stat().st_size < 300_000
    found = load()
    assert len(found) >= 60
    assert len(set(found.subjects)) == len(found)
    assert found.first.shape == found.second.shape == (len(found), len(found.public_basis))
    assert np.all(np.isfinite(found.first))
    assert np.all(np.isfinite(found.second))
    assert np.all(np.linalg.norm(found.first - found.second, axis=1) > 0)
    check_public_basis(found.public_basis, width=len(found.public_basis))


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(ConfigError, match=r"python -m simulations\.attacks\.displacements"):
        load(tmp_path / "none.npz")
