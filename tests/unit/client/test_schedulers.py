from __future__ import annotations

from types import SimpleNamespace

import diffusers
import pytest

from client.backbone.schedulers import schedulers, use_scheduler
from common.errors import ConfigError


@pytest.fixture
def pipeline():
    own = diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, steps_offset=1, clip_sample=False, beta_end=0.012
    )
    return SimpleNamespace(scheduler=own)


def test_the_choice_is_what_diffusers_calls_compatible(pipeline):
    names = list(schedulers(pipeline))
    assert names == sorted(names)
    assert {"DDIMScheduler", "DDPMScheduler", "EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler"} <= set(
        names
    )
    assert set(names) <= {kind.__name__ for kind in pipeline.scheduler.compatibles} | {"DDIMScheduler"}


def test_stand_ins_for_what_is_not_installed_and_schedules_of_another_model_are_no_choice(pipeline):
    class Missing:
        __module__ = "diffusers.utils.dummy_torch_and_torchsde_objects"

        def __init__(self, beta_schedule):
            """Look like a scheduler."""

    pipeline.scheduler = SimpleNamespace(compatibles=[Missing, diffusers.EDMEulerScheduler, diffusers.PNDMScheduler])
    assert list(schedulers(pipeline)) == ["PNDMScheduler"]


def test_the_noise_that_the_model_was_trained_on_is_kept(pipeline):
    use_scheduler(pipeline, "EulerDiscreteScheduler")
    assert type(pipeline.scheduler) is diffusers.EulerDiscreteScheduler
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr
    assert pipeline.scheduler.config.beta_end == 0.012


@pytest.mark.parametrize("name", ["", "ddim", "EDMEulerScheduler", "StableDiffusionPipeline", "__class__"])
def test_any_other_name_is_refused_with_the_choices(pipeline, name):
    with pytest.raises(ConfigError, match=r"choose one of .*DDIMScheduler"):
        use_scheduler(pipeline, name)
