"""``python -m otaria.cli``: the same as ``otaria``."""

from __future__ import annotations

from otaria.cli.main import run

if __name__ == "__main__":
    run()
