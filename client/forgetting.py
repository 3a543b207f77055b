"""Forgets a concept: everything on this device that was made of its photos. The photos stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from client.choices import Choices
from client.control import unwatch
from client.course import Course
from client.daemon.tried import forget_tried
from client.taste.looking import OpenPairs
from client.taste.standing import NAME as TASTE
from client.taste.standing import forget_choices, forget_what_rests_on_nothing, standing
from client.unfinished import forgetting, is_begun
from client.vault import Vault
from common.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path

STAYS: Final = (
    "If it took part in a round, what was given stays in that round's sum: sums already made cannot be undone. "
    "No sum shows it by itself."
)
"""What a person must know before they forget."""


def check_known(home: Path, name: str) -> None:
    """Refuse a name of which there is nothing: neither learned nor begun.

    Raises:
        VaultError: there is nothing.
    """
    if name == TASTE and (standing(home).choices or standing(home).known or OpenPairs(home).all()):
        return
    if not is_begun(home, name) and not _is_learned(home, name) and not Course(home).stages(name):
        raise VaultError(f"there is no concept {name!r}: `shoal concepts` lists them")


def forget(home: Path, name: str) -> str | None:
    """Delete a concept's token, checkpoints, samples, pending contribution and the choices between pictures of it.

    Its folder is watched no longer. A learning under way ends first, at its next step. With the taste go all choices,
    and what is believed after them; a taste that rested on choices which go is learned anew from the others.

    Returns:
        When it went into a sum, which nobody can take back; None if it never did.

    Raises:
        VaultError: there is no such concept, neither learned nor begun, or something cannot be deleted.
        ConfigError: its folder is watched and shoal.toml cannot be changed.
    """
    check_known(home, name)
    unwatch(home, name)  # first, or the daemon would begin anew
    with forgetting(home, name):
        Course(home).forget(name)
        if name == TASTE:
            forget_choices(home)
        Choices(home).forget(name)
        OpenPairs(home).forget(name)
        forget_tried(home, name)
        given = Vault(home).forget(name) if _is_learned(home, name) else None
    forget_what_rests_on_nothing(home)
    return given


def in_words(name: str, given: str | None) -> str:
    """Say what was forgotten and what cannot be.

    Args:
        name: of the concept.
        given: as `forget` returned it.
    """
    told = f"forgot <{name}>; if its folder was watched, it is no longer. The photos stay where they are"
    if name == TASTE:
        told = "forgot your taste: what was learned of it, and every choice that it was learned from"
    if given is None:
        return told
    return (
        f"{told}\nwhat was given on {given} stays in that round's sum: sums already made cannot be undone, and none "
        "shows it by itself. The ledger keeps that it happened, without the name"
    )


def _is_learned(home: Path, name: str) -> bool:
    return any(one.name == name for one in Vault(home).listed())
