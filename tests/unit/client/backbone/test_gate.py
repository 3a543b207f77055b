"""The gate: an engine whose slopes are noise never learns, whatever its losses look like."""

from __future__ import annotations

import pytest
import torch

from client.backbone.gate import LEAST_COSINE, Verdict, compared, jacobian, judged, refusal, slopes
from client.learn.settings import Settings


class Bowl:
    """An engine on a quadratic loss, with as much noise on each loss and each prediction as is asked for."""

    width, timesteps, latent_shape = 24, (500, 900), (4, 8, 8)

    def __init__(self, noise):
        self.noise, self.generator = noise, torch.Generator().manual_seed(5)

    def anchor(self, _word):
        return torch.full((self.width,), 0.1)

    def vocabulary(self):
        return 0.1 * torch.randn(60, self.width, generator=torch.Generator().manual_seed(1))

    def residuals(self, candidates, _batch, _kind):
        missed = candidates[:, None].repeat(1, 1, 3)
        return missed + self.noise * torch.randn(missed.shape, generator=self.generator)

    def losses(self, candidates, _batch, _kind):
        exact = (candidates.double() ** 2).mean(dim=1)
        return exact + self.noise * torch.randn(len(candidates), generator=self.generator, dtype=torch.float64)


def verdict(noise, place, by="predictions"):
    return judged("bowl", lambda: Bowl(noise), lambda: Bowl(0.0), place, "cpu", by)


@pytest.mark.parametrize("by", ["predictions", "losses"])
def test_an_exact_engine_passes(tmp_path, by):
    found = verdict(0.0, tmp_path / "a", by)
    assert found.cosine == pytest.approx(1)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_an_engine_of_noise_does_not_pass(tmp_path):
    # Slopes are about 0.1 / 24 ** 0.5 ≈ 0.04 times the step of 1e-3: noise of 1e-4 drowns them, and no loss shows it.
    found = verdict(1e-4, tmp_path / "a", "losses")
    assert not found.passes
    assert str(LEAST_COSINE) in str(refusal("bowl", found))


def test_predictions_are_judged_at_the_step_that_our_search_takes(tmp_path):
    """Noise that drowns losses a thousandth apart leaves predictions half a standard deviation apart as they are."""
    found = verdict(1e-4, tmp_path / "a")
    assert found.passes
    assert 0 < found.error < 0.05
    # An axis is about 0.1 long and entries are 72: a step moves an entry by 0.05 / 24 ** 0.5 ≈ 0.01.
    drowned = verdict(0.02, tmp_path / "b")
    assert not drowned.passes
    assert drowned.error > 1


def test_both_judgements_are_kept_side_by_side(tmp_path):
    place = tmp_path / "verdicts.json"
    assert verdict(1e-4, place).passes
    assert not verdict(1e-4, place, "losses").passes
    assert verdict(9.0, place).passes, "measured again"


def test_the_error_is_in_lengths_of_the_true_slopes():
    true = torch.tensor([3.0, 4.0])
    assert compared(true + torch.tensor([0.5, 0.0]), true) == Verdict(cosine=0.997164, error=0.1)
    assert not compared(true * float("nan"), true).passes


def test_a_cosine_that_is_not_a_number_does_not_pass():
    assert not Verdict(cosine=float("nan")).passes


def test_a_verdict_is_measured_once(tmp_path):
    place = tmp_path / "verdicts.json"
    first = verdict(0.0, place)
    kept = judged("bowl", lambda: pytest.fail("opened again"), lambda: pytest.fail("opened again"), place, "cpu")
    assert kept == first


def test_another_machine_is_measured_anew(tmp_path):
    verdict(0.0, tmp_path / "a")
    with pytest.raises(pytest.fail.Exception):
        judged("bowl", lambda: pytest.fail("opened"), lambda: Bowl(0.0), tmp_path / "a", "cuda")


def test_a_damaged_file_of_verdicts_is_measured_anew(tmp_path):
    place = tmp_path / "verdicts.json"
    place.write_text("[1, 2")
    assert verdict(0.0, place).passes


def test_predictions_are_judged_along_axes_of_the_words_spread():
    engine = Bowl(0.0)
    found = jacobian(engine).view(2, 6, -1)  # times, axes, entries
    _, values, rows = torch.linalg.svd(engine.vocabulary() - engine.vocabulary().mean(dim=0))
    widest = values[:, None] * rows / (60 - 1) ** 0.5
    for time in found:
        for axis, wanted in zip(time[:4], widest, strict=False):
            moved = axis.float().view(3, engine.width)[0]
            assert torch.allclose(moved, wanted, atol=1e-4) or torch.allclose(moved, -wanted, atol=1e-4)
    assert Settings().step == 0.5


def test_slopes_are_the_derivatives_along_directions():
    engine = Bowl(0.0)
    found = slopes(engine, step=1e-6)
    assert len(found) == 12
    assert found.std() == pytest.approx(2 * 0.1 / engine.width**0.5, rel=0.6)
