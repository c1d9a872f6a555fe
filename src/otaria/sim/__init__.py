"""Runnable devices: virtual ones behind real sockets."""
