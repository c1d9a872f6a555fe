"""Where Otaria keeps its things."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

__all__ = ["DATA_VARIABLE", "data_folder"]

DATA_VARIABLE: Final = "OTARIA_DATA"


def data_folder() -> Path:
    """The folder named by OTARIA_DATA, else the platform's usual one for a user's data."""
    chosen = os.environ.get(DATA_VARIABLE)
    return Path(chosen) if chosen else user_data_path("otaria")
