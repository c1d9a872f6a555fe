"""Adapter: the database and the blobs behind the service's ports."""
