"""`shoal rate` from choices to vault: which pictures are drawn again, what is learned of them, where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from client.backbone.choice import Name as EngineName
from client.backbone.choice import open_engine
from client.backbone.engine import fingerprint
from client.backbone.folder import find_backbone
from client.backbone.prompts import Sayings, sayings
from client.choices import Choice
from client.generate import add_concepts, load_pipeline
from client.lesson import MODELS, Listener
from client.placeholder import MENTION
from client.priors import admit_backbone, current_prior
from client.spoken import Stages
from client.taste.asking import pair_of
from client.taste.belief import Belief, Tastes
from client.taste.choosing import KIND, Pair
from client.taste.learning import first_belief, learn_taste, taste_settings
from client.taste.standing import MATURE, NAME, decided, is_stale, named
from client.taste.words import middle_of
from client.unfinished import checkpoint_of, delete_unfinished, learning_alone
from client.vault import Concept, Vault
from common.errors import ConfigError, PriorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from client.backbone.engine import Engine
    from client.choices import Vectors
    from client.generate import Token
    from client.learn.settings import Learned
    from common.prior import Prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A concept as it was in a picture: a `client.generate.Token`."""

    name: str
    backbone: str
    token: NDArray[np.float32]
    stages: int = 1


def study_taste(
    home: Path,
    model: str | None,
    listener: Listener,
    *,
    forwards: int | None = None,
    engine: EngineName = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> Learned | None:
    """Learn the taste anew from all choices and keep it, unless it is paused; None if nothing is new.

    Raises:
        ShoalError: the model or the vault cannot be used, or another program is learning it.
    """
    folder = find_backbone(model)
    backbone = fingerprint(folder)
    choices = decided(home, backbone)
    if not is_stale(home, backbone):
        return None
    with learning_alone(home, NAME) as forgotten:
        listener.says(f"drawing the pictures of {len(choices)} choice{'s' if len(choices) > 1 else ''} again")
        pairs = _pairs(home, folder, choices)
        opened = open_engine(
            folder, home / MODELS, engine, device=device, threads=threads, told=listener.says
        )  # the pipeline is gone: both at once would be the memory's peak
        admit_backbone(home, backbone, opened.width)
        pixels = torch.cat([torch.stack([pair.chosen, pair.other]) for pair in pairs]).numpy()
        checkpoint = checkpoint_of(home, NAME, f"taste/{forwards}/{engine}/{device}/{named(choices)}", pixels)
        learned, belief = learn_taste(
            opened,
            sayings(folder).tastes,
            pairs,
            taste_settings(len(pairs), forwards=forwards),
            prior=_prior(home, backbone, listener),
            checkpoint=checkpoint,
            progress=listener.progress,
            stop=lambda: forgotten() or listener.stop(),
        )
        if forgotten():
            delete_unfinished(home, NAME)
        elif learned.reason != "paused":
            _keep(home, backbone, learned, belief, choices)
            delete_unfinished(home, NAME)
    return learned


def belief_of(home: Path, engine: Engine, said: Sayings, listener: Listener) -> Belief:
    """Return what is known of the taste now: what was learned, or what others or words tell before a choice."""
    held = Tastes(home).held(engine.fingerprint)
    return first_belief(engine, said.tastes, _prior(home, engine.fingerprint, listener)) if held is None else held


def taste_token(home: Path, pipeline: Any, folder: Path, listener: Listener) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ANN401 - diffusers has no types
    """Return the taste to draw with and its anchor, both of shape (width,): the person's, or the population's.

    Raises:
        ConfigError: neither is known.
    """
    backbone = fingerprint(folder)
    held = Tastes(home).held(backbone)
    if held is not None:
        return held.token.numpy(), held.anchor.numpy()
    prior = _prior(home, backbone, listener)
    if prior is None:
        raise ConfigError("nothing is known of your taste yet: choose between some pictures with shoal rate")
    anchor = middle_of(pipeline, sayings(folder).tastes)
    cohort = max(prior.cohorts, key=lambda each: each.weight)
    return anchor + np.asarray(prior.public_basis @ cohort.mean, np.float32), anchor


def said_plainly(home: Path, prompt: str) -> str:
    """Return a prompt with each concept as the word for what it is one of: what an engine can read."""
    words = {one.name: one.class_word for one in Vault(home).listed()}
    return MENTION.sub(lambda found: words.get(found[1], "") or found[1], prompt)


def as_tokens(concepts: Sequence[Token]) -> tuple[tuple[str, Vectors], ...]:
    """Return concepts as a recipe holds them."""
    rows = [(one.name, np.array(one.token, np.float32).reshape(one.stages, -1).tolist()) for one in concepts]
    return tuple((name, tuple(map(tuple, stages))) for name, stages in rows)


def tokens_of(held: tuple[tuple[str, Vectors], ...], backbone: str) -> list[Told]:
    """Return the concepts that a recipe holds, as a pipeline is taught them."""
    return [
        Told(name=name, backbone=backbone, token=np.array(rows, np.float32), stages=len(rows)) for name, rows in held
    ]


def with_concepts(pipeline: Any, folder: Path, choice: Choice) -> Stages:  # noqa: ANN401 - as above
    """Teach a pipeline the concepts of a choice's pictures, as they were then."""
    return add_concepts(pipeline, folder, tokens_of(choice.first.tokens, choice.first.backbone))


def _pairs(home: Path, folder: Path, choices: Sequence[Choice]) -> list[Pair]:
    said, pairs = sayings(folder), []
    pipeline = load_pipeline(folder)
    fresh = True
    for choice in choices:
        if choice.first.tokens and not fresh:  # a word cannot be taught twice: other concepts need a fresh pipeline
            pipeline = load_pipeline(folder)
        fresh = fresh and not choice.first.tokens
        stages = with_concepts(pipeline, folder, choice)
        ordered = (choice.first, choice.second) if choice.picked == "first" else (choice.second, choice.first)
        pairs.append(pair_of(pipeline, said, *ordered, said_plainly(home, choice.first.prompt), stages))
    return pairs


def _keep(home: Path, backbone: str, learned: Learned, belief: Belief, choices: Sequence[Choice]) -> None:
    Tastes(home).keep(backbone, belief, named(choices))
    if len(choices) < MATURE and all(one.name != NAME for one in Vault(home).listed()):
        return  # one that was a concept already is kept as it is now: perhaps choices were taken back
    concept = Concept(
        name=NAME,
        kind=KIND,
        class_word="",
        backbone=backbone,
        anchor=belief.anchor.numpy(),
        token=belief.token.numpy(),
        loss=learned.loss,
        forwards=learned.forwards,
    )
    Vault(home).save_concept(concept)


def _prior(home: Path, backbone: str, listener: Listener) -> Prior | None:
    try:
        return current_prior(home, backbone, KIND)
    except PriorError as error:
        listener.says(f"learning without the federation's prior: {error}")
        return None


