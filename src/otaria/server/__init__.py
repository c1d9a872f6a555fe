"""Adapter: what devices and people reach over HTTP."""
