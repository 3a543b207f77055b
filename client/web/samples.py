"""Draws the pictures that show a concept over the course of its learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from client.course import Course
from client.taste.starting import sample_prompt
from client.vault import Vault
from client.web.studio import Order, Picture, Sheet, Studio, Wanted
from client.web.tokens import token

if TYPE_CHECKING:
    from pathlib import Path

    from client.vault import Listed

SEED: Final = 7
"""One seed for all moments: what differs between two pictures is the token alone."""


def draw_course(home: Path, studio: Studio, concept: Listed) -> Order | None:
    """Have every picture drawn that a concept's course lacks; None where it lacks none or is being drawn already.

    Raises:
        ShoalError: the vault's key cannot be had, or too many orders wait.
    """
    course = Course(home)
    if all(stage.drawn for stage in course.stages(concept.name)) or course_order(studio, concept.name) is not None:
        return None
    bare, whole = course.bare(concept.name), Vault(home).concept(concept.name)
    words = [f"moment-{number}" for number in range(len(bare))]

    def keep(picture: Picture) -> None:
        course.hang(concept.name, bare[picture.sheet], picture.png)

    wanted = Wanted(
        sheets=tuple(Sheet(prompt=sample_prompt(concept.kind, word), seeds=(SEED,)) for word in words),
        tokens=tuple(
            # Of several stages only the last moment has all; the others are of the stage then learned.
            token(word, one.token, concept.backbone, whole.stages if one.token.size == whole.token.size else 1)
            for word, one in zip(words, bare, strict=True)
        ),
        purpose="course",
        subject=concept.name,
    )
    return studio.order(wanted, keep)


def course_order(studio: Studio, name: str) -> Order | None:
    """Return the order that draws a concept's course now, if one does."""
    return next((order for order in studio.orders("course") if order.wanted.subject == name and not order.over), None)
