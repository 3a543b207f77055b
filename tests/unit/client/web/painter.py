"""Stands for `client.web.painter`: answers at once, with pictures of one pixel, and fails when the prompt says so."""

import base64
import io
import json
import os
import sys
import time

from PIL import Image


def say(**answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def png(seed):
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (seed % 256, 0, 0)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


wanted = json.loads(sys.stdin.readline())
prompts = [sheet["prompt"] for sheet in wanted["sheets"]]
if "crash" in prompts:
    os._exit(9)
if "refuse" in prompts:
    say(error="the model is missing: name one with --model")
    os._exit(0)
say(backbone="ab" * 32, steps=wanted["steps"] or 2, guidance=4.0)
if wanted["purpose"] == "pair" and "key" not in wanted:
    say(error="what draws a pair has to know what is believed")
    os._exit(0)
for number, sheet in enumerate(wanted["sheets"]):
    for row, seed in enumerate(sheet["seeds"]):
        say(progress=1.0)
        if sheet["prompt"] == "slow":
            time.sleep(60)
        say(progress=1.0)
        taste = {}
        if wanted["purpose"] == "pair":
            taste["taste"] = wanted["tastes"][row] if wanted["tastes"] else [float(seed % 7)]
        say(sheet=number, seed=seed, png=png(seed), **taste)
