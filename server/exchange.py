"""One exchange with many nodes: a question to each, and whatever answers come in time.

An own loop over Flower's `Grid`, because `send_and_receive` looks for replies every 3 s over HTTP and once more
after each: four exchanges of a round took 30 s that way and take 2 to 4 s this way (Flower 1.41).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flwr.app import ConfigRecord, Message, RecordDict

from server.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flwr.serverapp import Grid

    from common.messages import Fields

LOOK_SECONDS: Final = 0.2
"""Between two looks for replies: a SuperLink answers some 200 requests a second, so 5 are no burden."""
REST: Final = 2.0
"""After a look that took long, rest so many times as long: a SuperLink that is busy with devices, or whose machine is,
has their answers sooner if it is not asked for them."""
SENT_AT_ONCE: Final = 32
"""Questions in one request. A SuperLink writes those in one transaction, and whoever else would write waits: with a
thousand for longer than the five seconds after which SQLite gives up."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as an argument, so that tests need not wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back of one exchange."""

    fields: dict[int, Mapping[str, object]] = field(default_factory=dict)
    """By node id: those who answered with fields."""
    failures: Counter[str] = field(default_factory=Counter)
    """How many failed with which error; never who."""


def forget(_: Mapping[int, Mapping[str, object]]) -> None:
    """Write no answer down."""


def exchange(
    grid: Grid,
    action: str,
    questions: Mapping[int, Fields],
    *,
    group: str,
    seconds: float,
    clock: Clock,
    keep: Callable[[Mapping[int, Mapping[str, object]]], None] = forget,
) -> Answers:
    """Ask each node its question and gather what they answer within `seconds`.

    A message lives no longer than the exchange: a device that wakes up later finds nothing, and books nothing for a
    sum that is closed.

    Args:
        grid: Flower's connection to the nodes.
        action: Flower's message type, such as `train.masked`.
        questions: by node id, the fields to send.
        group: what Flower's log knows the exchange by; the round's id.
        seconds: when to stop waiting.
        clock: time.
        keep: writes answers down as they arrive, by node id.
    """
    answers, waiting, end = Answers(), dict[str, int](), clock.now() + seconds
    inbox = Inbox(grid)
    unsent = [
        Message(RecordDict({"fields": ConfigRecord(dict(fields))}), node, action, ttl=seconds, group_id=group)
        for node, fields in questions.items()
    ]
    while (unsent or waiting) and clock.now() < end:
        began = clock.now()
        sent, unsent = unsent[:SENT_AT_ONCE], unsent[SENT_AT_ONCE:]
        if sent:
            asked = zip(grid.push_messages(sent), (message.metadata.dst_node_id for message in sent), strict=False)
            waiting.update((item, node) for item, node in asked if item)  # no id: what the SuperLink refused
        arrived = Answers(failures=answers.failures)
        for item, reply in inbox.look(waiting).items():
            _sort(waiting.pop(item), reply, arrived)
        if arrived.fields:
            keep(arrived.fields)
            answers.fields.update(arrived.fields)
        if waiting and not unsent:
            took = clock.now() - began
            clock.sleep(max(LOOK_SECONDS, min(REST * took, end - clock.now())))
    if lost := len(unsent) + len(waiting):
        answers.failures["silent"] += lost
    return answers


def _sort(node: int, reply: Message | None, answers: Answers) -> None:
    """Sort a reply; whose it is is known by what was asked: what it says of itself is a device's word."""
    if reply is None:
        answers.failures["no message"] += 1
        return
    if reply.has_error():
        # A reason is text from a device: only a plain type name of it is fit for the operator's log.
        reason = str(reply.error.reason or "")
        answers.failures[reason if reason.isidentifier() and len(reason) <= 64 else f"code {reply.error.code}"] += 1
        return
    record = reply.content.get("fields")
    if isinstance(record, ConfigRecord):
        answers.fields[node] = dict(record)
    else:
        answers.failures["no fields"] += 1
