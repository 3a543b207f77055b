"""Which of diffusers' schedulers draw with a backbone, by their class names."""

from __future__ import annotations

import inspect
from typing import Any

from common.errors import ConfigError

GENUINE = "diffusers.schedulers."
"""Where diffusers' own schedulers live; one whose package is missing is a stand-in from elsewhere that only raises."""

NOISE_SCHEDULE = "beta_schedule"
"""What a scheduler takes to follow the noise that a model was trained on. `EDMEulerScheduler`, which diffusers lists as
compatible, brings a noise of its own (Karras et al., arXiv:2206.00364), under which a Stable Diffusion draws noise."""


def schedulers(pipeline: Any) -> dict[str, Any]:  # noqa: ANN401 - diffusers has no types
    """Return by name the scheduler classes that a pipeline can be sampled with: nothing but diffusers' own."""
    own = pipeline.scheduler
    found = {kind.__name__: kind for kind in (type(own), *own.compatibles)}
    return {name: found[name] for name in sorted(found) if _usable(found[name])}


def use_scheduler(pipeline: Any, name: str) -> None:  # noqa: ANN401 - as above
    """Sample a pipeline with another scheduler, on the noise schedule that its model was trained on.

    Raises:
        ConfigError: there is no such scheduler for this model.
    """
    known = schedulers(pipeline)
    if name not in known:
        raise ConfigError(f"there is no scheduler {name!r} for this model: choose one of {', '.join(known)}")
    pipeline.scheduler = known[name].from_config(pipeline.scheduler.config)


def check_steps(pipeline: Any, steps: int) -> None:  # noqa: ANN401 - as above
    """Refuse a number of steps that a pipeline's scheduler cannot draw in: `PNDMScheduler` needs four.

    Raises:
        ConfigError: it cannot.
    """
    try:
        pipeline.scheduler.set_timesteps(steps)
    except (ValueError, IndexError) as error:
        name = type(pipeline.scheduler).__name__
        raise ConfigError(f"{name} cannot draw in {steps} steps: choose another number, or --scheduler") from error


def _usable(kind: Any) -> bool:  # noqa: ANN401 - as above
    return kind.__module__.startswith(GENUINE) and NOISE_SCHEDULE in inspect.signature(kind.__init__).parameters
