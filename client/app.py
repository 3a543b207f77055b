"""The Flower ClientApp: wiring between messages and `client.federation`, the same in simulation and deployment.

An exception's text may quote what must stay here, so it never travels: the reply names its type, and that only where
it is one of this project's own.
Imports no model library: an idle device answers with what is in its vault.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.contribution import contribute
from client.federation import answer_confirm, answer_keys, answer_shares, answer_unmask, is_ready
from client.priors import receive_prior
from client.rules import Device
from common.errors import ConfigError, PriorError, ProtocolError, ShoalError, StaleRoundError
from common.messages import (
    Form,
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    RoundStep,
    StepReply,
    from_fields,
    to_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Fields = dict[str, object]

_FAILED = 2
"""Flower's own code for "the client app raised an exception" (flwr.common.constant.ErrorCode, 1.41)."""

UNFORESEEN = "UnforeseenError"
"""What the server reads of an error that is none of this project's: its type too may depend on what was read."""

app = ClientApp()


@app.query("ready")
def query_ready(message: Message, context: Context) -> Message:
    """Say whether this person could contribute now."""
    return _reply(message, context, lambda me, found: ReadyReply(ready=is_ready(me, from_fields(ReadyQuery, found))))


@app.train("keys")
def train_keys(message: Message, context: Context) -> Message:
    """Enter a round, as it is announced."""
    return _reply(message, context, lambda me, found: StepReply(reply=answer_keys(me, from_fields(RoundCall, found))))


@app.train("shares")
def train_shares(message: Message, context: Context) -> Message:
    """Share this round's secrets with the neighbours."""
    return _step(message, context, answer_shares)


@app.train("masked")
def train_masked(message: Message, context: Context) -> Message:
    """Give this person's one masked vector."""
    return _step(message, context, contribute)


@app.train("confirm")
def train_confirm(message: Message, context: Context) -> Message:
    """Sign whose vectors are in the sum."""
    return _step(message, context, answer_confirm)


@app.train("unmask")
def train_unmask(message: Message, context: Context) -> Message:
    """Give what opens the sum of these, and nothing else."""
    return _step(message, context, answer_unmask)


@app.query("prior")
def query_prior(message: Message, context: Context) -> Message:
    """Take a new prior, or refuse it and keep the last good one."""

    def answer(me: Device, found: Fields) -> PriorReply:
        try:
            receive_prior(me.folder, from_fields(PriorNotice, found))
        except PriorError:
            return PriorReply(stored=False)
        return PriorReply(stored=True)

    return _reply(message, context, answer)


def device(context: Context) -> Device:
    """Find the person's state folder: the device's own setting, or this virtual person's place in a simulation.

    The run configuration comes from the server, so it is believed only where Flower's simulation says, by a
    partition id, that there is no device.

    Raises:
        ConfigError: neither is given.
    """
    own = context.node_config.get("state-folder")
    if isinstance(own, str) and own:
        return Device(folder=Path(own))
    partition, people = context.node_config.get("partition-id"), context.run_config.get("people-folder")
    if isinstance(partition, int) and isinstance(people, str) and people:
        return Device(folder=Path(people) / str(partition), simulated=True)
    raise ConfigError("no state folder: start the SuperNode with --node-config 'state-folder=\"...\"'")


def failure(message: Message, reason: str) -> Message:
    """Answer that it cannot be answered; the reason is a bare name, since the server reads it."""
    return Message(Error(code=_FAILED, reason=reason), reply_to=message)


def refusal(message: Message, error: Exception) -> Message:
    """Answer that something went wrong; what it was, only where it was foreseen."""
    return failure(message, type(error).__name__ if isinstance(error, ShoalError) else UNFORESEEN)


def _step(message: Message, context: Context, answer: Callable[[Device, RoundStep], bytes]) -> Message:
    """Answer one of the exchanges that follow the announcement."""
    return _reply(message, context, lambda me, found: StepReply(reply=answer(me, from_fields(RoundStep, found))))


def _refuse_late(message: Message) -> None:
    """Refuse what is no longer waited for: to book it would spend the contribution for nothing.

    Raises:
        StaleRoundError: the message's time to live is over, by this device's clock.
    """
    if time.time() > message.metadata.created_at + message.metadata.ttl:
        raise StaleRoundError("this exchange is over: wait for the next round")


def _reply(message: Message, context: Context, answer: Callable[[Device, Fields], Form]) -> Message:
    """Answer with fields, or with the bare type of whatever went wrong."""
    try:
        _refuse_late(message)
        fields = to_fields(answer(device(context), _fields(message)))
    except Exception as error:  # noqa: BLE001 - nothing unforeseen may speak to the server either
        return refusal(message, error)
    return Message(RecordDict({"fields": ConfigRecord(dict(fields))}), reply_to=message)


def _fields(message: Message) -> Fields:
    record = message.content.get("fields") if message.has_content() else None
    if not isinstance(record, ConfigRecord):
        raise ProtocolError("a message without fields: drop it")
    return dict(record)
