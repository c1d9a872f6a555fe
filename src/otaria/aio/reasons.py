"""The operating system's own words for what went wrong, without asyncio's around them."""

from __future__ import annotations

import os
import socket

__all__ = ["os_reason"]


def os_reason(error: OSError | TimeoutError) -> str:
    """A few words, such as "Connection refused"; TimeoutError is one of asyncio's, without a number."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)  # its numbers are not those of errno
    return os.strerror(error.errno) if error.errno else str(error)
