"""Exchanges: both roles of each protocol, as generators of what to send and what to wait for. Pure."""
