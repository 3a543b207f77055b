"""What pictures are of, where the person says nothing: their own concepts in turn with a few common things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from client.placeholder import proposed, word
from client.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

STARTERS: Final = ("a cat", "a house", "a flower", "a ship", "a cup of tea", "a tree", "a castle", "a fish")
"""For who has taught nothing yet."""


def prompts_for(home: Path) -> list[str]:
    """Return prompts to draw pairs of, in their order; they are begun again when all had their turn."""
    own = [sample_prompt(one.kind, one.name) for one in Vault(home).listed() if one.kind != "taste"]
    mixed = [prompt for pair in zip(own, STARTERS, strict=False) for prompt in pair]
    return mixed + [prompt for prompt in (*own, *STARTERS) if prompt not in mixed]


def sample_prompt(kind: str, mention: str) -> str:
    """Return the words that show a concept: itself, or some house in its style, or as one likes it.

    ``mention`` is its name, or its name and a strength (`client.placeholder.said`).
    """
    said = word(mention)
    return {"object": said, "taste": f"a house, {said}"}.get(kind, f"a house, {said} style")


def proposed_prompt(kind: str, name: str) -> str:
    """Return the same words as a person is told to try them, a style more softly."""
    return sample_prompt(kind, proposed(name, kind))
