import numpy as np
import pytest

from common.errors import ConfigError
from simulations.benchmarks.gallery import PATH
from simulations.benchmarks.retrieval import (
    Gallery,
    family,
    fit_metric,
    load_gallery,
    ranks,
    recall,
    save_gallery,
)

STYLES = ("soft", "simple", "modern", "ink")
WIDTH = 8


def small_gallery(concepts=6):
    """Each concept is a direction, each style an offset that is larger than any concept."""
    names = [f"thing {c}" for c in range(concepts) for _ in STYLES]
    styles = [s for _ in range(concepts) for s in STYLES]
    offsets = 20 * np.eye(WIDTH, dtype=np.float32)[-len(STYLES) :][:, ::-1] + 3
    rng = np.random.default_rng(0)
    base = rng.normal(size=(concepts, WIDTH)).astype(np.float32)
    rows = np.stack([base[c] + offsets[s] for c in range(concepts) for s in range(len(STYLES))])
    return Gallery(
        features=rows.astype(np.float16),
        names=np.array(names),
        styles=np.array(styles),
        split=np.array(["train"] * len(names)),
        mean_styles=np.array(STYLES),
        means=offsets.astype(np.float16),
        projection=np.eye(WIDTH, dtype=np.float16),
        probes=np.zeros((1, 4, 4, 3), np.uint8),
    )


def test_a_real_picture_is_nearest_to_its_own_concept():
    gallery = small_gallery()
    found = ranks(gallery, gallery.features.astype(np.float32), gallery.styles, gallery.names)
    assert (found == 0).all()


def test_a_style_is_no_help():
    gallery = small_gallery()
    offsets = gallery.means.astype(np.float32)  # pictures that show a style and nothing else
    found = ranks(gallery, offsets, STYLES, ["thing 0"] * len(STYLES))
    assert (found > 0).all()


def test_the_querys_own_family_is_left_out():
    gallery = small_gallery()
    row = int(np.flatnonzero((gallery.names == "thing 2") & (gallery.styles == "modern"))[0])
    spoilt = gallery.features.copy()
    others = [i for i in range(len(spoilt)) if gallery.names[i] == "thing 2" and family(gallery.styles[i]) != "fluent"]
    spoilt[others] = -spoilt[others]  # only its own artwork still resembles it
    altered = Gallery(**{f: getattr(gallery, f) for f in Gallery.__slots__} | {"features": spoilt})
    query = gallery.features[[row]].astype(np.float32)
    assert ranks(altered, query, ["modern"], ["thing 2"])[0] > 0


def test_what_is_not_a_number_comes_last():
    gallery = small_gallery()
    found = ranks(gallery, np.full((1, WIDTH), np.nan, np.float32), ["soft"], ["thing 1"])
    assert found[0] == len(gallery.concepts) - 1


def test_a_blank_picture_ties_with_all_and_gains_nothing():
    gallery = small_gallery()
    found = ranks(gallery, gallery.means[:1].astype(np.float32), ["soft"], ["thing 1"])
    assert recall(found, 5) == 0


def test_recall_counts_from_the_best():
    assert recall(np.array([0, 1, 4, 5]), 1) == 0.25
    assert recall(np.array([0, 1, 4, 5]), 5) == 0.75


def test_the_metric_keeps_what_tells_concepts_apart():
    rng = np.random.default_rng(1)
    concept = np.repeat(rng.normal(size=(40, 1)), 5, axis=0)
    noise = 2 * rng.normal(size=(200, 1))
    rows = np.hstack([concept, noise, 0.1 * rng.normal(size=(200, 1))]).astype(np.float32)
    first = fit_metric(rows, [str(i // 5) for i in range(200)])[:, 0]
    assert abs(first[0]) > 5 * abs(first[1])


def test_a_gallery_survives_its_file(tmp_path):
    gallery = small_gallery()
    save_gallery(gallery, tmp_path / "g.npz")
    again = load_gallery(tmp_path / "g.npz")
    assert again.concepts == gallery.concepts
    assert np.array_equal(again.features, gallery.features)


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_missing_or_broken_gallery_says_how_to_rebuild_it(tmp_path, content):
    path = tmp_path / "g.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"simulations\.benchmarks\.gallery"):
        load_gallery(path)


def test_the_committed_gallery_finds_real_pictures_across_artists():
    gallery = load_gallery(PATH)
    assert PATH.stat().st_size < 2_000_000
    assert len(gallery.concepts) == 200
    rows = np.flatnonzero(gallery.split == "unseen")
    found = ranks(gallery, gallery.features[rows].astype(np.float32), gallery.styles[rows], gallery.names[rows])
    assert recall(found, 5) > 0.9
    shuffled = np.random.default_rng(0).permutation(gallery.names[rows])
    wrong = ranks(gallery, gallery.features[rows].astype(np.float32), gallery.styles[rows], shuffled)
    assert recall(wrong, 5) < 0.06
