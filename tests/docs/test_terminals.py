"""The tests of the pages notice when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.markdown import Block, Page
from tests.docs.terminals import Terminal, agree, missing_from, sandbox


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("installed in 2.2 s and", "installed in 0.3 s and"),
        ("at http://127.0.0.1:8700", "at     http://127.0.0.1:43217   "),
        ("2026-03-01T09:15:02Z offered", "2027-11-22T18:19:57Z offered"),
        ("flash: …", "flash: /home/me/flash.bin"),
        ("… keep …", "a b keep c d"),
        ("Error: 127.0.0.1 refused. …", "Error: 127.0.0.1:9 refused. Try again."),
    ],
)
def test_what_differs_in_every_run_may_differ(expected: str, actual: str) -> None:
    assert agree(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("valve runs 2.0", "valve runs 1.0"),
        ("@cp:B0", "@cp:0"),
        ("installed", "installed it"),
        ("… keep", "a keep b"),
        ("size 28736 bytes", "size 28737 bytes"),
    ],
)
def test_everything_else_must_not(expected: str, actual: str) -> None:
    assert not agree(expected, actual)


@pytest.mark.parametrize(
    ("actual", "expected", "missing"),
    [
        (["a", "b"], ["a", "b"], None),
        (["a", "b", "c"], ["a", "…", "c"], None),
        (["a", "b", "c"], ["a", "…"], None),
        (["a", "b", "c"], ["a", "c"], "c"),
        (["a", "b"], ["b"], "b"),
        (["a", "b"], ["a"], "nothing, where the output has 'b'"),
        (["a"], ["a", "b"], "b"),
        ([], ["a"], "a"),
    ],
)
def test_lines_stand_in_their_order_and_none_is_left_out_unsaid(
    actual: list[str], expected: list[str], missing: str | None
) -> None:
    assert missing_from(actual, expected) == missing


def bash(content: str, **options: str) -> Block:
    return Block(1, "bash", options, content)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    path = tmp_path / "page.md"
    path.write_text("# A page without devices\n")
    return Page(path)


def test_a_block_goes_on_where_the_last_one_ended(page: Page, tmp_path: Path) -> None:
    with sandbox(page, tmp_path) as scene:
        scene.run(bash("export GARDEN=beans\nmkdir shed\ncd shed\n"))
        assert scene.run(bash('echo "$GARDEN in ${PWD##*/}"\n')) == ["beans in shed"]


def test_a_block_that_fails_is_noticed_in_each_of_its_lines(page: Page, tmp_path: Path) -> None:
    with sandbox(page, tmp_path) as scene:
        with pytest.raises(AssertionError, match="line 1"):
            scene.run(bash("false\ntrue\n"))
        assert scene.run(bash("echo no\nexit 4\n", exit="4")) == ["no"]


def test_a_terminal_shows_lines_once_each(tmp_path: Path) -> None:
    terminal = Terminal("printf 'a\\nb\\na\\n'", tmp_path, {"PATH": "/usr/bin:/bin"})
    terminal.show(["a", "a"])
    with pytest.raises(AssertionError, match="never shown: b"):
        terminal.show(["b"])
    terminal.close()


def test_a_terminal_whose_program_fails_is_noticed(tmp_path: Path) -> None:
    terminal = Terminal("echo bad; exit 3", tmp_path, {"PATH": "/usr/bin:/bin"})
    terminal.show(["bad"])
    with pytest.raises(AssertionError, match="ended with 3"):
        terminal.close()
