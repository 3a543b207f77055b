"""The first moves of a search: what prompts draw, foretold by the lexicon, and asked for by single forward passes.

At the noisiest timestep a prediction is the mean picture that a prompt stands for, whatever the noise. The lexicon
foretells it from what the U-Net is told, as well as a line can: that gives a first place without a forward pass. One
forward pass there tells the picture itself; the difference mends the lexicon's slopes, and the search goes on from
there. A few such rounds cost less than one look with probes, and lead most of the way.

It is what the photos have in common, though, and not the loss: looks at all timesteps follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.backbone.latents import Latents
from client.backbone.lexicon import Foresight
from client.learn.look import Look, reading_of

ROUNDS = 6
"""Times that the prompts are asked."""

PROMPTS = 6
"""Of them at most: each costs a forward pass a round."""

WORTH = 4.0
"""Draws that what is known of mean pictures counts for: one draw tells less, as its noise is in it."""

FADING = 0.7
"""What that is worth when a draw comes: it holds the first looks together, and would hold back later ones."""

HELD = 1e-3
"""Weight of one standard deviation squared of the shape against it: farther out pictures may be as alike, but hardly
answer to anything any more, and a search that begins there is slow."""

LEAST = 1e-6
"""Square of a move, in what the U-Net is told, that slopes are hardly mended along: it is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is known of the pictures that some prompts draw.

    The model of F in picture = F(c(place)), c what the text encoder makes of a place, is linear and meets what was seen
    last: Broyden's method (Broyden 1965) with the lexicon's slopes for a start, by blocks of as many moves as prompts.
    """

    foresight: Foresight
    goals: Tensor
    """What the prompts should draw, in the lexicon's views, shape (prompts, r)."""
    entries: int
    """Of a picture."""
    slopes: Tensor
    """Of pictures in what the U-Net is told, shape (r, s)."""
    states: Tensor
    """What the U-Net was told when it was asked last, sketched, shape (prompts, s)."""
    pictures: Tensor
    """What it drew, shape (prompts, r)."""
    asked: int = 0
    """Times so far."""

    @classmethod
    def foretold(cls, foresight: Foresight, latents: Latents, templates: int) -> Opening:
        """Return what the lexicon says of photos' prompts, before any forward pass."""
        photos = latents.mean.flatten(1)
        goals = photos if latents.captions else photos.mean(dim=0).expand(templates, -1)
        goals = (goals[:PROMPTS] - foresight.drawn) @ foresight.views.T
        count = len(goals)
        return cls(
            foresight=foresight,
            goals=goals,
            entries=photos.shape[1],
            slopes=foresight.slopes,
            states=foresight.told.expand(count, -1).contiguous(),
            pictures=torch.zeros_like(goals),
        )

    def __len__(self) -> int:
        """Return the number of prompts, and so of a round's forward passes."""
        return len(self.goals)

    def seen(self, states: Tensor, drawn: Tensor) -> Opening:
        """Return what is known when prompts were asked.

        Args:
            states: what the U-Net was told, sketched, shape (prompts, s).
            drawn: what it drew, shape (prompts, entries), as latents.
        """
        slopes, pictures = self.slopes, (drawn - self.foresight.drawn) @ self.foresight.views.T
        if self.asked:
            moves = states - self.states
            missed = pictures - self.pictures - moves @ slopes.T
            slopes = (slopes + missed.T @ reading_of(moves, least=LEAST)).contiguous()
        return replace(self, slopes=slopes, states=states, pictures=pictures, asked=self.asked + 1)

    def looks(self) -> Iterator[tuple[Look, float]]:
        """Yield each prompt's mean picture as a look, and its share: one in all."""
        information = torch.eye(len(self.slopes)) / self.entries
        for prompt, missed in enumerate(self.pictures - self.goals):
            seen = Look(
                prompt=prompt,
                states=self.states[prompt],
                reading=self.slopes,
                pull=missed / self.entries,
                information=information,
            )
            yield seen, 1 / len(self)

    @property
    def missed(self) -> float:
        """The mean square of what pictures lack, as far as views show it."""
        return float((self.pictures - self.goals).square().sum(dim=1).mean()) / self.entries

    def tensors(self) -> dict[str, Tensor]:
        """Return all that changes."""
        changing = {"slopes": self.slopes, "states": self.states, "pictures": self.pictures}
        return changing | {"asked": torch.tensor(self.asked)}

    def restored(self, tensors: dict[str, Tensor]) -> Opening:
        """Return it as it was when `tensors` were taken."""
        changed = {name: tensors[name] for name in ("slopes", "states", "pictures")}
        return replace(self, asked=int(tensors["asked"]), **changed)  # type: ignore[arg-type]
