"""Entry points: parse, compose, render. The only composition root."""
