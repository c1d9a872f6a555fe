"""Adapter: the uploader."""
