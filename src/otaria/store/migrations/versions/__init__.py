"""One module per step; a published one never changes."""
