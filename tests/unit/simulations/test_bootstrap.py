from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from common.errors import ConfigError
from server.config import Federation, Inside, read_config
from server.first_basis import set_backbone
from server.state import Beginning, prepare
from simulations.bootstrap import choose, class_word, leading, learned, share

WIDTH = 24
RNG = np.random.default_rng(0)
VOCABULARY = np.linalg.qr(RNG.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)


def concepts(directions, count=20):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, directions.shape[1])) @ directions.T + 0.01 * rng.standard_normal((count, WIDTH))


def test_pictures_win_where_people_move_elsewhere_than_words():
    elsewhere = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDTH, 3)))[0]
    basis, found = choose(concepts(elsewhere), VOCABULARY, 4, "ab" * 32)
    assert found.chosen == "pictures"
    assert found.kept_by_pictures > 0.99 > found.kept_by_vocabulary
    assert basis.shape == (WIDTH, 4)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)


def test_the_vocabulary_stays_where_pictures_are_no_better():
    basis, found = choose(concepts(VOCABULARY[:, :4].astype(float)), VOCABULARY, 4, "ab" * 32)
    assert found.chosen == "vocabulary"
    np.testing.assert_array_equal(basis, VOCABULARY[:, :4])


def test_concepts_that_were_learned_do_not_judge_themselves():
    """Of unrelated concepts none says anything about the others: what is held out is kept by chance alone."""
    alone = np.eye(WIDTH)[:10]
    _, found = choose(alone, VOCABULARY, 8, "ab" * 32)
    assert found.kept_by_pictures < 0.5
    assert share(alone[:8], leading(alone[:8], VOCABULARY, 8)).mean() > 0.99


def test_few_concepts_are_filled_up_from_the_vocabulary():
    basis = leading(concepts(VOCABULARY[:, :2].astype(float), 3), VOCABULARY, 10)
    np.testing.assert_allclose(basis.T @ basis, np.eye(10), atol=1e-12)
    assert share(VOCABULARY[:, :1].T.astype(float), basis)[0] > 0.99


@pytest.mark.parametrize(("name", "word"), [("dog", "dog"), ("dog 2", "dog"), ("hot_dog-12", "hot_dog"), ("7", "7")])
def test_a_folder_is_named_by_its_class(name, word):
    assert class_word(name) == word


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="5 are needed"):
        learned(None, tmp_path, tmp_path / "kept", 80, Console())


@pytest.mark.slow
def test_pictures_are_learned_once_and_what_did_not_move_is_left_out(tmp_path, tiny_backbone, monkeypatch):
    """On a random model hardly anything is gained."""
    monkeypatch.setattr("simulations.bootstrap.FEWEST", 1)
    from client.backbone.engine import TorchEngine

    for number in range(5):
        folder = tmp_path / "images" / f"dog {number}"
        folder.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "a.png")
    engine = TorchEngine(tiny_backbone)
    first = learned(engine, tmp_path / "images", tmp_path / "kept", 80, Console())
    assert first.shape[1] == engine.width
    assert 1 <= len(first) <= 5
    assert np.all(np.linalg.norm(first, axis=1) > 0)
    monkeypatch.setattr("client.learn.search.learn", None)  # whoever learned again would notice
    again = learned(engine, tmp_path / "images", tmp_path / "kept", 80, Console())
    np.testing.assert_array_equal(first, again)


def test_the_backbone_is_set_and_nothing_else(tmp_path):
    prepare(tmp_path, Beginning(federation=Federation(name="Reef"), inside=Inside()))
    before = (tmp_path / "shoal-server.toml").read_text()
    set_backbone(tmp_path, "cd" * 32)
    assert read_config(tmp_path).rounds["backbone"] == "cd" * 32
    assert (tmp_path / "shoal-server.toml").read_text().replace("cd" * 32, "") == before
