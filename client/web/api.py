"""The page's API: what its buttons call. JSON in and out, described at /api/v1/openapi.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from client.activity import Activity, read_activity
from client.choices import Choice, Choices
from client.control import conditions, is_paused, pause, resume, set_conditions, unwatch, watch, watched
from client.forgetting import check_known, forget
from client.settings import Watched
from client.statement import as_json, set_limits, statement, withdraw
from client.taste.standing import standing, take_back
from client.vault import Listed, Vault
from client.web import forms
from client.web.gate import cookie_name
from client.web.house import House, new_seed
from client.web.sessions import SESSION_SECONDS
from client.web.studio import Order, Sheet, Wanted
from client.web.tokens import tokens_in
from common.errors import VaultError

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": forms.Problem, "description": "It was not done; the detail says why and what to do."},
    401: {"model": forms.Problem, "description": "No cookie: come by a link of `shoal open`."},
    403: {"model": forms.Problem, "description": "Asked by another website."},
    404: {"model": forms.Problem, "description": "There is no such thing."},
    413: {"model": forms.Problem, "description": "Too much at once."},
    422: {"model": forms.Problem, "description": "A field is missing, unknown or means nothing."},
    421: {"model": forms.Problem, "description": "Asked by another name than this page's."},
}
router = APIRouter(prefix="/api/v1", responses=PROBLEMS)


def house_of(request: Request) -> House:
    """Return what the application was made with."""
    found: House = request.app.state.house
    return found


At = Annotated[House, Depends(house_of)]


@router.post("/session", status_code=204)
def enter(link: forms.Link, at: At, response: Response) -> None:
    """Let a browser in by a one-time link's code; it gets a cookie."""
    cookie = at.sessions.redeem(link.code)
    if cookie is None:
        raise HTTPException(401, "this link was used already, or is too old: open a new one with `shoal open`")
    response.set_cookie(
        cookie_name(at.port),
        cookie,
        max_age=int(SESSION_SECONDS),
        path=f"{at.place}/",
        httponly=True,
        samesite="strict",
    )


@router.delete("/session", status_code=204)
def leave(request: Request, at: At, response: Response) -> None:
    """Lock the page in this browser."""
    at.sessions.end(request.cookies.get(cookie_name(at.port), ""))
    response.delete_cookie(cookie_name(at.port), path=f"{at.place}/", httponly=True, samesite="strict")


@router.get("/activity")
def activity(at: At) -> forms.Now:
    """Say what Shoal is doing now, and why or why not."""
    found = read_activity(at.home)
    known = found or Activity(doing="waiting", reason="the daemon does not run: start it with `shoal daemon`")
    return forms.Now(
        running=found is not None,
        paused=is_paused(at.home),
        doing=known.doing,
        reason=known.reason,
        concept=known.concept,
        forwards=known.forwards,
        total_forwards=known.total_forwards,
        losses=list(known.losses),
        seconds_left=known.seconds_left,
        problems=list(known.problems),
    )


@router.post("/pause", status_code=204)
def pause_all(at: At) -> None:
    """Have the daemon do nothing from now on."""
    pause(at.home)


@router.post("/resume", status_code=204)
def resume_all(at: At) -> None:
    """Have the daemon go on."""
    resume(at.home)


@router.get("/concepts")
def list_concepts(at: At) -> list[forms.ConceptSummary]:
    """List what was taught."""
    return [_summary(concept) for concept in Vault(at.home).listed()]


@router.delete("/concepts/{name}", status_code=204)
def forget_concept(name: forms.Name, at: At) -> None:
    """Delete a concept and all that was made of its photos, for good; its folder is watched no longer."""
    try:
        check_known(at.home, name)
    except VaultError as error:
        raise HTTPException(404, str(error)) from error
    forget(at.home, name)


@router.get("/folders")
def list_folders(at: At) -> list[forms.Folder]:
    """List the folders that are watched."""
    return [
        forms.Folder(folder=str(one.folder), name=one.name, kind=one.kind, class_word=one.class_word)
        for one in watched(at.home)
    ]


@router.post("/folders", status_code=204)
def add_folder(folder: forms.Folder, at: At) -> None:
    """Have the daemon learn the photos of a folder, and again when they change."""
    place = Path(folder.folder).expanduser()
    watch(at.home, Watched(folder=place, name=folder.name, kind=folder.kind, class_word=folder.class_word.strip()))


@router.delete("/folders/{name}", status_code=204)
def remove_folder(name: forms.Name, at: At) -> None:
    """Watch a folder no longer; what was learned of it stays."""
    if not unwatch(at.home, name):
        raise HTTPException(404, f"no watched folder is called {name!r}: see /api/v1/folders")


@router.get("/conditions")
def show_conditions(at: At) -> forms.ConditionsForm:
    """Say when the daemon may work."""
    found = conditions(at.home)
    names = forms.ConditionsForm.model_fields
    return forms.ConditionsForm(**{name: getattr(found, name) for name in names})


