"""The person's side of the federation: what a device answers, and why it may refuse. No Flower in here.

One function for each exchange. Each advances the round durably before it returns its bytes, so nothing is answered
twice. The only one of them whose bytes have to do with photos is `client.contribution.contribute`; this module
cannot open the vault.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from client.agreement import is_agreed
from client.budget import is_spent
from client.contribution import announcement, is_pending
from client.database import Database
from client.identity import identity, is_enrolled, keep_certificate, operator_key, request_enrolment
from client.ledger import Opening, append, read, writing
from client.participation import advance, begin, expire, resume
from client.priors import admit_backbone, held_version
from client.rules import admit_round, booking
from common.errors import ProtocolError
from common.messages import rules_of
from common.secagg.client import advertise, confirm, share, unmask
from common.secagg.states import Advertised, Confirmed, Masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from client.rules import Device
    from common.messages import ReadyQuery, RoundCall, RoundStep


def enrol(
    folder: Path, *, operator: Ed25519PublicKey, certify: Callable[[bytes], bytes], backbone: str, width: int
) -> None:
    """Join a federation: pin the operator's key, have this device's own certified, and admit the backbone.

    Args:
        folder: the person's state folder.
        operator: the key under which priors will be signed; once pinned, it is never replaced.
        certify: carries a request to the operator and brings the certificate back; see `common.enrolment`.
        backbone: SHA-256 of the weights, lower-case hex.
        width: length of that backbone's token vectors.

    Raises:
        VaultError: another operator's key is pinned here, or the certificate is not that operator's.
    """
    keep_certificate(folder, certify(request_enrolment(folder, operator)))
    admit_backbone(folder, backbone, width)


def is_ready(device: Device, query: ReadyQuery) -> bool:
    """Say whether the person could contribute: something is pending, under the very prior held, and budget is left."""
    folder = device.folder
    if not is_enrolled(folder) or not is_agreed(folder, query.backbone, query.kind):
        return False
    expire(Database(folder))
    if not is_pending(device, query.kind, query.backbone):
        return False
    with Database(folder).transaction("DEFERRED") as rows:
        if is_spent(read(rows, folder)):
            return False
    return held_version(folder, query.backbone, query.kind) == query.prior_version


def answer_keys(device: Device, call: RoundCall) -> bytes:
    """Answer `train.keys`: enter the round if it keeps to this device's rules, with keys for it alone.

    Raises:
        VaultError: not enrolled, or the ledger was changed.
        StaleRoundError: the round was here before, or runs under another prior than the one held.
        BudgetExhaustedError: with the fewest people announced it would cost more than is allowed.
        ProtocolError: the announcement breaks a rule.
    """
    me = identity(device.folder)
    if not is_agreed(device.folder, call.backbone, call.kind):  # first, so that all other models get the same answer
        raise ProtocolError("neither this kind nor this model is what was agreed to when joining: sit this round out")
    rules = rules_of(call, operator_key(device.folder).public_bytes_raw())
    announcement(device.folder, call)
    with Database(device.folder).transaction() as rows:
        event = booking(rules, call, people=rules.minimum_people, concept=0)
        admit_round(device, read(rows, device.folder), event)
        state, reply = advertise(rules, me, os.urandom)
        begin(rows, call, rules, state)
    return reply


def answer_shares(device: Device, step: RoundStep) -> bytes:
    """Answer `train.shares`: check everybody's keys, then share the round's secrets among the neighbours.

    Raises:
        StaleRoundError: the round is over, or this exchange had its answer.
        BudgetExhaustedError: with these people it would cost more than is allowed.
        ProtocolError: what was sent breaks the protocol.
    """
    with Database(device.folder).transaction() as rows:
        call, state = resume(rows, step, Advertised)
        following, reply = share(state, step.request, os.urandom)
        event = booking(state.rules, call, people=len(following.roster.members), concept=0)
        admit_round(device, read(rows, device.folder), event)
        advance(rows, step.round_id, following)
    return reply


def answer_confirm(device: Device, step: RoundStep) -> bytes:
    """Answer `train.confirm`: sign whose vectors are in the sum, once.

    Raises:
        StaleRoundError: the round is over, or this exchange had its answer.
        ProtocolError: what was sent breaks the protocol.
    """
    with Database(device.folder).transaction() as rows:
        _, state = resume(rows, step, Masked)
        following, reply = confirm(state, step.request)
        advance(rows, step.round_id, following)
    return reply


def answer_unmask(device: Device, step: RoundStep) -> bytes:
    """Answer `train.unmask`: give the shares that open the sum, note that it was opened, and forget the round.

    Raises:
        StaleRoundError: the round is over, or this exchange had its answer.
        ProtocolError: what was sent breaks the protocol.
    """
    with writing(Database(device.folder)) as rows:
        _, state = resume(rows, step, Confirmed)
        following, reply = unmask(state, step.request)
        append(rows, device.folder, Opening(round_id=step.round_id, people=len(state.survivors)))
        advance(rows, step.round_id, following)
    return reply
