from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler

from client.backbone.schedulers import use_scheduler
from client.generate import Request, drawn_latents, load_pipeline
from client.taste.margins import BETA
from client.taste.steering import DRAWS, TURNS, Steering, check_steerable
from common.errors import ConfigError

REQUEST = Request(prompt="a dog", steps=8, guidance=2.0, seed=5)


class Wall:
    """A pipeline whose network, told 1, foretells every number right, and told 0 a little too much everywhere dark."""

    def __init__(self):
        config = SimpleNamespace(prediction_type="v_prediction")
        self.scheduler = SimpleNamespace(
            alphas_cumprod=torch.linspace(0.99, 0.01, 1000),
            config=config,
            scale_model_input=lambda latents, _: latents,
        )

    def unet(self, noisy, times, said, **_):
        signal = self.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
        alpha, sigma = signal.sqrt(), (1 - signal).sqrt()
        clean = self.clean.repeat_interleave(len(noisy) // len(self.clean), 0)
        noise = (noisy - alpha * clean) / sigma
        return (alpha * noise - sigma * clean + (1 - said[:, :1, :1, None]) * clean.clamp(max=0),)


def steering(**changes):
    ones = torch.ones(1, 1, 1)
    facts = {"taste": ones, "anchor": 0 * ones, "plain": ones, "timesteps": (500, 900)}
    return Steering(**(facts | changes))


def pipeline_states(pipeline, *texts):
    return [pipeline.encode_prompt(text, "cpu", 1, do_classifier_free_guidance=False)[0] for text in texts]


@pytest.fixture
def pipeline(tiny_backbone):
    return load_pipeline(tiny_backbone)


@pytest.fixture
def real(pipeline):
    with torch.inference_mode():
        taste, anchor, plain = pipeline_states(pipeline, "a red dog", "a cat", "a dog")
    return Steering(taste=taste, anchor=anchor, plain=plain, timesteps=(500, 900), particles=3)


def test_the_reward_is_how_much_better_the_taste_foretells_a_picture():
    wall, latents = Wall(), torch.tensor([-2.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2).contiguous()
    wall.clean = latents
    found = steering(particles=3)
    found.begin(1)
    rewards = found._rewards(wall, latents)
    assert torch.allclose(rewards, BETA * torch.tensor([4.0, 0.0, 0.0]), atol=1e-3)
    assert found.forwards == 2 * 3 * DRAWS


def test_particles_that_suit_better_are_gone_on_with():
    wall, latents = Wall(), torch.tensor([-2.0, 1.0, 1.0, 1.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2).contiguous()
    found = steering(particles=4)
    found.begin(1)
    wall.clean = latents
    turned = found.turned(wall, list(range(900, 100, -100)), 1, latents)
    assert (turned["latents"] == -2).all()
    assert found.turned(wall, list(range(900, 100, -100)), 2, latents) == {}


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerAncestralDiscreteScheduler])
def test_a_picture_is_foretold_whatever_a_scheduler_means_by_latents(kind):
    """Of the second they are x_t/α, which the network is not given."""
    wall, scheduler = Wall(), kind(prediction_type="v_prediction", timestep_spacing="leading")
    scheduler.set_timesteps(8)
    wall.scheduler, wall.clean = scheduler, torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    timestep = scheduler.timesteps[3]
    signal = scheduler.alphas_cumprod[int(timestep)]
    noisy = signal.sqrt() * wall.clean + (1 - signal).sqrt() * torch.ones(1, 1, 2, 2)
    latents = noisy if kind is DDIMScheduler else noisy / signal.sqrt()
    network, seen = wall.unet, []
    wall.unet = lambda given, *rest, **named: seen.append(given) or network(given, *rest, **named)
    assert torch.allclose(steering()._foretold(wall, latents, float(timestep)), wall.clean, atol=1e-3)
    assert torch.allclose(seen[0], noisy, atol=1e-3)


def test_the_best_particle_is_given_in_the_end(pipeline, real):
    [found] = drawn_latents(pipeline, REQUEST, steering=real)
    assert found.shape == (1, 4, 8, 8)
    rewards = real._before
    assert len(rewards) == 3
    given = real._rewards(pipeline, found)
    assert given.shape[0] == 1


def test_its_cost_is_counted(pipeline, real):
    next(drawn_latents(pipeline, REQUEST, steering=real))
    assert real.forwards == 3 * (TURNS * (1 + 2 * DRAWS) + 2 * DRAWS)


def test_the_same_seed_steers_to_the_same_picture_and_one_particle_is_no_choice(pipeline, real):
    first, again = (next(drawn_latents(pipeline, REQUEST, steering=real)) for _ in range(2))
    assert (first == again).all()
    other = next(drawn_latents(pipeline, replace(REQUEST, seed=6), steering=real))
    assert not torch.allclose(first, other)


def test_what_cannot_be_steered_is_refused(pipeline):
    check_steerable(pipeline)
    use_scheduler(pipeline, "DPMSolverMultistepScheduler")
    with pytest.raises(ConfigError, match="--scheduler DDIMScheduler"):
        check_steerable(pipeline)
    with pytest.raises(ConfigError, match="leave --particles"):
        check_steerable(SimpleNamespace(text_encoder_2=object(), scheduler=pipeline.scheduler))
    with pytest.raises(ConfigError, match="at least 1"):
        steering(particles=0)
