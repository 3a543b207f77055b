"""`shoal`: teach a concept from photos, draw with it, take it elsewhere, forget it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.daemon.commands import register
from client.forgetting import STAYS, check_known, in_words
from client.forgetting import forget as forget_concept
from client.join import command as join
from client.options import Device, Home, Json, Model, Threads
from client.protection import command as protection
from client.quiet import quiet
from client.service.commands import app as service
from client.taste.rating import command as rate
from client.taste.standing import STRENGTH, standing
from client.vault import Vault
from client.web.opening import open_page
from common.errors import ConfigError, ShoalError

app = typer.Typer(
    name="shoal",
    help="Teach an image model what is yours, on your own device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would print local variables: prompts and tokens
)
app.add_typer(service, name="service")
app.command(name="join")(join)
app.command(name="open")(open_page)
app.command(name="rate")(rate)
app.command(name="vault")(protection)
register(app)

Name = Annotated[str, typer.Argument(help="The concept's name, as in my-dog.")]


@app.command()
def learn(
    photos: Annotated[list[Path], typer.Argument(help="A folder of photos, or photos.")],
    *,
    name: Annotated[str, typer.Option(help="What to call it: my-dog stands as <my-dog> in prompts.")],
    class_word: Annotated[str, typer.Option("--class", help="What it is one of: dog. Not needed for a style.")] = "",
    kind: Annotated[Literal["object", "style"], typer.Option(help="A thing, or a way of drawing.")] = "object",
    model: Model = None,
    forwards: Annotated[int | None, typer.Option(help="Forward passes to spend at most.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and photos give the same token.")] = 0,
    reference: Annotated[
        bool, typer.Option("--reference", help="Learn by the published algorithm, to compare.")
    ] = False,
    engine: Annotated[
        Literal["auto", "differences", "quanto", "bfloat16", "float32"],
        typer.Option(help="What computes the losses; auto is the fastest that passes the gate."),
    ] = "auto",
    device: Device = "cpu",
    threads: Threads = None,
    vectors: Annotated[int, typer.Option(help="Vectors of the concept: more hold more, and need more forwards.")] = 1,
    stages: Annotated[
        int,
        typer.Option(help="Parts of denoising that get a token each, as layout, content, material; each is a search."),
    ] = 1,
    preserve_class: Annotated[
        bool,
        typer.Option("--preserve-class", help="Keep its meaning near its class's: composes better, resembles less."),
    ] = False,
    captions: Annotated[
        Literal["none", "files", "names"],
        typer.Option(help="What each photo shows, with the name in it: in a .txt beside it, or as the file's name."),
    ] = "none",
    region: Annotated[
        str | None, typer.Option(help="Learn from masks (rex.mask.png beside rex.jpg), or from a box: 0.2,0,0.8,1.")
    ] = None,
    machine: Json = False,
    home: Home,
) -> None:
    """Teach a concept from a handful of photos. Ctrl-C pauses; the same command goes on."""
    quiet()
    from client.lesson import Lesson, teach

    lesson = Lesson(
        photos=photos,
        name=name,
        class_word=class_word,
        kind=kind,
        forwards=forwards,
        seed=seed,
        published=reference,
        engine=engine,
        device=device,
        threads=threads,
        vectors=vectors,
        stages=stages,
        preserve_class=preserve_class,
        captions=captions,
        region=region,
    )
    learned = teach(lesson, model, home, Console(stderr=machine))
    if machine:
        told = {"name": name, "reason": learned.reason, "forwards": learned.forwards, "history": learned.history}
        typer.echo(json.dumps(told | {"start_loss": learned.start_loss, "loss": learned.loss}))
    if learned.reason == "paused":
        raise typer.Exit(130)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help='What to draw: "a <my-dog> on a beach"; <my-dog:0.6> is less of it.')],
    *,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture. [default: a new one]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of denoising. [default: the model's]")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly to follow. [default: the model's]")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="One of diffusers' schedulers, as DDIMScheduler. [default: the model's]")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures drawn at once.")] = 4,
    device: Device = "cpu",
    threads: Threads = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the PNG files.")] = Path(),
    taste: Annotated[bool, typer.Option("--taste", help="Draw what you like, as shoal rate learned it.")] = False,
    strength: Annotated[
        float, typer.Option(help="With --taste: how far to follow it; 0 is not at all, 1 as it was learned.")
    ] = STRENGTH,
    particles: Annotated[
        int, typer.Option(help="With --taste: drawings of each picture, steered to the best; 1 steers none.")
    ] = 1,
    model: Model = None,
    machine: Json = False,
    home: Home,
) -> None:
    """Draw pictures from a prompt, with your concepts in it as <name>. Ctrl-C keeps those that are finished."""
    quiet()
    from client.drawing import Order, draw

    order = Order(
        prompt=prompt,
        negative=negative,
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        scheduler=scheduler,
        batch=batch,
        device=device,
        threads=threads,
        folder=out,
        taste=taste,
        strength=strength,
        particles=particles,
    )
    files = draw(order, model, home, Console(stderr=machine))
    if machine:
        typer.echo(json.dumps([str(file) for file in files]))
    if len(files) < count:
        raise typer.Exit(130)


@app.command()
def export(
    name: Name,
    path: Annotated[Path, typer.Argument(help="A folder, or a file ending in .safetensors or .pt.")] = Path(),
    *,
    layout: Annotated[
        Literal["diffusers", "comfyui", "a1111"], typer.Option("--format", help="Which program is to load it.")
    ] = "diffusers",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    machine: Json = False,
    home: Home,
) -> None:
    """Write a concept for diffusers, ComfyUI (both safetensors) or AUTOMATIC1111 (.pt); a file for each stage."""
    from client.backbone.exports import export_concept, usage
    from client.priors import width_of

    concept = Vault(home).concept(name)
    files = export_concept(concept, path, layout, width=width_of(home, concept.backbone), replace=force)
    told = usage(files, name, layout)
    if machine:
        typer.echo(json.dumps({"file": str(files[0]), "files": [str(file) for file in files], "usage": told}))
        return
    wrote = "\n".join(f"wrote {file}" for file in files)
    Console().print(f"{wrote}\n{told}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def concepts(*, machine: Json = False, home: Home) -> None:
    """List what was taught."""
    taught = Vault(home).listed()
    if machine:
        typer.echo(json.dumps([concept._asdict() for concept in taught], indent=1))
        return
    table = Table("name", "kind", "one of", "model", "forwards", "loss")
    for concept in taught:
        numbers = (concept.backbone[:12], str(concept.forwards), f"{concept.loss:.4f}")
        table.add_row(escape(concept.name), concept.kind, escape(concept.class_word), *numbers)
    Console().print(table if table.row_count else "nothing yet: shoal learn PHOTOS --name my-dog --class dog")
    Console().print(f"your taste: {standing(home).in_words}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def forget(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    machine: Json = False,
    home: Home,
) -> None:
    """Delete a concept and its checkpoints for good, or "taste": your choices too. Your photos stay where they are."""
    check_known(home, name)
    if not yes:
        typer.confirm(f"Delete <{name}> for good? {STAYS}", abort=True)
    given = forget_concept(home, name)
    if machine:
        typer.echo(json.dumps({"forgot": name, "in_a_sum_since": given}))
        return
    Console().print(in_words(name, given), markup=False, highlight=False, soft_wrap=True)


@app.command()
def privacy(
    *,
    budget: Annotated[float | None, typer.Option("--budget", help="Allow this ε against a curious server.")] = None,
    local: Annotated[float | None, typer.Option("--local", help="Allow this ε against a lying server.")] = None,
    stop: Annotated[bool, typer.Option("--withdraw", help="Contribute nothing more.")] = False,
    machine: Annotated[bool, typer.Option("--json", help="As JSON, with the ledger itself.")] = False,
    home: Home,
) -> None:
    """Show what was contributed and what it cost, or say what may be."""
    from client.statement import as_json, as_tables, set_limits, statement, withdraw

    if stop and (budget is not None or local is not None):
        raise ConfigError("--withdraw allows nothing more, --budget and --local do: give one or the other")
    if stop:
        withdraw(home)
    elif budget is not None or local is not None:
        set_limits(home, central=budget, local=local)
    found, console = statement(home), Console()
    if machine:
        typer.echo(json.dumps(as_json(found), indent=1))
        return
    for part in as_tables(found):
        console.print(part)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `shoal`; whatever was foreseen ends in one line that says what to do, and exit code 1."""
    try:
        app(arguments)
    except ShoalError as error:
        Console(stderr=True).print(f"shoal: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
