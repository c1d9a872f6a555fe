"""Device behaviour in Python, with the calls of the Arduino libraries."""
