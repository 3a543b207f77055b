from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from client.backbone.engine import TorchEngine
from client.backbone.latents import Batch, Latents
from client.backbone.lexicon import FILE, mean_pictures, noisiest, read_lexicon, write_lexicon
from client.backbone.probing import known, make_lexicon
from client.learn.sketch import sketched
from common.errors import BackboneError


@pytest.fixture(scope="module")
def engine(tiny_backbone):
    return TorchEngine(tiny_backbone, int8=False)


@pytest.fixture(scope="module")
def lexicon(engine):
    return make_lexicon(engine)


def test_a_prediction_stands_for_the_picture_that_was_noised(engine):
    """Where a model predicts without error, what it draws is the picture itself."""
    picture, last = torch.randn(1, *engine.latent_shape), engine.timesteps[1] - 1
    noise = torch.randn(1, *engine.latent_shape)
    empty = Batch(latents=0 * noise, noise=noise, timesteps=torch.tensor([last]), templates=torch.zeros(1).long())
    told = engine._schedule
    target = told.get_velocity(picture, noise, empty.timesteps)  # v of the picture, from the same noise
    residual = target - told.get_velocity(empty.latents, noise, empty.timesteps)
    noise_share = 1 - float(told.alphas_cumprod[last])  # σ², near one at the noisiest timestep
    assert noise_share > 0.75
    torch.testing.assert_close(engine.drawn(residual, last), picture * noise_share, atol=1e-5, rtol=1e-4)


def test_residuals_squared_are_the_losses(engine):
    generator = torch.Generator().manual_seed(1)
    batch = Batch(
        latents=torch.randn(3, *engine.latent_shape, generator=generator),
        noise=torch.randn(3, *engine.latent_shape, generator=generator),
        timesteps=torch.tensor([600, 700, 800]),
        templates=torch.zeros(3).long(),
        weights=2 * torch.rand(3, 1, *engine.latent_shape[1:], generator=generator),
    )
    candidates = engine.vocabulary()[:4]
    missed = engine.residuals(candidates, batch, "object")
    assert missed.shape[:2] == (4, 3)
    torch.testing.assert_close(missed.square().mean(dim=(1, 2)), engine.losses(candidates, batch, "object"))


def test_a_start_is_the_regression_at_the_photos_features(engine, lexicon):
    picture = (torch.linalg.pinv(lexicon.features) @ torch.ones(len(lexicon.features)) + lexicon.centre).view(
        1, *engine.latent_shape
    )
    start = lexicon.start(Latents(mean=picture, spread=0 * picture))
    torch.testing.assert_close(start, lexicon.weights.sum(dim=0), atol=1e-3, rtol=1e-3)


def test_the_curvature_is_a_covariance_of_slopes(lexicon):
    assert torch.linalg.eigvalsh(lexicon.curvature.double()).min() > -1e-6 * lexicon.curvature.abs().max()
    torch.testing.assert_close(lexicon.curvature, lexicon.curvature.T)
    basis = lexicon.basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4, rtol=0)


def test_what_words_draw_is_foretold_from_what_the_u_net_is_told(engine, lexicon):
    words = engine.vocabulary()[:40]
    told = sketched(engine.states(words, "object", [0])[:, 0])
    pictures = mean_pictures(engine, words, "object", engine.latent_shape)
    seen = lexicon.foresight
    truth = (pictures - pictures.mean(dim=0)) @ seen.views.T
    found = (told - told.mean(dim=0)) @ seen.slopes.T
    assert (found - truth).square().sum() < 0.5 * truth.square().sum()


def test_a_lexicon_that_foresees_nothing_comes_back_as_well(lexicon, tmp_path):
    write_lexicon(replace(lexicon, foresight=None), "a" * 64, tmp_path / FILE)
    assert read_lexicon(tmp_path, "a" * 64).foresight is None


def test_words_that_training_never_met_are_left_out():
    table = torch.nn.functional.normalize(torch.randn(300, 8), dim=1)
    table[::3] *= 4
    assert known(table).tolist() == list(range(0, 300, 3))
    assert len(known(table[1::3])) == 100


def test_the_noisiest_timesteps_are_the_upper_part():
    assert noisiest((600, 1000)) == (850, 1000)
    assert noisiest((500, 502)) == (501, 502)


def test_a_lexicon_comes_back_and_one_of_other_weights_or_a_damaged_one_is_refused(lexicon, tmp_path):
    assert read_lexicon(tmp_path, "a" * 64) is None
    write_lexicon(lexicon, "a" * 64, tmp_path / FILE)
    found = read_lexicon(tmp_path, "a" * 64)
    torch.testing.assert_close(found.weights, lexicon.weights)
    torch.testing.assert_close(found.foresight.slopes, lexicon.foresight.slopes)
    with pytest.raises(BackboneError, match="other weights"):
        read_lexicon(tmp_path, "b" * 64)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-20])
    with pytest.raises(BackboneError, match="damaged"):
        read_lexicon(tmp_path, "a" * 64)
