from __future__ import annotations

from pathlib import Path

import pytest

from otaria.errors import BadInput, UnreadableFile
from otaria.sim.sketch_file import load_sketch

GOOD = "from otaria.sketch import Sketch\nclass Mine(Sketch):\n    pass\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_the_one_sketch_of_a_file_is_found(tmp_path: Path) -> None:
    assert load_sketch(written(tmp_path, GOOD)).__name__ == "Mine"


def test_an_imported_sketch_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="defines none"):
        load_sketch(written(tmp_path, "from otaria.sketch import Sketch\n"))


def test_two_sketches_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="defines Mine, Other"):
        load_sketch(written(tmp_path, GOOD + "class Other(Sketch):\n    pass\n"))


def test_a_file_that_does_not_parse_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="line 1"):
        load_sketch(written(tmp_path, "class (:\n"))


@pytest.mark.parametrize("name", ["missing.py", "firmware.bin"])
def test_what_is_no_python_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "firmware.bin").write_bytes(b"\xe9")
    with pytest.raises(UnreadableFile, match=name):
        load_sketch(tmp_path / name)
