from __future__ import annotations

import re
from pathlib import Path

import pytest

import otaria.sketch
from otaria.sim.sketch_file import load_sketch

PAGE = (Path(__file__).parents[2] / "docs/howto/write-a-sketch.md").read_text()


@pytest.mark.parametrize("name", otaria.sketch.__all__)
def test_every_public_name_of_the_sketch_layer_is_on_its_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE), f"docs/howto/write-a-sketch.md does not name {name}"


def test_the_smallest_sketch_of_the_page_is_one(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    path = tmp_path / "blink.py"
    path.write_text(code.group(1))
    assert load_sketch(path).__name__ == "Blink"


@pytest.mark.parametrize("example", sorted((Path(__file__).parents[2] / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_every_example_is_named_on_the_page_and_loads(example: Path) -> None:
    assert example.name in PAGE
    load_sketch(example)
