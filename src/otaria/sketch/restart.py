"""How a sketch tells whoever runs its board that the board restarts."""

from __future__ import annotations

from otaria.device.machine import ResetReason

__all__ = ["Restart"]


class Restart(Exception):
    """The sketch restarts the board. Nobody but the board's runner catches it."""

    def __init__(self, reason: ResetReason = ResetReason.SOFTWARE_RESTART) -> None:
        super().__init__(f"the sketch restarts the board: {reason.name.lower()}")
        self.reason = reason
