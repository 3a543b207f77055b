"""The gate: an engine whose slopes are noise never learns, whatever its losses look like."""

from __future__ import annotations

import pytest
import torch

from client.backbone.gate import LEAST_COSINE, Verdict, judged, refusal, slopes


class Bowl:
    """An engine on a quadratic loss, with as much noise on each loss as is asked for."""

    width, timesteps, latent_shape = 24, (500, 900), (4, 8, 8)

    def __init__(self, noise):
        self.noise, self.generator = noise, torch.Generator().manual_seed(5)

    def anchor(self, _word):
        return torch.full((self.width,), 0.1)

    def losses(self, candidates, _batch, _kind):
        exact = (candidates.double() ** 2).mean(dim=1)
        return exact + self.noise * torch.randn(len(candidates), generator=self.generator, dtype=torch.float64)


def verdict(noise, place):
    return judged("bowl", lambda: Bowl(noise), lambda: Bowl(0.0), place, "cpu")


def test_an_exact_engine_passes(tmp_path):
    assert verdict(0.0, tmp_path / "a").cosine == pytest.approx(1)


def test_an_engine_of_noise_does_not_pass(tmp_path):
    # Slopes are about 0.1 / 24 ** 0.5 ≈ 0.04 times the step of 1e-3: noise of 1e-4 drowns them, and no loss shows it.
    found = verdict(1e-4, tmp_path / "a")
    assert not found.passes
    assert str(LEAST_COSINE) in str(refusal("bowl", found))


def test_a_cosine_that_is_not_a_number_does_not_pass():
    assert not Verdict(cosine=float("nan")).passes


def test_a_verdict_is_measured_once(tmp_path):
    place = tmp_path / "slopes.json"
    first = verdict(0.0, place)
    kept = judged("bowl", lambda: pytest.fail("opened again"), lambda: pytest.fail("opened again"), place, "cpu")
    assert kept == first


def test_another_machine_is_measured_anew(tmp_path):
    verdict(0.0, tmp_path / "a")
    with pytest.raises(pytest.fail.Exception):
        judged("bowl", lambda: pytest.fail("opened"), lambda: Bowl(0.0), tmp_path / "a", "cuda")


def test_a_damaged_file_of_verdicts_is_measured_anew(tmp_path):
    place = tmp_path / "slopes.json"
    place.write_text("[1, 2")
    assert verdict(0.0, place).passes


def test_slopes_are_the_derivatives_along_directions():
    engine = Bowl(0.0)
    found = slopes(engine, step=1e-6)
    assert len(found) == 12
    assert found.std() == pytest.approx(2 * 0.1 / engine.width**0.5, rel=0.6)
