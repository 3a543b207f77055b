"""The pages themselves, rendered here; the script only sends their forms and fetches them anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from client.activity import read_activity
from client.budget import DEFAULT
from client.choices import Choices
from client.control import conditions, is_paused, watched
from client.course import Course
from client.forgetting import STAYS
from client.placeholder import proposed, word
from client.statement import statement
from client.taste.standing import STRENGTH
from client.taste.starting import proposed_prompt, sample_prompt
from client.web.api import At, taste_of
from client.web.figures import content, curve, gauges, staircase
from client.web.house import House
from client.web.places import likely_folders
from client.web.samples import course_order, draw_course
from client.web.shelf import Shown, shelf
from client.web.words import ago, at_home, lasting, moment_of, sentence, told
from common.errors import ShoalError

TEMPLATES: Final = Path(__file__).parent / "templates"
PNG: Final = "image/png"
FEW: Final = 6
"""Concepts on the first page."""
router = APIRouter(include_in_schema=False)
_pages = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_pages.filters |= {
    "ago": ago,
    "lasting": lasting,
    "moment": moment_of,
    "at_home": at_home,
    "sentence": sentence,
    "told": told,
}


@router.get("/enter")
def enter(at: At) -> Response:
    """Take a link's code out of the address's fragment, or say how to get a link."""
    return HTMLResponse(_pages.get_template("enter.html").render(at=at.place))


@router.get("/")
def now(request: Request, at: At) -> Response:
    """Show what it does now, and why or why not."""
    activity, shown = read_activity(at.home), _shown(at)
    for one in shown[:FEW]:
        _draw_missing(at, one)
    return _page(
        request,
        "now",
        activity=activity,
        curve=curve(activity.losses) if activity else None,
        shown=shown[:FEW],
        gauges=gauges(statement(at.home)),
        folders=likely_folders(Path.home()),
        since=time.time() - activity.since if activity else 0.0,
    )


@router.get("/concepts")
def concepts(request: Request, at: At) -> Response:
    """Show all concepts."""
    shown = _shown(at)
    for one in shown:
        _draw_missing(at, one)
    return _page(request, "concepts", shown=shown)


@router.get("/concepts/{name}")
def concept(request: Request, name: str, at: At) -> Response:
    """Show one concept over the course of its learning."""
    shown = next((one for one in _shown(at) if one.name == name), None)
    if shown is None:
        raise HTTPException(404, f"there is no concept {name!r}: see /concepts")
    _draw_missing(at, shown)
    return _page(
        request,
        "concept",
        one=shown,
        order=course_order(at.studio, name),
        example=sample_prompt(shown.kind, name),
        sentence=proposed_prompt(shown.kind, name),
        stays=STAYS,
    )


@router.get("/concepts/{name}/{forwards}.png")
def moment(name: str, forwards: int, at: At) -> Response:
    """Give the picture of one moment of a concept's learning."""
    found = Course(at.home).picture(name, forwards)
    if found is None:
        raise HTTPException(404, "there is no such picture")
    return Response(found, media_type=PNG)


@router.get("/draw")
def draw(request: Request, at: At, concept: str = "", taste: str = "") -> Response:
    """Draw from a prompt."""
    shown = [one for one in _shown(at) if one.concept]
    chosen = next((one for one in shown if one.name == concept), None)
    start = proposed_prompt(chosen.kind, chosen.name) if chosen else ""
    orders = at.studio.orders("drawing")
    chips = {one.name: word(proposed(one.name, one.kind)) for one in shown}
    return _page(
        request,
        "draw",
        chips=chips,
        start=start,
        hint=_hint(shown),
        tasteful=bool(taste),
        strength=STRENGTH,
        orders=orders,
    )


def _hint(shown: Sequence[Shown]) -> str:
    """Return what could stand in an empty sentence, in grey."""
    if not shown:
        return "a lighthouse at night"
    said = proposed_prompt(shown[0].kind, shown[0].name)
    return f"{said} on a beach" if shown[0].kind == "object" else said


@router.get("/pictures/{key}.png")
def picture(key: str, at: At) -> Response:
    """Give a picture that was drawn lately."""
    found = at.studio.picture(key)
    if found is None:
        raise HTTPException(404, "this picture is not remembered: draw it again from its seed")
    return Response(found.png, media_type=PNG)


@router.get("/choose")
def choose(request: Request, at: At) -> Response:
    """Choose the better of two pictures."""
    kept = Choices(at.home).all()
    last, pupil = kept[-1] if kept else None, at.lessons.pupil
    share = pupil.forwards / pupil.total if pupil is not None and pupil.total and not pupil.ended else None
    return _page(request, "choose", order=at.pairs.current(), last=last, taste=taste_of(at), share=share, stays=STAYS)


@router.get("/privacy")
def privacy(request: Request, at: At) -> Response:
    """Show what was given, and what it cost."""
    found = statement(at.home)
    given = [content(one) for one in reversed(found.given)]
    return _page(request, "privacy", found=found, gauges=gauges(found), stairs=staircase(found), given=given)


@router.get("/settings")
def settings(request: Request, at: At) -> Response:
    """Show what the person chose."""
    return _page(
        request,
        "settings",
        watched=watched(at.home),
        conditions=conditions(at.home),
        found=statement(at.home),
        default=DEFAULT,
        shown=[one for one in _shown(at) if one.concept],
        folders=likely_folders(Path.home()),
        stays=STAYS,
    )


def problem(request: Request, problem: str, status: int = 500) -> Response:
    """Show what went wrong, in the words of the error."""
    place = request.app.state.house.place
    page = _pages.get_template("problem.html").render(
        here="", at=place, paused=False, problem=problem, path=request.url.path
    )
    return HTMLResponse(page, status)


def _page(request: Request, name: str, **values: Any) -> Response:  # noqa: ANN401 - whatever a template shows
    house: House = request.app.state.house
    page = _pages.get_template(f"{name}.html").render(here=name, at=house.place, paused=is_paused(house.home), **values)
    return HTMLResponse(page)


def _shown(at: House) -> list[Shown]:
    return shelf(at.home, watched(at.home), read_activity(at.home))


def _draw_missing(at: House, one: Shown) -> None:
    """Have the samples of a learned concept drawn when somebody looks at it; never while a learning goes on."""
    if one.concept is not None and not one.learning:
        try:
            draw_course(at.home, at.studio, one.concept)
        except ShoalError:  # too many orders wait: the next look tries again
            return
