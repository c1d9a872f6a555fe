"""Every command in the documentation is executed, and shows what the page says that it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.docs.markdown import Block, Page, pages
from tests.docs.terminals import Sandbox, missing_from, sandbox

LANGUAGES = {"bash", "text", "cpp", "python"}
"""What a fenced block may be. Of these only bash is executed, and text compared with what it shows."""


def commands(page: Page) -> list[Block]:
    return [block for block in page.blocks if block.language == "bash"]


@pytest.mark.parametrize("page", [page for page in pages() if commands(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(page: Page, tmp_path: Path) -> None:
    if "curl" in page.text and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with sandbox(page, tmp_path) as scene:
        shown: list[str] | None = None
        for block in page.blocks:
            shown = follow(scene, block, shown)


def follow(scene: Sandbox, block: Block, shown: list[str] | None) -> list[str] | None:
    """Do what a reader does at this block; what the last command showed, if its terminal shows it still."""
    terminal = block.options.get("terminal")
    if "skip" in block.options:
        return None
    if block.language == "bash":
        if terminal is None:
            return scene.run(block)
        scene.open_terminal(terminal, block.content)
    if block.language == "text":
        expected = scene.replaced(block.content).splitlines()
        if terminal is not None:
            scene.terminals[terminal].show(expected)
        elif shown is not None:
            wrong = missing_from(shown, expected)
            assert wrong is None, f"line {block.line} shows {wrong}\n" + "\n".join(shown)
    return None


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_each_block_says_what_it_is(page: Page) -> None:
    strangers = [f"line {block.line}: {block.language!r}" for block in page.blocks if block.language not in LANGUAGES]
    assert strangers == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_is_not_executed_says_why(page: Page) -> None:
    silent = [block.line for block in commands(page) if block.options.get("skip") == ""]
    assert silent == []
