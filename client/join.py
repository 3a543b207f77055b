"""`shoal join URL CODE`: see an operator's terms, agree to them, be enrolled; one command.

    the code's fingerprint  ->  the operator's key  ->  the signed terms  ->  the server's certificate  ->  the secret

Each is trusted because of the one before it. Nothing of this device is sent, and nothing is pinned, before the person
has agreed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from platformdirs import user_data_path
from rich.console import Console
from rich.table import Table

from client.budget import DEFAULT, checked
from client.database import FILE as VAULT
from client.doorstep import apply, base_url, fetch_terms
from client.files import write_whole
from client.identity import is_enrolled, keep_certificate, operator_key, request_again, request_enrolment, succeed
from client.ledger import Limits
from client.membership import keep_membership, node_key, public_pem, read_membership
from client.priors import admit_backbone
from client.rules import FEWEST_PEOPLE
from client.statement import set_limits, statement
from common.enrolment import Application, to_json
from common.errors import ConfigError, ProtocolError, VaultError
from common.invitation import fingerprint, read_code
from common.terms import open_terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.enrolment import Admission
    from common.terms import Terms

KEY_FILE: Final = "device-key.json"
"""Where the key file for the operator is written, in the folder that the command runs in."""


def command(
    url: Annotated[str, typer.Argument(help="The server, as https://host:port, or the whole link of the operator.")],
    code: Annotated[str, typer.Argument(help="What the operator gave you; not needed with a link.")] = "",
    *,
    budget: Annotated[float | None, typer.Option("--budget", help="Allow this ε against a curious server.")] = None,
    local: Annotated[float | None, typer.Option("--local", help="Allow this ε against a lying server.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree without being asked.")] = False,
    home: Annotated[
        Path,
        typer.Option(
            envvar="SHOAL_HOME", help="Where concepts are kept.", default_factory=lambda: user_data_path("shoal")
        ),
    ],
) -> None:
    """Join a federation: see its terms, agree, and be let in."""
    console = Console()
    server, _, fragment = url.partition("#")
    allowed = _allowance(home, budget, local)

    def agree(terms: Terms, operator: bytes) -> bool:
        console.print(as_table(terms, operator, allowed))
        if terms.minimum_people < FEWEST_PEOPLE:
            console.print(f"Your device refuses rounds of fewer than {FEWEST_PEOPLE} people, whatever it says here.")
        return yes or typer.confirm("Do you agree, and join?")

    terms = join(home, server, code or fragment, agree)
    if terms is None:
        console.print("not joined, and nothing was sent")
        raise typer.Exit(1)
    set_limits(home, central=allowed.central, local=allowed.local)
    console.print(f"joined {terms.name}; `shoal daemon` takes part, `shoal privacy` shows what left", markup=False)


def join(home: Path, server: str, code: str, agree: Callable[[Terms, bytes], bool]) -> Terms | None:
    """Join the operator's federation, if the person agrees to the terms.

    Args:
        home: the state folder.
        server: its URL.
        code: what the operator gave.
        agree: shown the terms and the operator's public key, says whether the person does.

    Returns:
        The terms; None if the person did not agree, and then nothing was sent.

    Raises:
        ConfigError: code or URL are none, or the server cannot be reached or refuses.
        ProtocolError: the server is not the operator's.
        VaultError: another operator's key is pinned here.
    """
    invitation, address = read_code(code), base_url(server)
    signed, terms, operator = fetch_terms(address, invitation.fingerprint)
    if not agree(terms, operator):
        return None
    if is_enrolled(home) and operator_key(home).public_bytes_raw() != operator:
        return _join_again(home, signed)
    asking = request_enrolment(home, Ed25519PublicKey.from_public_bytes(operator))
    application = Application(request=asking, node_key=public_pem(node_key(home)), secret=invitation.secret)
    if not invitation.secret:
        _leave_key_file(application)
    admission = apply(address, terms, application)
    keep_certificate(home, admission.certificate)
    admit_backbone(home, terms.backbone, terms.width)
    keep_membership(home, signed, admission.node)
    return terms


def _join_again(home: Path, signed: bytes) -> Terms:
    """Agree anew to an operator whose key gave way to another since.

    Raises:
        VaultError: it is another operator.
    """
    try:
        terms, operator = open_terms(signed, fingerprint(operator_key(home).public_bytes_raw()))
    except ProtocolError as error:
        raise VaultError(f"{home} holds another operator's key: use another state folder for that one") from error
    admission = _follow(home, terms, operator)
    keep_membership(home, signed, admission.node)
    succeed(home, Ed25519PublicKey.from_public_bytes(operator), admission.certificate)
    return terms


def as_table(terms: Terms, operator: bytes, allowed: Limits) -> Table:
    """Show terms and budget to the person who is to agree."""
    table = Table(title=f"The terms of {terms.name}", show_header=False)
    hours = ", ".join(f"{hour:02}:00" for hour in terms.hours)
    table.add_row("operator's key", fingerprint(operator).hex(" ", 2))
    table.add_row("server", terms.address)
    table.add_row("of each concept", f"one clipped, noised and masked vector is sent, once ({', '.join(terms.kinds)})")
    table.add_row("never sent", "photos, tokens, names, prompts")
    table.add_row("people in a sum", f"{terms.minimum_people} or more, or it is never opened")
    table.add_row("a round costs", f"ε of {terms.epsilon:g} at most, at δ = {terms.delta:g}")
    table.add_row(
        "rounds", f"{terms.rounds_a_month} a month at most, " + (f"at {hours} UTC" if hours else "at any hour")
    )
    table.add_row("model", terms.backbone[:16])
    table.add_section()
    table.add_row(
        "your budget",
        f"ε of {allowed.central:g} against a curious server, {allowed.local:g} against a lying one, over the whole "
        "life of this installation; what would go beyond is refused. Others: --budget, --local",
    )
    return table


def renew(folder: Path) -> Terms:
    """Take the operator's present terms, as after an upgrade of the server; where they ask more than was agreed, don't.

    A daemon calls this when it starts and when a run has a bundle that it does not know. The server's certificate may
    have changed too: the operator's pinned key vouches for it. So it does for a key that follows it, which is pinned
    in its place; any other is refused.

    Raises:
        ConfigError: the server cannot be reached, or the person has to agree anew.
        ProtocolError: the answer is not by the pinned operator.
        VaultError: no federation was joined.
    """
    membership = read_membership(folder)
    pinned = operator_key(folder).public_bytes_raw()
    signed, terms, operator = fetch_terms(base_url(membership.address), fingerprint(pinned))
    held = membership.terms.issued
    if terms.issued < held or (terms.issued == held and operator == pinned):
        return membership.terms
    if asked := more(membership.terms, terms):
        raise ConfigError(f"the operator now asks for {', '.join(asked)}: `shoal join` shows it, and nothing is sent")
    admission = None if operator == pinned else _follow(folder, terms, operator)
    keep_membership(folder, signed, admission.node if admission else membership.node)
    if admission:
        succeed(folder, Ed25519PublicKey.from_public_bytes(operator), admission.certificate)
    return terms


def _follow(folder: Path, terms: Terms, operator: bytes) -> Admission:
    """Have this device's key certified by the one that the operator's pinned key gave way to.

    What is kept then is kept in an order that a crash does not disturb: terms by the fresh key open by either.
    """
    asking = request_again(folder, Ed25519PublicKey.from_public_bytes(operator))
    application = Application(request=asking, node_key=public_pem(node_key(folder)), secret=b"")
    return apply(base_url(terms.address), terms, application)


def more(agreed: Terms, now: Terms) -> list[str]:
    """Say in what terms go beyond those that were agreed to."""
    beyond = {
        "another model": now.backbone != agreed.backbone or now.width != agreed.width,
        "further kinds of concepts": not set(now.kinds) <= set(agreed.kinds),
        "smaller rounds": now.minimum_people < agreed.minimum_people,
        "costlier rounds": now.epsilon > agreed.epsilon or now.delta > agreed.delta,
        "more rounds": now.rounds_a_month > agreed.rounds_a_month,
    }
    return [what for what, holds in beyond.items() if holds]


def _allowance(home: Path, budget: float | None, local: float | None) -> Limits:
    """Give the budgets to agree to: those asked for, else those in force, else the default."""
    now = (statement(home).allowed if (home / VAULT).is_file() else None) or DEFAULT
    return checked(
        Limits(central=now.central if budget is None else budget, local=now.local if local is None else local)
    )


def _leave_key_file(application: Application) -> None:
    """Write what the operator needs to let this device in without a code; nothing in it is secret."""
    try:
        write_whole(Path(KEY_FILE), to_json(application), replace=True)
    except OSError as error:
        raise ConfigError(f"cannot write {KEY_FILE} here ({error.strerror}): go to another folder") from error
