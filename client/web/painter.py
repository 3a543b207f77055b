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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from client.sealing import inherit
from client.taught import Taught
from common.errors import ShoalError

if TYPE_CHECKING:
    from client.lesson import Listener


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
    from client.quiet import quiet  # noqa: PLC0415

    quiet()
    if "key" in wanted:
        inherit(wanted["key"])
    if wanted.get("purpose") == "pair" and "home" in wanted:
        _pair(wanted, tell)
        return
    from client.backbone.folder import find_backbone, sampling  # noqa: PLC0415
    from client.generate import Request, add_concepts, generate, load_pipeline  # noqa: PLC0415

    folder = find_backbone(wanted["model"])
    best, own = sampling(folder), fingerprint(folder)
    steps = best.steps if wanted["steps"] is None else wanted["steps"]
    guidance = best.guidance if wanted["guidance"] is None else wanted["guidance"]
    pipeline = load_pipeline(folder)
    stages = add_concepts(pipeline, folder, [_token(one, own) for one in wanted["tokens"]])
    tasteful = _taste(wanted, pipeline, folder)
    tell(backbone=own, steps=steps, guidance=guidance)
    for number, sheet in enumerate(wanted["sheets"]):
        for seed in sheet["seeds"]:  # one by one: a person sees the first while the second is drawn
            request = Request(
                prompt=sheet["prompt"],
                negative=sheet["negative"],
                seed=seed,
                steps=steps,
                guidance=guidance,
                tasteful=tasteful(sheet["prompt"]),
                strength=wanted.get("strength") or 0.0,
            )
            for picture in generate(pipeline, request, lambda done: tell(progress=done), stages=stages):
                tell(sheet=number, seed=seed, png=_png(picture))


def _pair(wanted: dict[str, Any], tell: Callable[..., None]) -> None:
    """Draw the two pictures whose comparison is expected to tell most of the taste, or a pair again.

    Args:
        wanted: as in `draw`; ``tastes`` are those of a pair that is drawn again.
        tell: as in `draw`; with each picture comes the ``taste`` that it was drawn with.
    """
    import torch  # noqa: PLC0415 - as above

    from client.taste.asking import POOL  # noqa: PLC0415
    from client.taste.concepts import as_tokens  # noqa: PLC0415
    from client.taste.easel import Easel  # noqa: PLC0415

    easel = Easel(Path(wanted["home"]), wanted["model"], _silent())
    [sheet] = wanted["sheets"]
    tokens = as_tokens([_token(one, easel.backbone) for one in wanted["tokens"]])
    recipe = easel.recipe(
        sheet["prompt"], sheet["seeds"][0], tokens, steps=wanted["steps"], guidance=wanted["guidance"]
    )
    tell(backbone=easel.backbone, steps=recipe.steps, guidance=recipe.guidance)
    if wanted["tastes"]:
        recipes = [
            replace(recipe, seed=seed, taste=tuple(taste))
            for seed, taste in zip(sheet["seeds"], wanted["tastes"], strict=True)
        ]
        latents = torch.cat([easel.again(one, lambda done: tell(progress=done)) for one in recipes])
    else:
        offered = easel.offer(recipe, lambda done: tell(progress=done * 2 / POOL))
        recipes, latents = list(offered.recipes), offered.latents
    for one, picture in zip(recipes, easel.pictures(latents), strict=True):
        tell(sheet=0, seed=one.seed, taste=one.taste, png=_png(picture))


def _taste(wanted: dict[str, Any], pipeline: Any, folder: Path) -> Callable[[str], tuple[str, str] | None]:  # noqa: ANN401 - diffusers has no types
    """Teach the pipeline what the person likes; return how a prompt is said with it, or that it is not."""
    if wanted.get("strength") is None:
        return lambda _: None
    from client.backbone.prompts import sayings  # noqa: PLC0415 - as above
    from client.taste.known import taste_token  # noqa: PLC0415
    from client.taste.words import tasteful  # noqa: PLC0415

    known = taste_token(Path(wanted["home"]), pipeline, folder, _silent())
    return lambda prompt: tasteful(pipeline, sayings(folder), prompt, *known)


def _silent() -> Listener:
    """Return a listener to whom nothing is told: the page has no place for it."""
    from client.lesson import Listener  # noqa: PLC0415 - as above

    return Listener(says=lambda _: None, progress=lambda _: None, stop=bool)


def _token(one: dict[str, Any], own: str) -> Taught:
    return Taught(one["name"], one["backbone"] or own, np.array(one["vectors"], np.float32), one["stages"])


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
