"""How the generations of the Arduino core are named on the command line."""

from __future__ import annotations

__all__ = ["core_as_spelled"]


def core_as_spelled(name: str) -> str:
    """A core as people know it: ``3.1`` for the member ``V3_1``."""
    return name.removeprefix("V").replace("_", ".").lower()
