"""What draws pairs of pictures: the model, what measures which pair would tell most, and what is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from client.backbone.choice import open_engine, use_threads
from client.backbone.engine import fingerprint
from client.backbone.folder import find_backbone, sampling
from client.backbone.prompts import sayings
from client.choices import Recipe
from client.generate import add_concepts, decoded, load_pipeline
from client.lesson import MODELS, Listener
from client.spoken import Stages
from client.taste.asking import POOL, Offer, offer, redrawn
from client.taste.concepts import said_plainly, tokens_of
from client.taste.known import belief_of
from common.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from client.backbone.engine import Engine
    from client.choices import Vectors
    from client.taste.belief import Belief


class Easel:
    """One model, loaded when first needed; always on the CPU, so that a recipe's picture is the same again."""

    def __init__(self, home: Path, model: str | None, listener: Listener, *, threads: int | None = None) -> None:
        """Look for the model.

        Raises:
            ShoalError: there is no such model or number of threads.
        """
        use_threads(threads)
        self._home, self._listener = home, listener
        self.folder = find_backbone(model)
        self.backbone = fingerprint(self.folder)
        self._said, self._best = sayings(self.folder), sampling(self.folder)
        self.release()

    def release(self) -> None:
        """Let go of the model and of what is believed: it is loaded anew when next needed."""
        self._pipeline: Any = None
        self._engine: Engine | None = None
        self._belief: Belief | None = None
        self._taught: dict[str, Vectors] = {}

    def recipe(
        self, prompt: str, seed: int, tokens: tuple[tuple[str, Vectors], ...] = (), *, steps: int | None = None,
        guidance: float | None = None,
    ) -> Recipe:  # fmt: skip
        """Return what decides a picture of a prompt; the model decides what is left out."""
        return Recipe(
            prompt=prompt,
            seed=seed,
            steps=self._best.steps if steps is None else steps,
            guidance=self._best.guidance if guidance is None else guidance,
            backbone=self.backbone,
            tokens=tokens,
        )

    def offer(self, recipe: Recipe, progress: Callable[[float], None], pool: int = POOL) -> Offer:
        """Draw some pictures and return the two whose comparison is expected to tell most, by what is believed.

        Raises:
            ShoalError: the model cannot be loaded, or a concept is not of it.
        """
        if self._engine is None:
            cache = self._home / MODELS
            self._engine = open_engine(self.folder, cache, told=self._listener.says)
        if self._belief is None:
            self._belief = belief_of(self._home, self._engine, self._said, self._listener)
        stages, caption = self._teach(recipe), said_plainly(self._home, recipe.prompt)
        return offer(
            self._engine, self._pipeline, self._said, self._belief, recipe,
            pool=pool, caption=caption, stages=stages, progress=progress,
        )  # fmt: skip

    def again(self, recipe: Recipe, progress: Callable[[float], None] = lambda _: None) -> Tensor:
        """Draw a recipe's picture, shape (1, channels, height, width).

        Raises:
            BackboneError: it is another model's.
        """
        if recipe.backbone != self.backbone:
            raise BackboneError(f"the pair is of model {recipe.backbone[:12]}, this is {self.backbone[:12]}: --model")
        stages = self._teach(recipe)
        return redrawn(self._pipeline, self._said, recipe, stages, progress)

    def pictures(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures of latents, shape (pictures, channels, height, width)."""
        return decoded(self._pipeline, latents)

    def _teach(self, recipe: Recipe) -> Stages:
        """Have the pipeline know a recipe's concepts, as they were then; a word cannot be taught twice."""
        wanted = dict(recipe.tokens)
        changed = any(self._taught.get(name, rows) != rows for name, rows in wanted.items())
        if self._pipeline is None or changed:
            self._pipeline, self._taught = load_pipeline(self.folder), {}
        fresh = tuple((name, rows) for name, rows in recipe.tokens if name not in self._taught)
        add_concepts(self._pipeline, self.folder, tokens_of(fresh, recipe.backbone))
        self._taught |= wanted
        return Stages(timesteps=self._said.timesteps, counts={name: len(rows) for name, rows in wanted.items()})
