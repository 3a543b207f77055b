"""What a concept may be called, and the word that stands for it in prompts."""

from __future__ import annotations

import re
from typing import Final

from common.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40
MENTION = re.compile(r"<([^<>\s]+)>")
STRENGTH = re.compile(r"\d?\.?\d{1,4}")
STRONGEST = 2.0
"""How strongly a concept is said at most: 1 is as it was learned, 0 what it began from."""
PROPOSED: Final = {"style": 0.6}
"""How strongly a concept stands in prompts that are proposed, by its kind, where that is not 1: a style said so is
somewhat less the person's, and the thing in it is drawn more often (docs/learning.md, pictures)."""


def placeholder(name: str) -> str:
    """Return the word that stands for a concept in prompts: ``<my-dog>``.

    Raises:
        ConfigError: the name would not survive every tokenizer.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a concept: use up to {LONGEST_NAME} of a-z, 0-9 and single hyphens, as in my-dog"
        )
    return f"<{name}>"


def said(mention: str) -> tuple[str, float]:
    """Return the name of what stands in a prompt as ``<name>`` or ``<name:strength>``, and its strength.

    Raises:
        ConfigError: the strength is none.
    """
    name, colon, strength = mention.partition(":")
    if not colon:
        return name, 1.0
    if not STRENGTH.fullmatch(strength) or float(strength) > STRONGEST:
        raise ConfigError(
            f"<{mention}> has no strength that can be drawn: say a number from 0 to {STRONGEST:g}, as in <{name}:0.6>"
        )
    return name, float(strength)


def word(mention: str) -> str:
    """Return the word that stands for a concept at a strength: ``<my-dog:0.6>``, or ``<my-dog>``.

    Raises:
        ConfigError: the name or the strength is none.
    """
    name, _ = said(mention)
    placeholder(name)
    return f"<{mention}>"


def proposed(name: str, kind: str) -> str:
    """Return what stands between the brackets of a prompt that is proposed: ``my-dog``, ``my-ink:0.6``."""
    return f"{name}:{PROPOSED[kind]:g}" if kind in PROPOSED else name


def mentioned(*prompts: str) -> list[str]:
    """Return what concepts stand in prompts, each at each of its strengths once, in their order."""
    return list(dict.fromkeys(name for prompt in prompts for name in MENTION.findall(prompt)))
