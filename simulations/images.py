"""A rehearsal of docker/*.Dockerfile where no engine is at hand: the steps are done here, and the entry point runs.

    python -m simulations.images docker/client.Dockerfile

What a file copies goes into an empty folder, its `RUN pip` lines are done by a shell in a fresh environment, and the
entry point and the health check run with no variables but the file's own, as its user where we may (root may), who
owns one folder, the volume. Not rehearsed: the base image, and what changes a whole system (apt, accounts).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import ConfigError

ROOT: Final = Path(__file__).parents[1]
SECONDS: Final = 900
"""For one step: the client's environment is a gigabyte."""


@dataclass(slots=True)
class Image:
    """What a Dockerfile leaves, in a folder instead of an image."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    entry: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """CMD."""
    health: list[str] = field(default_factory=list)
    user: int = 0
    volume: str = ""

    @property
    def home(self) -> Path:
        """Where the volume is instead."""
        return self.folder / "volume"

    def started(self, words: list[str]) -> subprocess.Popen[str]:
        """Start a command in it."""
        home, user = str(self.home), self.user if os.geteuid() == 0 else None
        return subprocess.Popen(  # noqa: S603 - ours
            [word.replace(self.volume, home) for word in words],
            cwd=home,
            env={name: value.replace(self.volume, home) for name, value in self.environment.items()} | {"HOME": home},
            user=user,
            group=user,
            extra_groups=[] if user else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command in it; give its exit code and what it said."""
        process = self.started(words)
        said, complained = process.communicate(timeout=SECONDS)
        return process.returncode, said, complained


def steps(path: Path) -> list[tuple[str, str]]:
    """Give a Dockerfile's instructions, lines that go on joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(line for line in lines if line.strip()).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines()]


def build(path: Path, folder: Path, *, arguments: dict[str, str] | None = None) -> Image:
    """Do the steps that lead to a Dockerfile's last stage.

    Args:
        path: the Dockerfile.
        folder: an empty one, which everybody may enter.
        arguments: build arguments, in the place of the file's defaults.

    Raises:
        ConfigError: a step failed.
    """
    image, source, given = Image(folder), folder / "source", dict(arguments or {})
    source.mkdir()
    image.home.mkdir()
    venv.create(folder / "venv", with_pip=True)
    image.environment["PATH"] = f"{folder / 'venv' / 'bin'}:/usr/bin:/bin"
    for word, rest in _leading(path, given):
        if word == "ARG":
            name, equals, default = rest.partition("=")
            if equals:  # one without a default is not there unless it is given
                given.setdefault(name, default.strip('"'))
        elif word == "COPY":
            _copy(rest.split(), source)
        elif word == "RUN" and rest.startswith("pip "):
            _run(rest, source, {**os.environ, **given, "PATH": image.environment["PATH"], "PYTHONPATH": ""})
        else:
            _note(image, word, rest)
    shutil.rmtree(source)  # what runs is what was installed
    if os.geteuid() == 0:
        os.chown(image.home, image.user, image.user)
    image.home.chmod(0o700)
    return image


def _note(image: Image, word: str, rest: str) -> None:
    """Note what an instruction says of whatever will run."""
    if word == "ENV":
        image.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    elif word == "USER":
        image.user = int(rest)
    elif word == "VOLUME":
        image.volume = rest
    elif word in {"ENTRYPOINT", "CMD"}:
        setattr(image, {"ENTRYPOINT": "entry", "CMD": "words"}[word], json.loads(rest))
    elif word == "HEALTHCHECK":
        image.health = json.loads(rest.split("CMD ", 1)[1])


def _leading(path: Path, given: dict[str, str]) -> list[tuple[str, str]]:
    """Give the instructions of the stages that the last one is made of, in order."""
    stages: dict[str, list[tuple[str, str]]] = {}
    name, outside = "", dict(given)
    for word, rest in steps(path):
        if word == "FROM":
            base, _, alias = rest.partition(" AS ")
            for argument, value in outside.items():
                base = base.replace(f"${{{argument}}}", value)
            name = alias or "last"
            stages[name] = list(stages.get(base, []))
        elif not name and word == "ARG":
            outside.setdefault(*rest.split("=", 1))
        else:
            stages[name].append((word, rest))
    return stages[name]


def _run(line: str, place: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - a line of our own file
        ["/bin/sh", "-c", line],
        cwd=place,
        env=environment,
        timeout=SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"a step failed, {line}: {done.stderr[-2000:]}")


def _copy(words: list[str], target: Path) -> None:
    *sources, place = words
    for name in sources:
        path, to = ROOT / name, target / (name if place == "./" else place)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, to)


def main(file: Annotated[Path, typer.Argument(help="A Dockerfile.")]) -> None:
    """Do a Dockerfile's steps, then ask what it leaves for help, as its own user and with its own variables."""
    with tempfile.TemporaryDirectory(prefix="shoal-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        image = build(file, folder)
        code, said, complained = image.run([*image.entry, "--help"])
        print(said or complained)
        print(f"user {image.user}, CMD {image.words}, health {image.health}")
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
