"""What is known of a person's taste now: what was learned of it, or before that what other people's tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from client.backbone.engine import fingerprint
from client.backbone.prompts import Sayings, sayings
from client.learn.subspace import cohort_mean
from client.priors import trusted_prior
from client.taste.belief import Belief, Tastes
from client.taste.choosing import KIND
from client.taste.learning import first_belief
from client.taste.words import middle_of
from common.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from client.backbone.engine import Engine
    from client.lesson import Listener


def belief_of(home: Path, engine: Engine, said: Sayings, listener: Listener) -> Belief:
    """Return what is known of the taste now: what was learned, or what others or words tell before a choice."""
    held = Tastes(home).held(engine.fingerprint)
    if held is not None:
        return held
    return first_belief(engine, said.tastes, trusted_prior(home, engine.fingerprint, KIND, listener.says))


def taste_token(home: Path, pipeline: Any, folder: Path, listener: Listener) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ANN401 - diffusers has no types
    """Return the taste to draw with and its anchor, both of shape (width,): the person's, or the population's.

    Raises:
        ConfigError: neither is known.
    """
    backbone = fingerprint(folder)
    held = Tastes(home).held(backbone)
    if held is not None:
        return held.token.numpy(), held.anchor.numpy()
    prior = trusted_prior(home, backbone, KIND, listener.says)
    if prior is None:
        raise ConfigError("nothing is known of your taste yet: choose between some pictures with shoal rate")
    anchor = middle_of(pipeline, sayings(folder).tastes)
    return anchor + cohort_mean(prior, prior.largest).numpy(), anchor
