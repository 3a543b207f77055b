"""Two pictures of one prompt, which of them is better? Draws the next pair while a person looks at this one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from client.choices import Choice, Choices, Picked, Recipe
from client.taste.looking import OpenPairs
from client.taste.starting import prompts_for
from client.web.studio import Order, Sheet, Studio, Wanted
from client.web.tokens import rows_of, token, tokens_in
from common.errors import ConfigError

AHEAD: Final = 2
"""Pairs that are drawn or ready at once: the one being looked at, and the next."""


class Pairs:
    """The pairs of one page; those that were drawn and not judged outlast it (`client.taste.looking`)."""

    def __init__(self, home: Path, studio: Studio, new_seed: Callable[[], int]) -> None:
        """Draw pairs with that studio; nothing is drawn before somebody looks."""
        self._home, self._studio, self._new_seed = home, studio, new_seed
        self._lock = threading.Lock()
        self._turn = 0
        self._kept: dict[int, int] = {}
        """Numbers of pairs that outlast the page, by their orders' numbers."""

    def current(self) -> Order:
        """Return the pair to look at, which may still be in drawing, and have the next one drawn.

        Raises:
            ShoalError: no pair can be ordered.
        """
        with self._lock:
            self._take_up()
            open_pairs = self._open()
            for failed in [one for one in open_pairs[:-1] if one.state == "failed"]:
                self._drop(failed)  # the last failure stays to be read, and nothing is tried again unasked
                open_pairs.remove(failed)
            while not (open_pairs and open_pairs[-1].state == "failed") and len(open_pairs) < AHEAD:
                self._order(self._next_prompt())
                open_pairs = self._open()
            return open_pairs[0]

    def ask(self, prompt: str) -> None:
        """Make the next pairs ones of a prompt that the person chose.

        Raises:
            ShoalError: the prompt names an unknown concept.
        """
        tokens_in(self._home, prompt)
        with self._lock:
            self._take_up()
            for order in self._open():
                self._drop(order)
            for _ in range(AHEAD):
                self._order(prompt)

    def choose(self, number: int, picked: Picked) -> Choice:
        """Record which picture of a pair is better.

        Raises:
            ConfigError: there is no such pair, or it is not drawn yet, or it was judged already.
        """
        with self._lock:
            order = next((one for one in self._open() if one.number == number), None)
            if order is None or order.state != "done":
                raise ConfigError(f"pair {number} is not there to be judged: look at the page again")
            first, second = self._recipes(order)
            kept = Choices(self._home).record(Choice(first=first, second=second, picked=picked))
            self._drop(order)
            return kept

    def _open(self) -> list[Order]:
        """Return the pairs that are not judged yet, oldest first."""
        return [one for one in reversed(self._studio.orders("pair")) if one.state != "stopped"]

    def _drop(self, order: Order) -> None:
        self._studio.stop(order)
        self._studio.drop(order)
        kept = self._kept.pop(order.number, None)
        if kept is not None:
            OpenPairs(self._home).drop(kept)

    def _take_up(self) -> None:
        """Have those pairs drawn again that an earlier page left, or another window forgot about; keep the new ones."""
        pairs = {pair.number: pair for pair in OpenPairs(self._home).all()}
        for order in self._open():
            if self._kept.get(order.number, 0) not in pairs and order.number in self._kept:
                del self._kept[order.number]  # judged at a terminal, or its concept was forgotten
                self._drop(order)
            elif order.state == "done" and order.number not in self._kept:
                self._kept[order.number] = OpenPairs(self._home).keep(self._recipes(order))
        for number in sorted(set(pairs) - set(self._kept.values()))[: AHEAD - len(self._open())]:
            recipes = pairs[number].recipes
            first = recipes[0]
            wanted = Wanted(
                sheets=(Sheet(prompt=first.prompt, negative=first.negative, seeds=tuple(one.seed for one in recipes)),),
                tokens=tuple(
                    token(name, np.array(rows, np.float32), first.backbone, len(rows)) for name, rows in first.tokens
                ),
                steps=first.steps,
                guidance=first.guidance,
                tastes=tuple(one.taste for one in recipes),
                purpose="pair",
            )
            self._kept[self._studio.order(wanted).number] = number

    def _order(self, prompt: str) -> None:
        sheet = Sheet(prompt=prompt, seeds=(self._new_seed(), self._new_seed()))
        self._studio.order(Wanted(sheets=(sheet,), tokens=tokens_in(self._home, prompt), purpose="pair"))

    def _next_prompt(self) -> str:
        prompts = prompts_for(self._home)
        self._turn += 1
        return prompts[(self._turn - 1) % len(prompts)]

    @staticmethod
    def _recipes(order: Order) -> tuple[Recipe, Recipe]:
        sheet, made = order.wanted.sheets[0], order.made
        first, second = (
            Recipe(
                prompt=sheet.prompt,
                negative=sheet.negative,
                seed=picture.seed,
                steps=made["steps"],
                guidance=made["guidance"],
                backbone=made["backbone"],
                tokens=rows_of(order.wanted.tokens),
                taste=picture.taste,
            )
            for picture in order.pictures
        )
        return first, second
