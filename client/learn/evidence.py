"""What draws have said so far about a token, from forward passes alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from client.learn.estimator import Residuals, forward_jacobian
from client.learn.look import Look, reading_of
from client.learn.model import Kept, Model, States
from client.learn.opening import FADING, HELD, WORTH, Opening
from client.learn.sketch import sketched

PRECISION = 3e-5
"""Weight of one standard deviation squared of the shape against the loss, once many draws have spoken. Tokens go ten
standard deviations of the words and more before the loss rises again: what is held back here is held back for good."""

DOUBT = 3e-4
"""What is added to that for a single draw, and falls as draws add up: a draw's own slopes are half noise."""

FORGOTTEN = 0.05
"""A draw worth less is let go."""

NAMES: Final = ("states", "reading", "pull", "information")
"""Of a look's tensors, in a checkpoint."""


@dataclass(slots=True, kw_only=True)
class Predictions:
    """All draws so far, as a loss of the text encoder's states; later draws weigh more.

    Their Jacobian is of finite differences: a forward pass yields a whole prediction, a thousand numbers and more,
    where ZOODiP (arXiv:2503.14868, Eq. 4) keeps only their mean square. A prediction is F(c(y)): y a place, c what the
    text encoder makes of it, F the U-Net. `client.learn.model.Model` takes F for linear and c as it is. Slopes of F are
    from forward passes of the U-Net; c costs none. So a draw goes on telling the truth when the search has moved on,
    and says something of directions that it was not probed in.
    """

    forgetting: float
    """What a draw is worth when the next one comes: slopes were taken where the search was then."""
    looks: list[Look] = field(default_factory=list)
    opening: Opening | None = None
    """What mean pictures say; it fades as draws come."""
    opened: Tensor | None = None
    """The token, shape (vectors * d,), that asking led to before there was a draw."""
    drawn: int = 0
    """Draws so far, those let go among them."""

    def look(
        self, residuals: Residuals, states: States, prompt: int, place: Tensor, probes: Tensor, step: float
    ) -> float:
        """Take in a draw: m + 1 forward passes around a place; return the loss there.

        Args:
            residuals: of places of the shape, on the draw.
            states: of places of the shape, in a prompt.
            prompt: the draw's.
            place: shape (k,).
            probes: directions to look along, rows of length one, shape (m, k).
            step: how far, in standard deviations.
        """
        missed, slopes = forward_jacobian(
            lambda moves: residuals(place + moves @ probes), torch.zeros(len(probes)), step
        )
        told = sketched(states(torch.cat([place[None], place + step * probes]), [prompt])[:, 0])
        entries = len(missed)
        seen = Look(
            prompt=prompt,
            states=told[0].clone(),
            reading=reading_of((told[1:] - told[0]) / step),
            pull=slopes @ missed / entries,
            information=(slopes @ slopes.T / entries).contiguous(),
        )
        kept = [look for age, look in self._aged() if self.forgetting ** (age + 1) >= FORGOTTEN]
        self.looks = [*kept, seen]
        self.drawn += 1
        return float(missed.square().mean())

    def forget(self, axes: Tensor, place: Tensor) -> None:
        """Forget nothing: a draw speaks of the text encoder's states, wherever the axes point."""

    def best(self, place: Tensor, states: States, kept: Kept | None = None) -> Tensor:
        """Return the place that is held most probable, at most `client.learn.model.LONGEST` from this one, shape (k,).

        Args:
            place: shape (k,).
            states: of places of the shape, in prompts.
            kept: what should be small besides.
        """
        looks = list(self._weighed())
        held = PRECISION + (DOUBT + HELD * self._opened) / sum(weight for _, weight in looks)
        return Model(looks=looks, held=held, states=states, kept=kept).best(place)

    def _aged(self) -> Iterator[tuple[int, Look]]:
        """Yield draws and how many have come since each, the oldest first."""
        return zip(reversed(range(len(self.looks))), self.looks, strict=True)

    def _weighed(self) -> Iterator[tuple[Look, float]]:
        """Yield mean pictures and draws, and what they are worth, the oldest first."""
        if self.opening is not None and self._opened > 0:
            for look, share in self.opening.looks():
                yield look, self._opened * share
        for age, look in self._aged():
            yield look, self.forgetting**age

    @property
    def _opened(self) -> float:
        """How many draws mean pictures are still worth."""
        left = 0.0 if self.opening is None else FADING**self.drawn
        return WORTH * left if left >= FORGOTTEN else 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Return all state."""
        opened = {} if self.opening is None else self.opening.tensors()
        found = {f"opening.{name}": tensor for name, tensor in opened.items()} | {"drawn": torch.tensor(self.drawn)}
        if self.opened is not None:
            found["opened"] = self.opened
        if not self.looks:
            return found
        together = {name: torch.stack([getattr(look, name) for look in self.looks]) for name in NAMES}
        return found | together | {"prompts": torch.tensor([look.prompt for look in self.looks])}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `tensors` gave."""
        prompts = tensors["prompts"].tolist() if "prompts" in tensors else []
        self.looks = [
            Look(prompt=prompt, **{name: tensors[name][number].clone() for name in NAMES})
            for number, prompt in enumerate(prompts)
        ]
        opened = {k.removeprefix("opening."): v for k, v in tensors.items() if k.startswith("opening.")}
        # Whoever began before there were openings goes on without one.
        self.opening = self.opening.restored(opened) if self.opening is not None and opened else None
        self.opened = tensors.get("opened")
        self.drawn = int(tensors.get("drawn", len(self.looks)))
