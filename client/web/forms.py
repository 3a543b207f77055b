"""What the API takes and gives: its OpenAPI description is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from client.choices import Picked
from client.placeholder import LONGEST_NAME, NAME
from client.taste.standing import STRENGTH
from client.web.studio import Order

LONGEST_PROMPT = 2000
Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$", max_length=LONGEST_NAME)]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PROMPT, pattern=r"\S")]
Number = Annotated[int, Field(ge=1, le=2**53)]
Epsilon = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Form(BaseModel):
    """Names that are not known are refused, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Problem(BaseModel):
    """Why something was not done, and the remedy."""

    detail: str


class Link(Form):
    """A one-time link's code."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Now(BaseModel):
    """What Shoal is doing."""

    running: bool
    """Whether a daemon runs."""
    paused: bool
    doing: str
    reason: str
    concept: str | None = None
    forwards: int = 0
    total_forwards: int = 0
    losses: list[float] = []
    seconds_left: float | None = None
    problems: list[str] = []


class ConceptSummary(BaseModel):
    """One concept."""

    name: str
    kind: str
    class_word: str
    backbone: str
    forwards: int
    loss: float


class Folder(Form):
    """A folder of photos to be learned."""

    folder: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    name: Name
    kind: Literal["object", "style"] = "object"
    class_word: Annotated[str, StringConstraints(max_length=100)] = ""


class ConditionsForm(Form):
    """When there may be work; what is left out stays as it is."""

    idle_minutes: Annotated[float, Field(ge=0, le=1440)] | None = None
    on_power: bool | None = None
    hottest: Annotated[float, Field(ge=0, le=150)] | None = None
    unmetered: bool | None = None
    hours: Annotated[str, StringConstraints(max_length=20)] | None = None


class Drawing(Form):
    """Pictures to be drawn; the model decides what is left out, chance the seed."""

    prompt: Prompt
    negative: Annotated[str, StringConstraints(max_length=LONGEST_PROMPT)] = ""
    count: Annotated[int, Field(ge=1, le=8)] = 4
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    taste: bool = False
    """Whether to draw as the person likes it."""
    strength: Annotated[float, Field(ge=-10, le=10)] = STRENGTH
    """How far the taste is followed; 0 is not at all, 1 as it was learned."""


class Drawn(BaseModel):
    """One picture of an order."""

    key: str
    """It is at /pictures/KEY.png."""
    seed: int


class OrderSummary(BaseModel):
    """An order of pictures and how far it is."""

    number: int
    state: Literal["waiting", "drawing", "done", "stopped", "failed"]
    prompt: str
    share: float
    problem: str
    pictures: list[Drawn]

    @classmethod
    def of(cls, order: Order) -> OrderSummary:
        """Summarize an order."""
        pictures = [Drawn(key=one.key, seed=one.seed) for one in tuple(order.pictures)]
        return cls(
            number=order.number,
            state=order.state,
            prompt=order.wanted.sheets[0].prompt,
            share=order.share,
            problem=order.problem,
            pictures=pictures,
        )


class Pair(Form):
    """What the next pairs are to show."""

    prompt: Prompt


class Judgement(Form):
    """Which picture of a pair is better."""

    pair: Number
    picked: Picked


class Kept(BaseModel):
    """A choice that was kept."""

    number: int
    at: str
    prompt: str
    picked: Picked


class Taste(BaseModel):
    """How it stands with the taste."""

    choices: int
    decided: int
    """Those of which one picture was better."""
    known: bool
    """Whether anything was learned."""
    learned: bool
    """Whether all choices are."""
    learning: bool
    """Now."""
    told: str
    """In words."""
    problem: str
    """Why the last learning that the page began ended badly."""


class Budget(Form):
    """ε for a whole life here; what is left out stays as it is."""

    central: Epsilon | None = None
    local: Epsilon | None = None
