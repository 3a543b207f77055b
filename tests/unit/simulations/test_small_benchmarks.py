"""The small forms of the benchmarks run and say what they promise to say."""

from __future__ import annotations

import pytest
import torch

from simulations.benchmarks import bending, foresight, forwards, quality, timesteps, ways
from simulations.benchmarks.promises import AS_MUCH


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where `forwards` and `quality` keep what was learned: the second learns nothing anew."""
    return tmp_path_factory.mktemp("learned")


@pytest.mark.slow
def test_forwards_in_small_puts_all_searches_side_by_side(kept):
    report = forwards.run(full=False, seed=0, kept=kept)
    for kind in ways.KINDS:
        searches = [row["search"] for row in report.rows if row["kind"] == kind]
        assert searches[:3] == [ways.GRADIENT, ways.ALONE, ways.REFERENCE]
        assert searches[-1] == ways.largest(ways.SMALL)  # at ε = 1 eight people have none
        shares = {row["search"]: float(row["end share"]) for row in report.rows if row["kind"] == kind}
        assert shares[ways.GRADIENT] == pytest.approx(1, abs=0.02)
    assert all(row["of"] == ways.SMALL.newcomers for row in report.rows)
    assert len(report.bars) == 8
    learned = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npz")}
    assert forwards.run(full=False, seed=0, kept=kept).rows == report.rows
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.npz")} == learned


@pytest.mark.slow
def test_quality_in_small_draws_with_every_ways_tokens(kept, tmp_path):
    report = quality.run(full=False, seed=0, kept=kept, out=tmp_path)
    for kind in ways.KINDS:
        found = {row["pictures"]: row for row in report.rows if row["kind"] == kind}
        assert list(found)[:4] == [quality.REAL, quality.UNTAUGHT, ways.GRADIENT, ways.REFERENCE]
        assert float(found[quality.REAL]["likeness"]) > float(found[quality.UNTAUGHT]["likeness"])
        assert float(found[quality.REAL]["cosine"]) > float(found[quality.UNTAUGHT]["cosine"])
    compared = [bar.what for bar in report.bars]
    assert len(compared) == 21  # one newcomer alone is held to all
    assert sum(AS_MUCH in what for what in compared) == 3  # a style's cosine, likeness and colours
    assert sum("strength 0.6, less published" in what for what in compared) == 4
    assert (tmp_path / "quality.png").stat().st_size > 10_000


@pytest.mark.slow
def test_text_steers_pictograms_where_its_folder_says():
    report = timesteps.run(full=False, seed=0)
    signal = {row["timesteps"]: float(row["signal, antithetic"]) for row in report.rows}
    assert signal["900 to 1000"] > 2 * signal["500 to 600"] > 8 * signal["0 to 200"]


def test_slopes_foretell_a_style_better_through_the_text_encoder_than_along_the_token():
    rows = bending.run(full=False, seed=0).rows
    assert [(row["kind"], row["move"]) for row in rows] == [
        (kind, move) for kind in ("object", "style") for move in bending.MOVES
    ]
    near = next(row for row in rows if row["kind"] == "style")
    assert float(near["missed through the text"]) < 0.7 * float(near["missed along the token"])


def test_what_the_u_net_is_told_foretells_held_out_words_better_than_their_embeddings():
    report = foresight.run(full=False, seed=0)
    foretold = {(row["what"], row["by"]): float(row["foretold"]) for row in report.rows}
    embedded, told = (foretold["words", by] for by in ("their embeddings", "what the U-Net is told"))
    assert told > 0.5 > embedded
    assert foretold["tokens between and around words", "what the U-Net is told"] > 0.5
    assert all(share < 1 for share in foretold.values())


def test_nothing_of_what_a_line_is_held_against_is_in_it():
    """Pictures that have nothing to do with what is given are foretold where they were fitted, and nowhere else."""
    generator = torch.Generator().manual_seed(0)
    given, drawn = (torch.randn(50, 2, width, generator=generator) for width in (200, 30))
    seen = foresight.Seen(given=given, drawn=drawn)
    learned, left = seen.parted()
    assert (len(learned.given), len(left.given)) == (40, 10)
    fitted = foresight.line([seen])
    assert foresight.foretold(fitted, learned, within=False) > 0.8
    assert foresight.foretold(fitted, left, within=False) < 0.1
