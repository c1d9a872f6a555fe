"""The log: one line per change, for people and for grep. What devices say stands in it escaped."""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

__all__ = ["change_log"]

_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
"""Printable ASCII without space, quote, equals sign and backslash: what needs no quotes."""


def change_log(stream: TextIO) -> FilteringBoundLogger:
    """A log that writes to a stream: time, what happened, and the rest as name=value."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True),
            structlog.processors.format_exc_info,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return logger


def _line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    time, what, trace = event.pop("timestamp"), event.pop("event"), event.pop("exception", None)
    pairs = (f"{name}={_value(value)}" for name, value in event.items() if value is not None)
    return " ".join((time, what, *pairs)) + (f"\n{trace}" if trace else "")


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
