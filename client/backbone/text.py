"""A CLIP text encoder for candidates: its prompts, its table of words, and its states as points or as differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from client.backbone.differences import Rows, apart
from client.backbone.prompts import embedded, token_ids, word_vector
from client.backbone.resting import embedding_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an encoder makes of every prompt for every candidate.

    ``states`` has shape (candidates, prompts, length, width); ``ends``, shape (candidates, prompts, width), is the last
    layer's state at the end of the text, and ``summary`` its projection where the encoder has one.
    """

    states: Tensor
    ends: Tensor
    summary: Tensor | None


class TextEncoder:
    """One of a pipeline's text encoders; Stable Diffusion 1 and 2 have one, XL has two."""

    def __init__(self, folder: Path, number: int, network: Any, rows: Rows, *, penultimate: bool) -> None:  # noqa: ANN401 - transformers has no types
        """Take a mapped network; ``penultimate`` leaves out the last layer of the states, as XL does."""
        part = "text_encoder" if number == 0 else f"text_encoder_{number + 1}"
        self.tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder=part.replace("text_encoder", "tokenizer"))
        self.length = int(self.tokenizer.model_max_length)
        self.table = embedding_table(folder, part)
        self.width = int(self.table.shape[1])
        self._rows, self._penultimate = rows, penultimate
        self._inner = getattr(network, "text_model", network)
        self._project = getattr(network, "text_projection", None)

    def anchor(self, word: str) -> Tensor:
        """Return the embedding of a word, shape (width,)."""
        return word_vector(self.tokenizer, self.table, word)

    def say(
        self, texts: Sequence[str], vectors: Tensor, arithmetic: torch.dtype, device: str, *, differences: bool
    ) -> Said:
        """Encode prompts for every candidate.

        Args:
            texts: templates with ``{}``.
            vectors: the candidates', shape (candidates, vectors, width), or (candidates, prompts, vectors, width).
            arithmetic: of the layers.
            device: theirs.
            differences: whether all candidates but the first are differences from it.
        """
        ids = torch.stack([token_ids(self.tokenizer, text, vectors.shape[-2]) for text in texts])
        count = len(vectors)
        words = embedded(ids, self.table, vectors).flatten(0, 1).to(device)
        words = words + self._inner.embeddings.position_embedding.weight[: words.shape[1]]
        words = apart(words, self._rows, arithmetic) if differences else words.to(arithmetic)
        before = words
        for layer in self._inner.encoder.layers:
            before = words
            words = layer(words, None) if differences else layer(words, None, is_causal=True)
        final = self._inner.final_layer_norm(words)
        places = (ids == self.tokenizer.eos_token_id).int().argmax(dim=1).repeat(count)
        ends = final[torch.arange(len(final)), places.to(final.device)]
        summary = None if self._project is None else self._project(ends).unflatten(0, (count, -1))
        states = (before if self._penultimate else final).unflatten(0, (count, -1))
        return Said(states=states, ends=ends.unflatten(0, (count, -1)), summary=summary)
