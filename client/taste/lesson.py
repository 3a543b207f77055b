"""`shoal rate` from choices to vault: which pictures are drawn again, what is learned of them, where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from client.backbone.choice import Name as EngineName
from client.backbone.choice import open_engine
from client.backbone.engine import fingerprint
from client.backbone.folder import find_backbone
from client.backbone.prompts import sayings
from client.choices import Choice
from client.lesson import MODELS, Listener
from client.priors import admit_backbone, trusted_prior
from client.taste.belief import Belief, Tastes
from client.taste.choosing import KIND, Pair
from client.taste.concepts import said_plainly
from client.taste.easel import Easel
from client.taste.learning import learn_taste, taste_settings
from client.taste.standing import MATURE, NAME, named, stale
from client.unfinished import checkpoint_of, delete_unfinished, learning_alone
from client.vault import Concept, Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from client.learn.settings import Learned


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
    choices = stale(home, backbone)
    if not choices:
        return None
    with learning_alone(home, NAME) as forgotten:
        listener.says(f"drawing the pictures of {len(choices)} choice{'s' if len(choices) > 1 else ''} again")
        pairs = _pairs(home, folder, choices, listener)
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
            prior=trusted_prior(home, backbone, KIND, listener.says),
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


def _pairs(home: Path, folder: Path, choices: Sequence[Choice], listener: Listener) -> list[Pair]:
    """Draw the pictures of choices again."""
    easel, said, pairs = Easel(home, str(folder), listener), sayings(folder), []
    for choice in choices:
        chosen, other = (easel.again(one)[0] for one in (choice.better, choice.worse))
        caption = said.tasteful(said_plainly(home, choice.first.prompt))
        pairs.append(Pair(chosen=chosen, other=other, caption=caption))
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
