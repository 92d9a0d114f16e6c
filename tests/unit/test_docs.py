"""The pages in docs/ and the README: every link leads somewhere, every page is in the site's navigation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import scene

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`|^    .*$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures, but for those to other hosts."""
    for target in _LINK.findall(_CODE.sub("", prose(page))):
        if not re.match(r"https?:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings on which GitHub and Python-Markdown agree."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        bare = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        if re.sub(r"\s", "-", bare) == (slug := re.sub(r"[-\s]+", "-", bare)):
            found.add(slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_heading_comes_twice(page: Path) -> None:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    assert len(headings) == len(set(headings)), headings


def test_every_page_is_in_the_sites_navigation() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES[1:])


def test_the_public_surface_has_its_page() -> None:
    shown = re.findall(r"^::: scene\.(\w+)$", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(set(scene.__all__) - {"__version__"})
