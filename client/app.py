"""The Flower ClientApp: wiring between messages and `client.federation`, the same in simulation and deployment.

An exception's text may quote what must stay here, so it never travels: the reply names its type, nothing more.
Imports no model library: an idle device answers with what is in its vault.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.federation import contribute, is_ready, receive_prior
from common.errors import ConfigError, PriorError, ProtocolError, StaleRoundError
from common.messages import (
    ContributionReply,
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    from_fields,
    pack_vector,
    to_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = ReadyReply | ContributionReply | PriorReply

_FAILED = 2
"""Flower's own code for "the client app raised an exception" (flwr.common.constant.ErrorCode, 1.41)."""

app = ClientApp()


@app.query("ready")
def ready(message: Message, context: Context) -> Message:
    """Say whether this person could contribute now."""

    def answer(folder: Path, found: dict[str, object]) -> ReadyReply:
        return ReadyReply(ready=is_ready(folder, from_fields(ReadyQuery, found)))

    return _reply(message, context, answer)


@app.train("contribute")
def train_contribute(message: Message, context: Context) -> Message:
    """Give this person's one vector for a round."""

    def answer(folder: Path, found: dict[str, object]) -> ContributionReply:
        _refuse_late(message)
        return ContributionReply(contribution=pack_vector(contribute(folder, from_fields(RoundCall, found))))

    return _reply(message, context, answer)


@app.query("prior")
def prior(message: Message, context: Context) -> Message:
    """Take a new prior, or refuse it and keep the last good one."""

    def answer(folder: Path, found: dict[str, object]) -> PriorReply:
        try:
            receive_prior(folder, from_fields(PriorNotice, found))
        except PriorError:
            return PriorReply(stored=False)
        return PriorReply(stored=True)

    return _reply(message, context, answer)


def state_folder(context: Context) -> Path:
    """Find the person's state folder: the device's own setting, or this virtual person's place in a simulation.

    The run configuration comes from the server, so it is believed only where Flower's simulation says, by a
    partition id, that there is no device.

    Raises:
        ConfigError: neither is given.
    """
    own = context.node_config.get("state-folder")
    if isinstance(own, str) and own:
        return Path(own)
    partition, people = context.node_config.get("partition-id"), context.run_config.get("people-folder")
    if isinstance(partition, int) and isinstance(people, str) and people:
        return Path(people) / str(partition)
    raise ConfigError("no state folder: start the SuperNode with --node-config 'state-folder=\"...\"'")


def _refuse_late(message: Message) -> None:
    """Refuse a call that is no longer waited for: to book it would spend the contribution for nothing.

    Raises:
        StaleRoundError: the message's time to live is over, by this device's clock.
    """
    if time.time() > message.metadata.created_at + message.metadata.ttl:
        raise StaleRoundError("this round is over: wait for the next one")


def _reply(message: Message, context: Context, answer: Callable[[Path, dict[str, object]], Answer]) -> Message:
    """Answer with fields, or with the bare type of whatever went wrong."""
    try:
        fields = to_fields(answer(state_folder(context), _fields(message)))
    except Exception as error:  # noqa: BLE001 - nothing unforeseen may speak to the server either
        return Message(Error(code=_FAILED, reason=type(error).__name__), reply_to=message)
    return Message(RecordDict({"fields": ConfigRecord(dict(fields))}), reply_to=message)


def _fields(message: Message) -> dict[str, object]:
    record = message.content.get("fields") if message.has_content() else None
    if not isinstance(record, ConfigRecord):
        raise ProtocolError("a message without fields: drop it")
    return dict(record)
