"""`python -m client.web.painter`: draws for the page in a process of its own, and ends.

The model libraries take a gigabyte and seconds to import; the page's process never does. What to draw comes as one line
of JSON on standard input, which other users of the machine cannot read as they could a command line; what was drawn
leaves as lines of JSON on standard output. When standard input ends, whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import ShoalError


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A token by the name that it has in a prompt: a `client.generate.Token`."""

    name: str
    backbone: str
    token: NDArray[np.float32]
    stages: int


def main() -> None:
    """Draw what is asked for; whatever was foreseen is told in a line of its own."""
    wanted = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    with contextlib.suppress(AttributeError, OSError):  # not on Windows
        os.nice(5)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer

    def tell(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        draw(wanted, tell)
    except ShoalError as error:
        tell(error=str(error))
    os._exit(0)  # the thread that waits for the end of standard input holds its lock


def draw(wanted: dict[str, Any], tell: Callable[..., None]) -> None:
    """Draw an order, telling how it goes.

    Args:
        wanted: as `client.web.studio` writes it.
        tell: called with ``backbone``, ``steps`` and ``guidance`` once the model is loaded, then with ``progress`` in
            steps of one picture, and with ``sheet``, ``seed`` and ``png`` (base64) for each picture.

    Raises:
        ShoalError: the model cannot be loaded, or cannot draw this.
    """
    from client.backbone.engine import fingerprint  # noqa: PLC0415 - torch: only this process pays for it
    from client.backbone.folder import find_backbone, sampling  # noqa: PLC0415
    from client.generate import Request, add_concepts, generate, load_pipeline  # noqa: PLC0415
    from client.quiet import quiet  # noqa: PLC0415

    quiet()
    folder = find_backbone(wanted["model"])
    best, own = sampling(folder), fingerprint(folder)
    steps = best.steps if wanted["steps"] is None else wanted["steps"]
    guidance = best.guidance if wanted["guidance"] is None else wanted["guidance"]
    pipeline = load_pipeline(folder)
    stages = add_concepts(pipeline, folder, [_token(one, own) for one in wanted["tokens"]])
    tell(backbone=own, steps=steps, guidance=guidance)
    for number, sheet in enumerate(wanted["sheets"]):
        for seed in sheet["seeds"]:  # one by one: a person sees the first while the second is drawn
            request = Request(
                prompt=sheet["prompt"], negative=sheet["negative"], seed=seed, steps=steps, guidance=guidance
            )
            for picture in generate(pipeline, request, lambda done: tell(progress=done), stages=stages):
                tell(sheet=number, seed=seed, png=_png(picture))


def _token(one: dict[str, Any], own: str) -> Token:
    return Token(one["name"], one["backbone"] or own, np.array(one["vectors"], np.float32), one["stages"])


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _end_with_the_asker() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
