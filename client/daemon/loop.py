"""The daemon itself: looks at what there is to learn and whether it may, and keeps what it does in view."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from client.activity import Activity, Doing, write_activity
from client.conditions import Machine, hindrances, in_words
from client.control import is_paused
from client.daemon.choice_set import look_at_choices
from client.daemon.photo_set import PhotoSet, look
from client.daemon.pupil import Pupil, start
from client.daemon.subject import TASTE, Subject
from client.daemon.tried import Tried, last_tried, note_tried
from client.daemon.watching import Watcher
from client.database import Database
from client.sealing import hand_down
from client.settings import Settings, Watched, read_settings
from common.errors import ConfigError, PhotoError, ShoalError

SETTLED: Final = 3.0
"""Seconds for which a set must stay as it is before it is learned: photos are still being copied."""
CHOSEN: Final = 30.0
"""The same for choices: somebody is still choosing."""
NEXT: Final[dict[str, float]] = {"learning": 5.0, "waiting": 30.0, "idle": 60.0, "paused": 600.0, "stopping": 0.5}
"""Seconds until it looks again by itself, by what it does; a word of the person wakes it at once."""
REPORT: Final = 1.0
"""Seconds between two writings of how a learning goes."""
AGAIN: Final = (60.0, 600.0, 3600.0)
"""Seconds until a learning that failed is tried again: after the first time, the second, and every one after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A set that is to be learned."""

    watched: Subject
    photos: PhotoSet
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A learning that ended badly, and may go better another time."""

    times: int
    again: float
    """When it is tried again, by `time.monotonic`."""
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A set that is to be learned, but not yet."""

    seconds: float
    why: str


@dataclass(slots=True, kw_only=True)
class Daemon:
    """What the daemon knows between two looks; all that must last is in the vault and in files."""

    home: Path
    model: str | None
    machine: Machine
    forwards: int | None = None
    """Budget of each learning in forward passes; None is the learner's own."""
    federation: Callable[[], str] = lambda: ""
    """Says how it stands with rounds."""
    page: str | None = None
    heard: Callable[[], None] = lambda: None
    """Called, too, when the person said something or photos came."""
    say: Callable[[str], None] = lambda _: None
    """Tells the terminal, or the service's log."""
    woken: threading.Event = field(default_factory=threading.Event)
    _pupil: Pupil | None = None
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    """When each folder's set was first seen as it is."""
    _failed: dict[str, Failed] = field(default_factory=dict)
    _trouble: str = ""
    _told: Activity | None = None
    _written: float = 0.0

    def run(self, ended: threading.Event) -> None:
        """Look, do, wait, until ended; then pause what is under way."""
        watcher = Watcher(self.home, self._hear)
        try:
            while not ended.is_set():
                self.woken.clear()
                self.woken.wait(self._try(watcher))
        finally:
            watcher.close()
            if self._pupil is not None:
                self._pupil.end()
                self._finish(self._pupil)

    def _try(self, watcher: Watcher) -> float:
        """Look once; what goes wrong, a full disk or a damaged row, is told, and it looks again later."""
        try:
            return self.turn(watcher)
        except (ShoalError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.say(f"{error}; it is tried again every minute")
            with contextlib.suppress(OSError):
                self._show(Activity(doing="waiting", reason=str(error)), "idle")
            return NEXT["idle"]

    def _hear(self) -> None:
        self.woken.set()
        self.heard()

    def turn(self, watcher: Watcher) -> float:
        """Look once; return the seconds after which to look again if nobody wakes it."""
        try:
            settings, problem = read_settings(self.home), None
        except ConfigError as error:
            settings, problem = Settings(), str(error)
        watcher.heed([one.folder for one in settings.watched])
        if self._pupil is not None and self._pupil.ended:
            self._finish(self._pupil)
        if self._pupil is not None:
            return self._follow(self._pupil, settings)
        if is_paused(self.home):
            return self._show(Activity(doing="paused", reason="you paused it: `shoal resume` goes on"), "paused")
        if problem is not None:
            return self._show(Activity(doing="waiting", reason=problem), "waiting")
        return self._choose(settings)

    def _choose(self, settings: Settings) -> float:
        """Begin what is due, if it may be."""
        due, problems, soon = self._due(settings)
        if due is None:
            reason = "everything in the watched folders is learned"
            if soon:
                reason = min(soon).why
            elif not settings.watched:
                reason = "no folder is watched: `shoal watch FOLDER --name my-dog --class dog`"
            wait = min([NEXT["idle"], *(held.seconds for held in soon)])
            return self._show(Activity(doing="waiting", reason=reason, problems=problems), "idle", wait)
        activity = Activity(doing="waiting", reason=due.reason, concept=due.watched.name, problems=problems)
        found = hindrances(settings.conditions, self.machine, "learning")
        if found:
            return self._show(replace(activity, reason=in_words(found)), "waiting")
        with Database(self.home).transaction() as rows:
            key = hand_down(rows)
        self.say(f"learning <{due.watched.name}>: {due.reason}")
        self._pupil = start(
            due.watched, due.photos, home=self.home, model=self.model, key=key, forwards=self.forwards,
            wake=self._report,
        )  # fmt: skip
        return self._show(replace(activity, doing="learning"), "learning")

    def _follow(self, pupil: Pupil, settings: Settings) -> float:
        """Keep a learning going only while it is wanted and may be."""
        why = None
        if is_paused(self.home):
            why = "you paused it: `shoal resume` goes on"
        elif pupil.watched is not TASTE and pupil.watched not in settings.watched:
            why = f"<{pupil.watched.name}> is watched no longer"
        elif found := hindrances(settings.conditions, self.machine, "learning"):
            why = in_words(found)
        elif self._changed(pupil):
            why = "the photos changed: it begins anew with them"
        if why is not None:
            pupil.stop()
            doing: Doing = "paused" if is_paused(self.home) else "waiting"
            return self._show(Activity(doing=doing, reason=why, concept=pupil.watched.name), "stopping")
        return self._show(_learning(pupil), "learning")

    def _changed(self, pupil: Pupil) -> bool:
        """Tell whether its folder holds another set now, and has for a while; choices wait for the next time."""
        if not isinstance(pupil.watched, Watched):
            return False
        try:
            found = look(pupil.watched, self.model)
        except PhotoError:
            return False  # what is needed of the photos is in memory
        return found.count > 0 and found.digest != pupil.photos.digest and self._settles(pupil.watched, found) is None

    def _finish(self, pupil: Pupil) -> None:
        """Note what came of a learning."""
        name, self._pupil = pupil.watched.name, None
        skipped = tuple(text for text in pupil.told if text.startswith("skipped "))
        if pupil.is_learned or pupil.is_unusable:
            problem = "" if pupil.is_learned else pupil.problem
            if self._is_wanted(pupil):  # or it was forgotten meanwhile
                note_tried(self.home, name, Tried(digest=pupil.photos.digest, problem=problem, skipped=skipped))
            self._failed.pop(name, None)
            self.say(f"learned <{name}>" if pupil.is_learned else f"<{name}> cannot be learned: {problem}")
        elif not pupil.is_stopping and not is_paused(self.home):
            times = self._failed[name].times if name in self._failed else 0
            again = time.monotonic() + AGAIN[min(times, len(AGAIN) - 1)]
            self._failed[name] = Failed(times=times + 1, again=again, why=_why(pupil))
            self.say(f"the learning of <{name}> ended: {_why(pupil)}")

    def _is_wanted(self, pupil: Pupil) -> bool:
        """Tell whether what was just tried is still there, to be tried or not."""
        if pupil.watched is TASTE:  # still unlearned, as of another model, or learned, and then nothing need be noted
            return look_at_choices(self.home, self.model) == pupil.photos
        return any(one.name == pupil.watched.name for one in self._watched())

    def _watched(self) -> tuple[Watched, ...]:
        try:
            return read_settings(self.home).watched
        except ConfigError:
            return ()

    def _due(self, settings: Settings) -> tuple[Due | None, tuple[str, ...], list[Held]]:
        """Find the first set that is to be learned, what is wrong with others, and when more may be due."""
        problems: list[str] = []
        soon: list[Held] = []
        due = None
        for watched in settings.watched:
            try:
                photos = look(watched, self.model)
            except PhotoError as error:
                problems.append(str(error))
                continue
            tried = last_tried(self.home, watched.name)
            if tried is not None and tried.digest == photos.digest:
                problems += [f"<{watched.name}>: {text}" for text in (tried.problem, *tried.skipped) if text]
                continue
            if not photos.count:
                problems.append(f"the folder of <{watched.name}> holds no photos yet")
                continue
            held = self._held_back(watched, photos, problems)
            if held is not None:
                soon.append(held)
            elif due is None:
                reason = f"{photos.count} photos are new" if tried is None else "the photos changed"
                due = Due(watched=watched, photos=photos, reason=reason)
        due = self._due_taste(problems, soon) if due is None else due
        return due, tuple(problems), soon

    def _due_taste(self, problems: list[str], soon: list[Held]) -> Due | None:
        """Return the taste, if there are choices that are not learned; photos come first."""
        choices = look_at_choices(self.home, self.model)
        tried = last_tried(self.home, TASTE.name) if choices.count else None
        if not choices.count or (tried is not None and tried.digest == choices.digest):
            return None
        held = self._held_back(TASTE, choices, problems)
        if held is None:
            return Due(watched=TASTE, photos=choices, reason="you chose between pictures")
        soon.append(held)
        return None

    def _held_back(self, watched: Subject, photos: PhotoSet, problems: list[str]) -> Held | None:
        """Return for how long a set must wait, and why; None if it need not."""
        failed = self._failed.get(watched.name)
        if failed is not None and (wait := failed.again - time.monotonic()) > 0:
            problems.append(f"<{watched.name}>: {failed.why}; tried {failed.times} times, again within the hour")
            return Held(wait, "what failed is tried again later")
        left = self._settles(watched, photos)
        if left is None:
            return None
        choosing = "you are choosing between pictures: your taste is learned half a minute after the last choice"
        return Held(left, choosing if watched is TASTE else "photos are still being copied")

    def _settles(self, watched: Subject, photos: PhotoSet) -> float | None:
        now, settled = time.monotonic(), CHOSEN if watched is TASTE else SETTLED
        digest, since = self._seen.get(watched.name, ("", now))
        if digest != photos.digest:
            self._seen[watched.name] = (photos.digest, now)
            return settled
        return None if now - since >= settled else settled - (now - since)

    def _report(self) -> None:
        """Wake the loop when its child told something, but not more often than there is something to show."""
        pupil = self._pupil
        if pupil is None or pupil.ended or time.monotonic() - self._written >= REPORT:
            self.woken.set()

    def _show(self, activity: Activity, pace: str, wait: float | None = None) -> float:
        """Write down what it does, where that is news; return the seconds until it looks again."""
        now = replace(activity, page=self.page, federation=self.federation())
        before = self._told
        same = before is not None and (before.doing, before.concept) == (now.doing, now.concept)
        now = replace(now, since=before.since if same and before is not None else time.time())
        if now != before:
            write_activity(self.home, now)
            self._told, self._written = now, time.monotonic()
        return NEXT[pace] if wait is None else wait


def _learning(pupil: Pupil) -> Activity:
    count = pupil.photos.count
    what = ("choice" if count == 1 else "choices") if pupil.watched is TASTE else "photos"
    loading = "loading the model" if pupil.first is None else f"{count} {what}"
    return Activity(
        doing="learning",
        reason=loading,
        concept=pupil.watched.name,
        forwards=pupil.forwards,
        total_forwards=pupil.total,
        losses=tuple(pupil.losses),
        seconds_left=pupil.seconds_left,
        problems=tuple(text for text in pupil.told if text.startswith("skipped ")),
    )


def _why(pupil: Pupil) -> str:
    code = pupil.process.poll()
    if pupil.problem:
        return pupil.problem
    return f"it ended with code {code}, perhaps for lack of memory; it goes on from its last checkpoint"
