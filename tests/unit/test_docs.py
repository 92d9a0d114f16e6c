"""The pages in docs/ and beside the README: links lead somewhere, recipes name what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import scene

ROOT = Path(__file__).parents[2]
SITE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *SITE, ROOT / "examples" / "README.md"]
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
    assert sorted(listed) == sorted(page.name for page in SITE)


def test_the_public_surface_has_its_page() -> None:
    shown = re.findall(r"^::: scene\.(\w+)$", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(set(scene.__all__) - {"__version__"})


def test_what_contributing_names_is_there() -> None:
    """Each row's files exist, but for the one to be written, and have every name in it that the row gives."""
    rows = re.findall(r"^\| (`.+`) \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 10
    for where, what in rows:
        paths = [ROOT / path for path in re.findall(r"`([^`]+)`", where)]
        assert all(path.exists() or path.stem == "NAME" for path in paths), where
        given = re.findall(r"`(_?[A-Z]\w+)`", what)
        # What a row says of a file that is to be written, or of two, is in one of its folder.
        files = [file for path in paths for file in ([path] if path.exists() else path.parent.glob("*.py"))]
        texts = [file.read_text(encoding="utf-8") for file in files]
        for name in given:
            assert any(re.search(rf"\b{name}\b", text) for text in texts), f"{where}: {name}"


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == scene.__version__  # type: ignore[index]
    assert f"## {scene.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
