"""What a concept may be called, and the word that stands for it in prompts."""

from __future__ import annotations

import re

from common.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40
MENTION = re.compile(r"<([^<>\s]+)>")


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


def mentioned(*prompts: str) -> list[str]:
    """Return the names of the concepts in prompts, each once, in their order."""
    return list(dict.fromkeys(name for prompt in prompts for name in MENTION.findall(prompt)))