@router.patch("/conditions", status_code=204)
def change_conditions(wanted: forms.ConditionsForm, at: At) -> None:
    """Change when the daemon may work."""
    set_conditions(at.home, **wanted.model_dump(exclude_none=True))


@router.get("/privacy")
def show_privacy(at: At) -> dict[str, Any]:
    """Give the whole account: budgets, both ε, every contribution, and the ledger to check."""
    return as_json(statement(at.home))


@router.patch("/privacy/budget", status_code=204)
def change_budget(budget: forms.Budget, at: At) -> None:
    """Allow so much ε over a whole life here; also after a withdrawal."""
    set_limits(at.home, central=budget.central, local=budget.local)


@router.post("/privacy/withdrawal", status_code=204)
def withdraw_consent(at: At) -> None:
    """Contribute nothing more."""
    withdraw(at.home)


@router.post("/drawings", status_code=202)
def draw(wanted: forms.Drawing, at: At) -> forms.OrderSummary:
    """Have pictures drawn; ask /api/v1/drawings/NUMBER how it goes."""
    first = new_seed() if wanted.seed is None else wanted.seed
    sheet = Sheet(prompt=wanted.prompt, negative=wanted.negative, seeds=tuple(first + i for i in range(wanted.count)))
    tokens = tokens_in(at.home, wanted.prompt, wanted.negative)
    strength = wanted.strength if wanted.taste else None
    order = Wanted(sheets=(sheet,), tokens=tokens, steps=wanted.steps, guidance=wanted.guidance, strength=strength)
    return forms.OrderSummary.of(at.studio.order(order))


@router.get("/drawings")
def list_drawings(at: At) -> list[forms.OrderSummary]:
    """List what was drawn lately, newest first."""
    return [forms.OrderSummary.of(order) for order in at.studio.orders("drawing")]


@router.get("/drawings/{number}")
def show_drawing(number: forms.Number, at: At) -> forms.OrderSummary:
    """Say how far a drawing is."""
    return forms.OrderSummary.of(_order(at, number))


@router.delete("/drawings/{number}", status_code=204)
def stop_drawing(number: forms.Number, at: At) -> None:
    """Draw no more of it; what is finished stays."""
    at.studio.stop(_order(at, number))


@router.put("/pair", status_code=204)
def ask_for_pairs(pair: forms.Pair, at: At) -> None:
    """Make the next pairs to choose from ones of this prompt."""
    at.pairs.ask(pair.prompt)


@router.get("/choices")
def list_choices(at: At) -> list[forms.Kept]:
    """List which pictures were better, oldest first."""
    return [_kept(choice) for choice in Choices(at.home).all()]


@router.post("/choices", status_code=201)
def choose(judgement: forms.Judgement, at: At) -> forms.Kept:
    """Record which picture of a pair is better."""
    return _kept(at.pairs.choose(judgement.pair, judgement.picked))


@router.delete("/choices/{number}", status_code=204)
def undo_choice(number: forms.Number, at: At) -> None:
    """Take a choice back."""
    if not take_back(at.home, number):
        raise HTTPException(404, f"there is no choice {number}: see /api/v1/choices")


@router.get("/taste")
def show_taste(at: At) -> forms.Taste:
    """Say how it stands with the taste: how many choices, and whether they are learned."""
    return taste_of(at)


@router.post("/taste/learning", status_code=202)
def learn_taste(at: At) -> forms.Taste:
    """Learn the taste from all choices now, whatever the conditions; ask /api/v1/taste how it goes."""
    at.lessons.learn()
    return taste_of(at)


@router.delete("/taste/learning", status_code=204)
def stop_learning_taste(at: At) -> None:
    """Pause the learning that the page began; it goes on where it was when it is begun again."""
    at.lessons.stop()


@router.get("/openapi.json", include_in_schema=False)
def describe(request: Request) -> dict[str, Any]:
    """Describe this API."""
    found: dict[str, Any] = request.app.openapi()
    return found


def taste_of(at: House) -> forms.Taste:
    """Return how it stands with the taste of this page's person."""
    found = standing(at.home)
    return forms.Taste(
        choices=found.choices,
        decided=found.decided,
        known=found.known,
        learned=found.learned,
        learning=at.lessons.running,
        told=found.in_words,
        problem=at.lessons.problem,
    )


def _order(at: House, number: int) -> Order:
    found = at.studio.find(number)
    if found is None:
        raise HTTPException(404, f"drawing {number} is not remembered: see /api/v1/drawings")
    return found


def _summary(concept: Listed) -> forms.ConceptSummary:
    return forms.ConceptSummary(**{name: getattr(concept, name) for name in forms.ConceptSummary.model_fields})


def _kept(choice: Choice) -> forms.Kept:
    return forms.Kept(number=choice.number, at=choice.at, prompt=choice.first.prompt, picked=choice.picked)
