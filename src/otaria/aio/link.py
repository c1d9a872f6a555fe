"""A bad network: what it does to datagrams and streams, decided by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["GOOD_LINK", "Link", "StreamFault", "StreamTrouble"]


@dataclass(frozen=True, slots=True)
class Link:
    """What the network does to a datagram. A stream only feels the delay, as TCP hides the rest.

    Args:
        loss: the chance that it never arrives, 0.0 to 1.0.
        duplication: the chance that it arrives twice.
        shortest_s: the least time that it travels.
        longest_s: the most; later ones overtake earlier ones.
    """

    loss: float = 0.0
    duplication: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = 0.0

    def travel_times(self, chance: random.Random) -> list[float]:
        """How long each copy of one datagram travels, in seconds: none where it is lost, two where it is doubled."""
        copies = (chance.random() >= self.loss) + (chance.random() < self.duplication)
        return [self.travel_time(chance) for _ in range(copies)]

    def travel_time(self, chance: random.Random) -> float:
        """How long something travels that arrives, in seconds."""
        return chance.uniform(self.shortest_s, self.longest_s)


GOOD_LINK = Link()
"""Loses nothing and takes no time."""


class StreamTrouble(StrEnum):
    """What goes wrong with a connection."""

    STALL = "stall"
    """Nothing more arrives, and nobody says so."""
    CLOSE = "close"
    """The peer closes."""
    SURPLUS = "surplus"
    """Everything arrives twice."""


@dataclass(frozen=True, slots=True)
class StreamFault:
    """Trouble that begins once so many bytes have arrived on a connection."""

    trouble: StreamTrouble
    after: int
