"""Links lead somewhere, and every page can be reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.markdown import ROOT, Page, pages


def target(page: Page, link: str) -> tuple[Path, str]:
    path, _, fragment = link.partition("#")
    return (page.path.parent / path).resolve() if path else page.path, fragment


def local(page: Page) -> list[str]:
    return [link for link in page.links if "://" not in link]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_are_there(page: Page) -> None:
    broken = []
    for link in local(page):
        path, fragment = target(page, link)
        if not path.exists() or (fragment and fragment not in Page(path).anchors):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_stay_inside_the_repository(page: Page) -> None:
    assert [link for link in local(page) if not target(page, link)[0].is_relative_to(ROOT)] == []


def test_the_map_leads_to_every_page_of_the_documentation() -> None:
    mapped = Page(ROOT / "docs" / "README.md")
    reached = {target(mapped, link)[0] for link in mapped.links}
    assert [
        page.name
        for page in pages()
        if page.path.is_relative_to(mapped.path.parent) and page.path not in reached | {mapped.path}
    ] == []


def test_the_readme_leads_to_the_map_and_the_changelog() -> None:
    readme = Page(ROOT / "README.md")
    assert {ROOT / "docs" / "README.md", ROOT / "CHANGELOG.md"} <= {target(readme, link)[0] for link in readme.links}
