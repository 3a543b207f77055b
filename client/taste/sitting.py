"""One sitting of `shoal rate`: draws, asks, keeps each answer at once, learns now and then."""

from __future__ import annotations

import math
import secrets
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from client.choices import Choice, Choices, Picked, Recipe
from client.lesson import REASONS, Listener
from client.taste.asking import POOL
from client.taste.concepts import as_tokens
from client.taste.easel import Easel
from client.taste.lesson import study_taste
from client.taste.looking import OpenPair, OpenPairs
from client.taste.standing import is_stale, standing, take_back
from client.taste.starting import prompts_for
from client.terminal import drawing_bar, learning_bar, pausing
from client.vault import Vault
from common.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from torch import Tensor

    from client.learn.settings import Learned

ANSWERS: Final[dict[str, Picked]] = {"1": "first", "2": "second", "n": "neither"}
QUESTION: Final = "better: 1 or 2; n neither, u undo the last, l learn now, q enough > "
SEEDS: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What a person asks for."""

    prompts: tuple[str, ...] = ()
    """Empty: those of their concepts, and a few common things."""
    count: int = 8
    pool: int = POOL
    learn_every: int = 4
    out: Path | None = None
    forwards: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        least = {"count": 1, "pool": 2, "learn_every": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                told = name.replace("_", "-")
                raise ConfigError(f"--{told} must be at least {lowest}, got {getattr(self, name)}")
        if any(not prompt.strip() for prompt in self.prompts):
            raise ConfigError('--prompt is empty: say what to draw, as in --prompt "a house"')


@dataclass(slots=True, kw_only=True)
class Done:
    """What came of it."""

    home: Path
    answers: int = 0
    """Given in this sitting and not taken back."""
    files: list[str] = field(default_factory=list)
    """Pictures that stay."""
    learned: Learned | None = None
    """The last time."""
    stopped: bool = False
    """Whether Ctrl-C ended it."""

    def as_json(self) -> dict[str, Any]:
        """Give it for programs."""
        told = None
        if self.learned is not None:
            told = {name: getattr(self.learned, name) for name in ("reason", "forwards", "start_loss", "loss")}
        return {"answers": self.answers, "taste": asdict(standing(self.home)), "learned": told, "files": self.files}


def rate(rating: Rating, model: str | None, home: Path, console: Console) -> Done:
    """Ask about pairs until there were enough, the person has enough, or Ctrl-C; then learn.

    Raises:
        ShoalError: a prompt names an unknown concept, the model or the vault cannot be used, or --out not be written.
    """
    done = Done(home=home)
    Vault(home).taught(*rating.prompts)  # refused now, not after the first pair
    with ExitStack() as stack:
        folder = rating.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoal-rate-")))
        sitting = _Sitting(rating, model, home, console, folder, done)
        try:
            sitting.ask_on()
        except KeyboardInterrupt:
            done.stopped = True
            sitting.says("stopped: every answer is kept, and a pair not judged is shown again next time")
        else:
            sitting.learn()
    sitting.says(f"your taste: {standing(home).in_words}")
    return done


class _Sitting:
    def __init__(
        self, rating: Rating, model: str | None, home: Path, console: Console, folder: Path, done: Done
    ) -> None:
        self._rating, self._model, self._home, self._console = rating, model, home, console
        self._folder, self._done = folder, done
        listener = Listener(says=self.says, progress=lambda _: None, stop=lambda: False)
        self._easel = Easel(home, model, listener, threads=rating.threads)
        self._pairs = OpenPairs(home)
        self._prompts: Iterator[str] = cycle(rating.prompts or prompts_for(home))
        self._judged: list[tuple[Choice, tuple[Recipe, Recipe]]] = []
        self._drawn: tuple[int, Tensor] | None = None
        self._shown = 0

    def says(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ask_on(self) -> None:
        """Ask until there were enough answers."""
        while self._done.answers < self._rating.count:
            pair = self._next()
            self._show(pair)
            while (word := self._word()) not in ANSWERS:
                if word == "q":
                    return
                if word == "l":
                    self.learn()
                elif word == "u":
                    pair = self._undo(pair)
                else:
                    self.says(f"{word!r} is no answer")
            self._keep(pair, ANSWERS[word])
            every = self._rating.learn_every
            if every and self._done.answers % every == 0 and self._done.answers < self._rating.count:
                self.learn()

    def learn(self) -> None:
        """Learn from all choices, if there are any new ones."""
        if not is_stale(self._home, self._easel.backbone):
            return
        self._easel.release()  # a learning loads the model itself, and both at once need twice the memory
        with learning_bar(self._console, "learning your taste") as progress, pausing() as stop:
            listener = Listener(says=self.says, progress=progress, stop=stop)
            learned = study_taste(
                self._home, self._model, listener, forwards=self._rating.forwards, threads=self._rating.threads
            )
        if learned is None:
            return
        self._done.learned = learned
        if learned.reason == "paused":
            self.says(f"paused after {learned.forwards} forwards: shoal rate goes on from here")
            raise KeyboardInterrupt
        self.says(_told(learned))

    def _next(self) -> OpenPair:
        """Return the pair that was open when the last sitting ended, or a new one."""
        for pair in self._pairs.all():
            wanted = not self._rating.prompts or pair.recipes[0].prompt in self._rating.prompts
            if wanted and pair.recipes[0].backbone == self._easel.backbone:
                return pair
        prompt = next(self._prompts)
        tokens = as_tokens(Vault(self._home).taught(prompt))
        recipe = self._easel.recipe(prompt, secrets.randbelow(SEEDS), tokens)
        with drawing_bar(self._console, self._rating.pool * recipe.steps) as progress:
            offered = self._easel.offer(recipe, progress, self._rating.pool)
        pair = OpenPair(number=self._pairs.keep(offered.recipes), recipes=offered.recipes)
        self._drawn = (pair.number, offered.latents)
        return pair

    def _show(self, pair: OpenPair) -> None:
        """Write both pictures, and say which files they are."""
        self._shown += 1
        self.says(f"“{pair.recipes[0].prompt}”")
        for number, picture in enumerate(self._easel.pictures(self._latents(pair)), start=1):
            file = self._folder / f"pair-{self._shown}-{number}.png"
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                picture.save(file)
            except OSError as error:
                told = f"{self._folder} cannot be written ({error.strerror}): choose another place with --out"
                raise ConfigError(told) from error
            if self._rating.out is not None:
                self._done.files.append(str(file))
            self.says(f"  {number}: {file}")

    def _latents(self, pair: OpenPair) -> Tensor:
        if self._drawn is not None and self._drawn[0] == pair.number:
            return self._drawn[1]
        with drawing_bar(self._console, sum(one.steps for one in pair.recipes)) as progress:
            return torch.cat([self._easel.again(one, progress) for one in pair.recipes])

    def _word(self) -> str:
        try:
            return self._console.input(QUESTION).strip().lower()
        except EOFError:  # nobody is there to answer
            return "q"

    def _keep(self, pair: OpenPair, picked: Picked) -> None:
        first, second = pair.recipes
        kept = Choices(self._home).record(Choice(first=first, second=second, picked=picked))
        self._pairs.drop(pair.number)
        self._judged.append((kept, pair.recipes))
        self._done.answers += 1

    def _undo(self, pair: OpenPair) -> OpenPair:
        """Take the last choice back, and ask about its pair again; the present one is kept for later."""
        made = Choices(self._home).all()
        if not made:
            self.says("there is nothing to take back")
            return pair
        last = made[-1]
        take_back(self._home, last.number)
        if any(one.number == last.number for one, _ in self._judged):
            self._done.answers -= 1
        if last.first.backbone != self._easel.backbone:
            self.says("taken back: it was of another model")
            return pair
        recipes = (last.first, last.second)
        again = OpenPair(number=self._pairs.keep(recipes), recipes=recipes)
        self.says("taken back; here it is again")
        self._show(again)
        return again


def _told(learned: Learned) -> str:
    before, after = (100 * math.exp(-loss) for loss in (learned.start_loss, learned.loss))
    return (
        f"learned your taste with {learned.forwards} forwards; {REASONS[learned.reason]}. It now holds what you chose "
        f"for {after:.0f} % likely, before for {before:.0f} %, where 50 % is no idea\n"
        'try: shoal generate --taste "a house"'
    )
