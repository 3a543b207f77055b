from __future__ import annotations

import pytest
import torch

from client.backbone.latents import Latents
from client.backbone.lexicon import noisiest
from client.learn.photos import AXES, PROBES, Photos
from client.learn.settings import Settings
from client.learn.subspace import Shape

WIDTH = 40


def probes(bowl, latents, vectors, turn):
    task = Photos(engine=bowl, latents=latents, kind="object", settings=Settings())
    shape = Shape(
        origin=torch.zeros(vectors * WIDTH), axes=torch.eye(WIDTH)[: AXES["object"]], rest=torch.zeros(0, WIDTH)
    )
    found = task._probes(shape, turn, torch.Generator().manual_seed(0))
    assert found.shape == (task.looks(task.evidence(shape.size), shape.size) - 1, vectors * AXES["object"])
    torch.testing.assert_close(found @ found.T, torch.eye(len(found)), atol=1e-5, rtol=0)
    return found.unflatten(1, (vectors, AXES["object"]))


def test_every_other_look_is_along_the_leading_axes_of_every_vector(bowl, latents):
    seen = probes(bowl, latents, 2, turn=4).abs().sum(dim=0)
    assert (seen[:, : PROBES // 2] == 1).all()
    assert not seen[:, PROBES // 2 :].any()


def test_the_others_leave_no_axis_out(bowl, latents):
    assert (probes(bowl, latents, 2, turn=5).norm(dim=0) > 0.01).all()


def test_no_photo_is_left_out_of_a_validation_set_and_no_noise_comes_twice(bowl):
    photos = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 4, 8, 8)
    latents = Latents(mean=photos, spread=torch.zeros_like(photos))
    settings = Settings()
    task = Photos(engine=bowl, latents=latents, kind="object", settings=settings)
    drawn = task.draws(settings.validation, torch.Generator().manual_seed(0), whole=True)
    assert sorted(drawn.latents.mean(dim=(1, 2, 3)).tolist()) == list(range(settings.validation))
    noises = drawn.noise.flatten(1)
    apart = torch.nn.functional.cosine_similarity(noises[:, None], noises[None], dim=2).abs()
    assert (apart.fill_diagonal_(0) < 0.99).all(), "a noise came twice, as it was or reversed"


@pytest.mark.parametrize("kind", ["object", "style"])
@pytest.mark.parametrize("whole_range", [True, False])
def test_an_object_is_seen_at_all_timesteps_and_a_style_at_the_noisiest(bowl, latents, kind, whole_range):
    drawn = []
    score = bowl.residuals
    bowl.residuals = lambda candidates, batch, of: drawn.append(int(batch.timesteps[0])) or score(candidates, batch, of)
    task = Photos(engine=bowl, latents=latents, kind=kind, settings=Settings(whole_range=whole_range))
    shape = Shape(origin=torch.zeros(bowl.width), axes=torch.eye(bowl.width)[:4], rest=torch.zeros(0, bowl.width))
    evidence, generator = task.evidence(shape.size), torch.Generator().manual_seed(0)
    for turn in range(40):
        task.look(evidence, shape, torch.zeros(shape.size), generator, turn)
    low, high = bowl.timesteps if kind == "object" or whole_range else noisiest(bowl.timesteps)
    assert all(low <= timestep < high for timestep in drawn)
    assert min(drawn) < low + 0.1 * (high - low)
