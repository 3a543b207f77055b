"""The server's log: each event one JSON object on a line, with fields from a short list, so that nothing else gets in.

A field that is not on the list is left out, whatever it is: somebody's name, key, address or vector has no way into
the log by an oversight. structlog renders; the standard library's loggers carry the lines to wherever theirs go.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

FIELDS: Final = frozenset(
    {
        "event", "level", "time",
        "kind", "kinds", "round", "version", "people", "asked", "took", "dropouts", "why", "devices", "seconds",
        "part", "parts", "code", "run", "log", "shut_out", "exception",
    }
)  # fmt: skip
"""All that is ever said: kinds of concept, rounds and versions, counts, reasons of ours, parts of the server."""


def events(name: str) -> FilteringBoundLogger:
    """Give a logger of events, under this name of the standard library's."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _only_known,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


def _only_known(_logger: WrappedLogger, _method: str, event: EventDict) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name in FIELDS}
