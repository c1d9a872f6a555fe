"""Sketches that users wrote, loaded from their files."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

from otaria.errors import BadInput, UnreadableFile
from otaria.sketch.board import Sketch

__all__ = ["load_sketch"]


def load_sketch(path: Path) -> type[Sketch]:
    """The one class derived from :class:`~otaria.sketch.board.Sketch` that a file defines.

    The file is executed, as any Python program is.

    Raises:
        UnreadableFile: it is not there, or is no Python file.
        BadInput: it defines no sketch, or several.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnreadableFile(f"{path} is no Python file that could hold a sketch.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise BadInput(f"{path} does not parse: {error}.") from error
    found = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, Sketch) and thing.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(sorted(thing.__name__ for thing in found)) or "none"
        raise BadInput(f"{path} should define one class derived from Sketch, and it defines {names}.")
    return found[0]
