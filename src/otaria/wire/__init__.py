"""Formats: bytes to values and back. Pure."""
