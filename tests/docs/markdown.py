"""The documentation as the tests read it: pages, their headings, links and fenced blocks."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "Block", "Page", "pages"]

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<content>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING: Final = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`[^`\n]*`")
_NOT_IN_ANCHORS: Final = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Block:
    """One fenced block: ```` ```bash terminal=server ```` has the language ``bash`` and one option."""

    line: int
    language: str
    options: dict[str, str]
    content: str


@dataclass(frozen=True)
class Page:
    """One file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(match) for match in _FENCE.finditer(self.text)]

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """What ``#fragments`` may name, by the rules of the usual Markdown viewers."""
        titles = (heading.replace("`", "").lower() for heading in _HEADING.findall(self.prose))
        return {_NOT_IN_ANCHORS.sub("", title).replace(" ", "-") for title in titles}

    @property
    def links(self) -> list[str]:
        return _LINK.findall(_CODE.sub("", self.prose))

    def _block(self, match: re.Match[str]) -> Block:
        language, *options = match["info"].split() or [""]
        pairs = (option.partition("=") for option in options)
        line = self.text.count("\n", 0, match.start()) + 1
        content = textwrap.dedent(match["content"])
        return Block(line, language, {name: value for name, _, value in pairs}, content)


def pages() -> list[Page]:
    """Every page that the repository has for its readers."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(path) for path in found]
