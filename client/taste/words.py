"""The words by which a pipeline knows a taste, and what they move in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.backbone.prompts import Sayings, word_vector
from client.generate import add_taste

WORD = "<#{}>"
"""What stands for a taste in prompts: no concept can be called so."""


def tasteful(
    pipeline: Any,  # noqa: ANN401 - diffusers has no types
    said: Sayings,
    prompt: str,
    token: NDArray[np.float32],
    anchor: NDArray[np.float32],
) -> tuple[str, str]:
    """Teach a pipeline a taste and its anchor, shape (width,); return the prompt with the one and with the other.

    A picture follows the *difference* of the two (`client.generate.Request`): a taste that is its anchor then changes
    nothing, whereas any word after a prompt, even nobody's taste, would change pictures, and mostly for the worse.
    """
    names = ("taste", "anchor")
    for name, vector in zip(names, (token, anchor), strict=True):
        add_taste(pipeline, vector, WORD.format(name))
    first, second = (said.tasteful(prompt, WORD.format(name)) for name in names)
    return first, second


def middle_of(pipeline: Any, words: Sequence[str]) -> NDArray[np.float32]:  # noqa: ANN401 - as above
    """Return the mean of taste words' embeddings, shape (width,), as `choosing.middle` does of an engine."""
    found: NDArray[np.float32] = torch.stack([_embedded(pipeline, word) for word in words]).mean(dim=0).numpy()
    return found


def _embedded(pipeline: Any, word: str) -> Tensor:  # noqa: ANN401 - as above
    """Return a word's embedding, shape (width,): of XL's two encoders one after the other."""
    names = [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
    parts = [(getattr(pipeline, one, None), getattr(pipeline, other, None)) for one, other in names]
    tables = [(tokenizer, text.get_input_embeddings().weight.detach()) for tokenizer, text in parts if text is not None]
    return torch.cat([word_vector(tokenizer, table.cpu(), word) for tokenizer, table in tables])
