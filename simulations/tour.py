"""`python -m simulations.tour`: a first use of the page in a real browser, and the pictures of docs/tour.md.

Everything is real: `shoal daemon` on an empty state folder, held-out pictures in a folder, the Pictograms backbone. One
picture alone is staged, and docs/tour.md says so: a ledger with contributions, since nobody can share alone.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from client.database import Database
from client.ledger import Contribution, Limits, Opening, append, writing
from client.vault import Vault
from simulations.browser import DESK, PHONE, browser, daemon, environment, program, serving, shoal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OUT: Final = Path(__file__).parents[1] / "docs" / "tour"
PHOTOS: Final = Path(__file__).parent / "data" / "held-out.zip"
PATIENCE: Final = 120_000
"""Milliseconds for anything."""
COLOURS: Final = 128
"""Of a palette: pictures of a page need no more, and take a third of the room."""
STAGED: Final = Contribution(
    round_id="5e" * 16, context="0b" * 32, operator="c4" * 32, kind="object", backbone="97" * 32, prior_version=3,
    concept=1, called=128, fewest=86, colluders=12, length=153, scale=1000.0, share_variance=1_000_000,
    modulus_bits=32, clip=4.0,
)  # fmt: skip
"""One round of 128 people."""


Tour = Callable[["Page", str], None]
"""What is done with a page that was let in, and its address."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Takes pictures of pages."""

    running: Browser
    out: Path

    def visit(self, link: str, tour: Tour, size: Mapping[str, int], scheme: str = "light") -> None:
        """Come in by a link, in a browser of its own, and take the tour."""
        context = self.running.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(link)
        address = link.split("/enter", maxsplit=1)[0]
        page.wait_for_url(f"{address}/")
        tour(page, address)
        context.close()

    def shoot(self, page: Page, name: str, *, whole: bool = False) -> None:
        """Take one picture."""
        page.wait_for_load_state("load")
        while not page.locator("img").evaluate_all("all => all.every((one) => one.complete)"):
            time.sleep(0.1)
        taken = Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled")))
        small = taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(self.out / f"{name}.png", optimize=True)


def main() -> None:
    """Take all pictures."""
    arguments = argparse.ArgumentParser(description="Take the pictures of docs/tour.md.")
    arguments.add_argument("--out", type=Path, default=OUT)
    arguments.add_argument("--forwards", type=int, default=900)
    chosen = arguments.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if program() is None:
        raise SystemExit("there is no Chromium here: on Debian, apt-get install chromium")
    with tempfile.TemporaryDirectory() as place, browser() as running:
        person = Path(place)
        os.environ["HOME"] = place  # the page writes ~ for it
        _put_photos(person / "Pictures")
        camera, home = Camera(running, chosen.out), person / ".local" / "share" / "shoal"
        shoal(home, "conditions", "--idle", 0)
        with daemon(home, "--forwards", chosen.forwards) as link:
            camera.visit(link, lambda page, address: _first_use(camera, page, address, home), DESK)
            again = shoal(home, "open", "--no-browser").stdout.strip()
            camera.visit(again, lambda page, address: _on_the_phone(camera, page, address), PHONE, "dark")
        staged = person / "staged"
        _stage(staged)
        with serving(staged) as link:
            camera.visit(link, lambda page, address: _ledger(camera, page, address), DESK)


def _put_photos(pictures: Path) -> None:
    with zipfile.ZipFile(PHOTOS) as archive:
        for name in archive.namelist():
            for folder, start in (("fox", "object/animal/fox/"), ("crown", "object/clothing/crown/")):
                if name.startswith(start):
                    file = pictures / folder / Path(name).name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(archive.read(name))


def _first_use(camera: Camera, page: Page, address: str, home: Path) -> None:
    page.get_by_label("Folder of photos").fill("~/Pictures/fox")
    page.get_by_label("Call it").fill("my-fox")
    page.get_by_label("It is a").fill("animal")
    camera.shoot(page, "1-welcome", whole=True)
    page.get_by_role("button", name="Watch this folder").click()
    page.locator(".curve").wait_for()
    while page.locator("progress").first.get_attribute("value") in {None, "0"} or _share(page) < 0.6:
        time.sleep(0.3)
    camera.shoot(page, "2-learning")
    while not Vault(home).listed():
        time.sleep(0.5)
    page.goto(f"{address}/concepts/my-fox")
    page.get_by_text("what changes from picture to picture").wait_for()
    camera.shoot(page, "3-concept")
    page.goto(f"{address}/draw")
    for prompt in ("<my-fox>, soft style", "<my-fox>, ink style"):
        page.get_by_label("What should it draw?").fill(prompt)
        page.get_by_label("What should it draw?").press("Enter")
        page.locator(".order", has_text=prompt).locator("img").nth(3).wait_for()
    camera.shoot(page, "4-draw", whole=True)
    page.goto(f"{address}/choose")
    for number, picked in enumerate(("left", "right"), start=1):
        page.get_by_role("button", name=f"The {picked} picture is better").click()
        page.get_by_text(f"{number} chosen so far").wait_for()
    page.get_by_role("button", name="The left picture is better").wait_for()
    camera.shoot(page, "5-choose")
    page.get_by_role("link", name="Privacy").click()
    camera.shoot(page, "6-nothing-shared")
    page.get_by_role("link", name="Settings").click()
    camera.shoot(page, "8-settings")


def _share(page: Page) -> float:
    bar = page.locator("progress").first
    return float(bar.get_attribute("value") or 0) / float(bar.get_attribute("max") or 1)


def _on_the_phone(camera: Camera, page: Page, address: str) -> None:
    page.get_by_role("link", name="my-fox").locator("img").wait_for()
    camera.shoot(page, "9-phone-now")
    page.goto(f"{address}/choose")
    page.get_by_role("button", name="The left picture is better").wait_for()
    camera.shoot(page, "9-phone-choose")
    page.goto(f"{address}/draw")
    page.locator(".order").first.locator("img").nth(3).wait_for()
    camera.shoot(page, "9-phone-draw")


def _stage(home: Path) -> None:
    """Write a ledger by which somebody took part in two rounds; nobody did."""
    os.environ["SHOAL_KEY_FILE"] = environment(home)["SHOAL_KEY_FILE"]
    with writing(Database(home)) as rows:
        append(rows, home, Limits(central=3.0, local=24.0))
        for number in range(2):
            append(rows, home, replace(STAGED, round_id=f"{number}e" * 16, concept=number + 1))
            append(rows, home, Opening(round_id=f"{number}e" * 16, people=117))


def _ledger(camera: Camera, page: Page, address: str) -> None:
    page.goto(f"{address}/privacy")
    camera.shoot(page, "7-ledger", whole=True)


if __name__ == "__main__":
    main()
