"""Prompts as a pipeline's networks take them: encoded once for each stage of denoising in which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from client.backbone.stages import stage_at
from client.placeholder import MENTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How many stages the concepts of a pipeline have, and of which timesteps they are parts."""

    timesteps: tuple[int, int]
    counts: dict[str, int]
    """By name; concepts of one stage need not be in it."""

    def prompt_at(self, prompt: str, timestep: float) -> str:
        """Return a prompt with each concept of several stages as the word of its stage."""

        def staged(found: Any) -> str:  # noqa: ANN401 - re.Match
            name = found[1]
            if self.counts.get(name, 1) == 1:
                return str(found[0])
            return stage_word(name, stage_at(timestep, self.timesteps, self.counts[name]))

        return MENTION.sub(staged, prompt)


def stage_word(name: str, stage: int) -> str:
    """Return the word of a concept's stage, counted from 0, in the tokenizer: ``<my-dog#2>``, which is no name."""
    return f"<{name}#{stage + 1}>"


class Spoken:
    """What a picture's prompt and negative prompt are to a pipeline at each of its timesteps."""

    def __init__(
        self,
        pipeline: Any,  # noqa: ANN401 - diffusers has no types
        stages: Stages,
        prompt: str,
        negative: str,
        *,
        guided: bool,
        towards: tuple[str, str, float] | None = None,
    ) -> None:
        """Take prompts in which concepts stand as ``<my-dog>``.

        ``guided`` says whether the negative one counts; ``towards`` is two more prompts, and how much of what the first
        says and the second does not is added.
        """
        self._towards = towards
        self._pipeline, self._stages, self._guided = pipeline, stages, guided
        self._prompts = (prompt, negative)
        self._encoded: dict[tuple[str, str], dict[str, Tensor]] = {}

    def at(self, timestep: float) -> dict[str, Tensor]:
        """Return what a pipeline is called with at a timestep, one row each: ``prompt_embeds`` and the like."""
        said = (self._stages.prompt_at(self._prompts[0], timestep), self._stages.prompt_at(self._prompts[1], timestep))
        if said not in self._encoded:
            self._encoded[said] = self._mixed(timestep, self._encode(*said))
        return self._encoded[said]

    def turned(self, timesteps: list[float], step: int, rows: int) -> dict[str, Tensor]:
        """Return what a pipeline's own variables are to become after a step (diffusers 0.42); mostly nothing."""
        following = timesteps[min(step + 1, len(timesteps) - 1)]
        given = self.at(following)
        if given is self.at(timesteps[step]):
            return {}
        own = {"prompt_embeds": ("negative_prompt_embeds", "prompt_embeds")}
        own["add_text_embeds"] = ("negative_pooled_prompt_embeds", "pooled_prompt_embeds")
        found = {}
        for variable, parts in own.items():
            if parts[1] in given:
                wanted = parts if self._guided else parts[1:]
                found[variable] = torch.cat([_rows(given[part], rows) for part in wanted])
        return found

    def named(self, timestep: float, rows: int) -> dict[str, Tensor]:
        """Return the arguments of a call whose first timestep this is, for so many pictures."""
        return {name: _rows(tensor, rows) for name, tensor in self.at(timestep).items()}

    def _mixed(self, timestep: float, plain: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add some of the difference between two other prompts."""
        if self._towards is None:
            return plain
        *others, share = self._towards
        said, unsaid = (self._encode(self._stages.prompt_at(str(other), timestep), "") for other in others)
        names = [name for name in plain if not name.startswith("negative")]
        return plain | {name: plain[name] + float(share) * (said[name] - unsaid[name]) for name in names}

    def _encode(self, prompt: str, negative: str) -> dict[str, Tensor]:
        found = self._pipeline.encode_prompt(
            prompt=prompt,
            device=self._pipeline.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=self._guided,
            negative_prompt=negative or None,  # XL knows no prompt at all, which is not an empty one
        )
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        return {name: tensor for name, tensor in zip(names, found, strict=False) if tensor is not None}


def _rows(tensor: Tensor, count: int) -> Tensor:
    return tensor.expand(count, *tensor.shape[1:])
