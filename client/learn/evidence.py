"""What draws have said so far about a token: a model of the loss, from forward passes alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from client.learn.estimator import Residuals, forward_jacobian
from client.learn.look import Look, reading_of
from client.learn.opening import FADING, HELD, WORTH, Opening

PRECISION = 3e-5
"""Weight of one standard deviation squared of the shape against the loss, once many draws have spoken. Tokens go ten
standard deviations of the words and more before the loss rises again: what is held back here is held back for good."""

DOUBT = 3e-4
"""What is added to that for a single draw, and falls as draws add up: a draw's own slopes are half noise."""

FORGOTTEN = 0.05
"""A draw worth less is let go."""

LONGEST = 4.0
"""Most standard deviations that one step goes: further the model's slopes do not reach."""

NEAR = 0.02
"""Standard deviations between two places whose states give the states' slopes: engines carry so small differences."""

ROUNDS = 8
"""Places that are tried for one step at most; each costs states of the text encoder, no forward pass."""

MOVES = 2
"""Places that are gone to in one step at most: at each, states' slopes along all axes are taken anew."""

ENOUGH = 0.05
"""Moves shorter than this, in standard deviations, end a step."""

SKETCH = 768
"""Numbers that states are told apart by: Stable Diffusion has 59,136, and a hundred draws keep twelve rows each."""

NAMES: Final = ("states", "reading", "pull", "information")
"""Of a look's tensors, in a checkpoint."""

Kept = Callable[[Tensor], Tensor]
"""Maps places, shape (places, k), to numbers whose squares are added to their losses, shape (places, entries)."""

States = Callable[[Tensor, Sequence[int]], Tensor]
"""Maps places, shape (places, k), and prompts' numbers to what the U-Net is told, shape (places, prompts, entries)."""


def sketched(states: Tensor) -> Tensor:
    """Return states, shape (..., entries), in at most `SKETCH` numbers each, inner products kept but for noise.

    Count sketch (Charikar, Chen & Farach-Colton 2002): every entry is added to one of the numbers, under a random sign.
    Which to which is the same for everybody and always.
    """
    entries = states.shape[-1]
    if entries <= SKETCH:
        return states
    order, signs = _mixture(entries)
    mixed = functional.pad((states * signs)[..., order], (0, -entries % SKETCH))
    summed: Tensor = mixed.unflatten(-1, (-1, SKETCH)).sum(dim=-2)
    return summed


@functools.lru_cache(maxsize=4)
def _mixture(entries: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(entries, generator=generator), 2.0 * torch.randint(2, (entries,), generator=generator) - 1


@dataclass(slots=True, kw_only=True)
class Predictions:
    """All draws so far, as a loss of the text encoder's states; later draws weigh more.

    Gauss-Newton (Levenberg 1944; Nocedal & Wright 2006, section 10.3) with a Jacobian of finite differences: a forward
    pass yields a whole prediction, a thousand numbers and more, where ZOODiP (arXiv:2503.14868, Eq. 4) keeps only their
    mean square. A prediction is F(c(y)): y a place, c what the text encoder makes of it, F the U-Net. The model takes F
    for linear and c as it is. Slopes of F are from forward passes of the U-Net; c costs none. So a draw goes on telling
    the truth when the search has moved on, and says something of directions that it was not probed in.
    """

    axes: int
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
        """Return the place that the model and the shape hold most probable, at most `LONGEST` from this one.

        The maximum a posteriori under places of mean 0 and variance 1 along every axis, found from here by
        Levenberg-Marquardt steps (Marquardt 1963), damped until the model itself says that they pay. ``kept`` is what
        should be small besides.
        """
        found, damping, moves = place, 1e-2, 0
        height, slope, curvature = self._modelled(found, states, kept)
        for _ in range(ROUNDS):
            held = curvature + damping * curvature.diagonal().mean() * torch.eye(self.axes)
            away = found - torch.linalg.solve(held, slope) - place
            tried = place + away * min(1.0, LONGEST / max(float(away.norm()), 1e-12))
            if not self._height(tried, states, kept) < height:
                damping *= 6
                continue
            moved, found, damping = float((tried - found).norm()), tried, max(damping / 5, 1e-4)
            moves += 1
            if moved < ENOUGH or moves == MOVES:
                break
            height, slope, curvature = self._modelled(found, states, kept)
        return found

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

    @property
    def _total(self) -> float:
        return sum(weight for _, weight in self._weighed())

    @property
    def _held(self) -> float:
        return PRECISION + (DOUBT + HELD * self._opened) / self._total

    def _height(self, place: Tensor, states: States, kept: Kept | None) -> float:
        """Return what the model holds the loss at a place to be, less a constant."""
        prompts = self._prompts
        told = dict(zip(prompts, sketched(states(place[None], prompts))[0], strict=True))
        height = sum(weight * float(look.loss(told[look.prompt])[0]) for look, weight in self._weighed())
        more = 0.0 if kept is None else float(kept(place[None]).square().sum())
        return height / self._total + self._held * float(place @ place) + more

    def _modelled(self, place: Tensor, states: States, kept: Kept | None) -> tuple[float, Tensor, Tensor]:
        """Return the model's loss at a place, half its slope, shape (k,), and half its curvature, shape (k, k)."""
        around = torch.cat([place[None], place + NEAR * torch.eye(self.axes)])
        prompts = self._prompts
        seen = sketched(states(around, prompts))
        told = dict(zip(prompts, seen[0], strict=True))
        turns = dict(zip(prompts, ((seen[1:] - seen[0]) / NEAR).unbind(dim=1), strict=True))
        height, total, held = 0.0, self._total, self._held
        slope, curvature = torch.zeros(self.axes), torch.zeros(self.axes, self.axes)
        for look, weight in self._weighed():
            loss, along = look.loss(told[look.prompt])
            turned = look.reading @ turns[look.prompt].T
            height += weight * float(loss)
            slope += weight * along @ turned
            curvature += weight * turned.T @ look.information @ turned
        height = height / total + held * float(place @ place)
        slope, curvature = slope / total + held * place, curvature / total + held * torch.eye(self.axes)
        if kept is not None:
            missed = kept(around)
            turned = (missed[1:] - missed[0]) / NEAR
            height += float(missed[0] @ missed[0])
            slope, curvature = slope + turned @ missed[0], curvature + turned @ turned.T
        return height, slope, curvature

    @property
    def _prompts(self) -> list[int]:
        return sorted({look.prompt for look, _ in self._weighed()})

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
